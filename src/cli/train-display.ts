import { stripVTControlCharacters } from "node:util";
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatJoules,
  formatMs,
  formatTeraflops,
} from "../util/format.ts";
import type { TrainEvent, TrainProgress } from "../train/index.ts";
import { printable } from "../util/printable.ts";
import { sparkline } from "../util/plot/sparkline.ts";
import type { ReportStreams } from "./report-streams.ts";
import { PhaseLines } from "./phase-lines.ts";
import { StatusLine, styled } from "./terminal.ts";

/** What was asked for from outside, as the page and other programs do. */
const CONTROL_TEXTS = {
  pause: "paused from outside",
  resume: "goes on",
  save: "saved on request",
} as const;

/** Widest line of the header, and of its names. */
const HEADER_COLUMNS = 80;
const LABEL_COLUMNS = 8;
const BAR_CELLS = 20;
const NARROW_BAR_CELLS = 10;
/** Below this a terminal gets the narrow bar. */
const WIDE_COLUMNS = 110;

/** Reports that the curve of the loss remembers, and the columns it takes. */
const MOST_LOSSES = 512;
const LEAST_CURVE_COLUMNS = 12;
const NARROW_CURVE_COLUMNS = 6;
const MOST_CURVE_COLUMNS = 32;
/** A narrower terminal has no room for a bar beside the curve. */
const BAR_FROM_COLUMNS = 60;

/** A number of a progress line; those with a higher rank go first where a line is too long. */
interface Part {
  readonly text: string;
  readonly rank: number;
}

export interface TrainDisplayOptions extends Partial<ReportStreams> {
  /** Tells also that no power is read where the engine is none that people ask it of. */
  readonly tellsPower?: boolean;
}

/** Shows a run to a person: a header, rows that stay, and on a terminal a line with bar, loss, speed and ETA. */
export class TrainDisplay {
  readonly #status: StatusLine;
  readonly #stream: NodeJS.WriteStream;
  readonly #copy: NodeJS.WriteStream | undefined;
  readonly #tellsPower: boolean;
  readonly #phases = new PhaseLines((line) => this.#print(line));
  #maxSteps = 0;
  #startStep: number | undefined;
  #lastRowMs = 0;
  #engine = "";
  #lastStep: Extract<TrainEvent, { kind: "step" }> | undefined;
  /** Of every report of this process, thinned out to `MOST_LOSSES`. */
  #losses: number[] = [];

  constructor({ stream = process.stderr, copy, tellsPower = false }: TrainDisplayOptions = {}) {
    this.#stream = stream;
    this.#copy = copy;
    this.#status = new StatusLine(stream);
    this.#tellsPower = tellsPower;
  }

  progress(text: string, at?: TrainProgress): void {
    if (!this.#status.isLive) {
      if (at === undefined) this.#phases.progress(text);
      else this.#phases.close();
      return;
    }
    const last = this.#lastStep;
    this.#status.show(
      at === undefined || last === undefined
        ? text
        : this.#live(stepParts({ ...last, step: at.step, train_loss: at.loss }), at.step),
    );
  }

  /** The command is over, however it ended: nothing is told after its error. */
  close(): void {
    this.#phases.close();
    this.#status.clear();
  }

  event(event: TrainEvent): void {
    this.#phases.end();
    switch (event.kind) {
      case "start":
        this.#start(event);
        break;
      case "step":
        this.#step(event);
        break;
      case "eval":
        this.#print(
          `${this.#label(event.step)} ${styled(this.#stream, "cyan", `eval_loss ${event.eval_loss.toFixed(4)}`)}  ${event.perplexity === undefined ? rewardText(event) : `perplexity ${event.perplexity.toFixed(2)}`}  (${formatCount(event.eval_tokens)} tokens, ${event.elapsed_seconds.toFixed(1)} s)${event.best === true ? "  best" : ""}`,
        );
        break;
      case "sample":
        this.#print(
          `${this.#label(event.step)} ${styled(this.#stream, "dim", printable(`sample: ${event.prompt}${event.text}`).replaceAll("\n", "\n    "))}`,
        );
        break;
      case "save":
        this.#print(
          `${this.#label(event.step)} saved ${event.checkpoint} (${formatBytes(event.byte_length)}, ${event.elapsed_seconds.toFixed(1)} s${event.waited_seconds === undefined ? "" : `, training waited ${event.waited_seconds.toFixed(2)} s`})`,
        );
        break;
      case "control":
        this.#print(`${this.#label(event.step)} ${CONTROL_TEXTS[event.command]}`);
        break;
      case "power":
        this.#power(event);
        break;
      case "notice":
        this.#print(`${styled(this.#stream, "yellow", "note:")} ${printable(event.message)}`);
        break;
      case "interrupted":
        this.#status.clear();
        this.#print(interruption(event, this.#startStep));
        break;
      case "end":
        this.#end(event);
        break;
      case "rewind":
      case "progress":
      case "timings":
      case "memory":
        break; // for those who read the log
    }
  }

  #start(event: Extract<TrainEvent, { kind: "start" }>): void {
    this.#maxSteps = event.max_steps;
    this.#startStep = event.step;
    this.#engine = event.engine;
    const columns = this.#status.isLive
      ? Math.min(HEADER_COLUMNS, this.#stream.columns)
      : HEADER_COLUMNS;
    for (const [name, parts] of headerRows(event)) {
      for (const [index, line] of wrapParts(
        parts.map(printable),
        columns - LABEL_COLUMNS,
      ).entries()) {
        const label = index === 0 ? name : "";
        this.#print(`${styled(this.#stream, "bold", label.padEnd(LABEL_COLUMNS - 1))} ${line}`);
      }
    }
  }

  #power({ meter, reason }: Extract<TrainEvent, { kind: "power" }>): void {
    if (meter !== null) this.#print(`${styled(this.#stream, "bold", "power".padEnd(7))} ${meter}`);
    else if (this.#tellsPower || this.#engine === "ane")
      this.#print(
        `${styled(this.#stream, "bold", "power".padEnd(7))} unavailable: ${reason ?? ""}`,
      );
  }

  #step(event: Extract<TrainEvent, { kind: "step" }>): void {
    this.#lastStep = event;
    this.#losses.push(event.train_loss);
    if (this.#losses.length > MOST_LOSSES)
      this.#losses = this.#losses.filter((_, index) => index % 2 === 1);
    const parts = stepParts(event);
    const label = `${this.#label(event.step)} `;
    if (this.#status.isLive) {
      this.#status.show(this.#live(parts, event.step), true);
      // A row stays every 15 seconds, so that the scroll-back tells how the loss went.
      if (Date.now() - this.#lastRowMs < 15_000) return;
    }
    this.#lastRowMs = Date.now();
    const width = this.#status.isLive ? this.#stream.columns : Number.POSITIVE_INFINITY;
    this.#print(`${label}${fitParts(parts, width - label.length)}`);
  }

  /** The line that is rewritten in place: a bar, and what fits beside it. */
  #live(parts: readonly Part[], step: number): string {
    const { columns } = this.#stream;
    const hasCurve = this.#losses.length > 1;
    // Where there is no room for both, the curve of the loss tells more than a bar beside its own numbers.
    const hasBar = !hasCurve || columns >= BAR_FROM_COLUMNS;
    const bar = `${hasBar ? this.#bar(step, columns) : ""}${step}/${this.#maxSteps}  `;
    const width = columns - 1 - bar.length;
    const least = hasBar ? LEAST_CURVE_COLUMNS : NARROW_CURVE_COLUMNS;
    const numbers = fitParts(parts, hasCurve ? width - least - 2 : width);
    const room = Math.min(width - numbers.length - 2, MOST_CURVE_COLUMNS);
    return hasCurve && room >= least
      ? `${bar}${numbers}  ${sparkline(this.#losses, room)}`
      : `${bar}${numbers}`;
  }

  #bar(step: number, columns: number): string {
    const cells = columns < WIDE_COLUMNS ? NARROW_BAR_CELLS : BAR_CELLS;
    const share = this.#maxSteps === 0 ? 0 : Math.min(1, step / this.#maxSteps);
    const filled = Math.round(share * cells);
    return `${"█".repeat(filled)}${"░".repeat(cells - filled)} `;
  }

  #end(event: Extract<TrainEvent, { kind: "end" }>): void {
    this.#status.clear();
    const losses = [
      event.train_loss === null ? "" : `train_loss ${event.train_loss.toFixed(4)}`,
      event.eval_loss === null ? "" : `eval_loss ${event.eval_loss.toFixed(4)}`,
    ].filter((text) => text !== "");
    this.#print(
      `${styled(this.#stream, "green", "done")} in ${formatDuration(event.elapsed_seconds)}: ${losses.join("  ")}  ${formatCount(Math.round(event.tokens_per_second))} tok/s  peak memory ${formatBytes(event.peak_memory_bytes)}`,
    );
    const { step_ms: stepMs, predicted } = event;
    if (stepMs !== undefined && predicted !== undefined) {
      this.#print(
        `a step took ${formatMs(stepMs)} here; predicted for the engine of ${predicted.chip}${predicted.driver === undefined ? "" : ` through ${predicted.driver}`}: ${formatMs(predicted.step_ms)}, ${formatCount(Math.round(predicted.tokens_per_second))} tok/s, ${predicted.watts.toPrecision(2)} W, ${(predicted.joules_per_token * 1000).toPrecision(3)} mJ a token`,
      );
    }
    const { energy_joules: joules, joules_per_token: perToken, power_meter: meter } = event;
    if (perToken !== undefined && joules !== undefined) {
      this.#print(
        `energy of the updates: ${formatJoules(joules)}, ${formatJoules(perToken)} a token, by ${meter ?? ""}`,
      );
    }
    if (event.best_step !== undefined && event.best_step !== event.step) {
      this.#print(
        `the best is that of step ${event.best_step}, eval_loss ${(event.best_eval_loss ?? 0).toFixed(4)}`,
      );
    }
    this.#print(
      event.adapter === undefined ? `model in ${event.model ?? ""}` : `adapter in ${event.adapter}`,
    );
  }

  #label(step: number): string {
    return `step ${String(step).padStart(String(this.#maxSteps).length)}/${this.#maxSteps}`;
  }

  #print(line: string): void {
    this.#status.print(line);
    this.#copy?.write(`${stripVTControlCharacters(line)}\n`);
  }
}

type StartEvent = Extract<TrainEvent, { kind: "start" }>;

/** The header: a name and what is told of it, in parts that stay whole. */
function headerRows(event: StartEvent): readonly (readonly [string, readonly string[]])[] {
  const { preset, preset_by_default: isDefault, model, vocabulary, tokenizer } = event;
  const known = (value: unknown, text: string): readonly string[] =>
    value === undefined ? [] : [text];
  return [
    [
      "model",
      [
        ...known(preset, `${preset ?? ""}${isDefault === true ? " (the default preset)" : ""}`),
        ...known(model, model ?? ""),
        ...known(event.family, event.family ?? ""),
        ...known(event.layers, `${event.layers ?? 0} layers of ${event.channels ?? 0} channels`),
        `${formatCount(event.parameters)} parameters`,
        ...known(vocabulary, `vocabulary ${vocabulary ?? 0}`),
        ...known(tokenizer, `tokenizer ${tokenizer ?? ""}`),
        ...known(event.context_length, `context ${event.context_length ?? 0}`),
      ],
    ],
    [
      "data",
      [
        `${formatCount(event.train_tokens)} tokens to train on`,
        `${formatCount(event.eval_tokens)} to evaluate`,
      ],
    ],
    [
      "engine",
      [
        `${event.engine} on ${event.device}`,
        `${event.threads} thread${event.threads === 1 ? "" : "s"}`,
        event.runtime,
      ],
    ],
    ...(event.profile === undefined ? [] : [["profile", [event.profile]] as const]),
    [
      "step",
      [`${formatCount(event.tokens_per_step)} tokens`, `plan ${formatBytes(event.plan_bytes)}`],
    ],
    ["run", [event.run, `steps ${event.step} to ${event.max_steps}; Ctrl-C saves and stops`]],
  ];
}

/** Parts joined by commas in lines of at most so many columns; a part that is longer has a line of its own. */
function wrapParts(parts: readonly string[], columns: number): readonly string[] {
  const lines: string[] = [];
  for (const [index, part] of parts.entries()) {
    const text = index + 1 < parts.length ? `${part},` : part;
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + text.length <= columns) {
      lines[lines.length - 1] = `${last} ${text}`;
    } else lines.push(text);
  }
  return lines;
}

function interruption(
  event: Extract<TrainEvent, { kind: "interrupted" }>,
  startStep: number | undefined,
): string {
  const { step, checkpoint, reason } = event;
  if (checkpoint === undefined) return `stopped before step ${step + 1}; nothing was saved`;
  if (reason === "compile_budget") {
    return `step ${step}: this process may compile no more programs; saved ${checkpoint}, a new one goes on`;
  }
  return step === startStep
    ? `stopped before step ${step + 1}; nothing new to save, ${checkpoint} stands`
    : `interrupted at step ${step}; saved ${checkpoint}`;
}

interface RewardEvent {
  readonly reward_margin?: number | undefined;
  readonly reward_accuracy?: number | undefined;
}

/** Of pairs of answers. */
function rewardText({ reward_margin: margin, reward_accuracy: accuracy }: RewardEvent): string {
  return margin === undefined || accuracy === undefined
    ? ""
    : `margin ${margin.toFixed(3)}, ${Math.round(100 * accuracy)} % right`;
}

/** What a step event tells, in the order of the line. */
function stepParts(event: Extract<TrainEvent, { kind: "step" }>): readonly Part[] {
  const { engine_share: share, tflops, tflops_per_watt: perWatt, watts, predicted } = event;
  const known = (value: number | undefined, rank: number, text: (value: number) => string) =>
    value === undefined ? [] : [{ rank, text: text(value) }];
  return [
    { rank: 0, text: `loss ${event.train_loss.toFixed(4)}` },
    { rank: 8, text: `lr ${event.learning_rate.toExponential(2)}` },
    { rank: 9, text: `norm ${event.gradient_norm.toFixed(2)}` },
    { rank: 2, text: `${formatCount(Math.round(event.tokens_per_second))} tok/s` },
    ...known(share, 3, (value) => `engine ${Math.round(100 * value)} %`),
    ...known(tflops, 4, formatTeraflops),
    ...known(perWatt, 5, (value) => `${formatTeraflops(value)}/W`),
    ...known(watts, 6, (value) => `${value.toPrecision(3)} W`),
    ...known(predicted?.step_ms, 7, (value) => `predicted ${formatMs(value)}/step`),
    { rank: 1, text: `ETA ${formatDuration(event.eta_seconds)}` },
  ];
}

/** As many of the parts as a width takes. */
function fitParts(parts: readonly Part[], width: number): string {
  const join = (kept: readonly Part[]): string => kept.map(({ text }) => text).join("  ");
  let kept = parts;
  while (kept.length > 1 && join(kept).length > width) {
    const last = Math.max(...kept.map(({ rank }) => rank));
    kept = kept.filter(({ rank }) => rank !== last);
  }
  return join(kept);
}
