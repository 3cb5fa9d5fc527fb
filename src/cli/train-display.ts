import type { TrainEvent } from "../train/index.ts";
import {
  StatusLine,
  formatBytes,
  formatCount,
  formatDuration,
  formatMs,
  styled,
} from "./terminal.ts";

const BAR_CELLS = 20;

/** Shows a run to a person: a header, rows that stay, and on a terminal a line with bar, loss, speed and ETA. */
export class TrainDisplay {
  readonly #status: StatusLine;
  readonly #stream: NodeJS.WriteStream;
  #maxSteps = 0;
  #lastRowMs = 0;

  constructor(stream: NodeJS.WriteStream = process.stderr) {
    this.#stream = stream;
    this.#status = new StatusLine(stream);
  }

  progress(text: string): void {
    if (this.#status.isLive) this.#status.show(text);
  }

  event(event: TrainEvent): void {
    switch (event.kind) {
      case "start":
        this.#start(event);
        break;
      case "step":
        this.#step(event);
        break;
      case "eval":
        this.#print(
          `${this.#label(event.step)} ${styled(this.#stream, "cyan", `eval_loss ${event.eval_loss.toFixed(4)}`)}  perplexity ${event.perplexity.toFixed(2)}  (${formatCount(event.eval_tokens)} tokens, ${event.elapsed_seconds.toFixed(1)} s)`,
        );
        break;
      case "sample":
        this.#print(
          `${this.#label(event.step)} ${styled(this.#stream, "dim", `sample: ${event.prompt}${event.text}`.replaceAll("\n", "\n    "))}`,
        );
        break;
      case "save":
        this.#print(
          `${this.#label(event.step)} saved ${event.checkpoint} (${formatBytes(event.byte_length)}, ${event.elapsed_seconds.toFixed(1)} s)`,
        );
        break;
      case "notice":
        this.#print(`${styled(this.#stream, "yellow", "note:")} ${event.message}`);
        break;
      case "interrupted":
        this.#status.clear();
        this.#print(`interrupted at step ${event.step}; saved ${event.checkpoint}`);
        break;
      case "end":
        this.#end(event);
        break;
    }
  }

  #start(event: Extract<TrainEvent, { kind: "start" }>): void {
    this.#maxSteps = event.max_steps;
    const rows: readonly (readonly [string, string])[] = [
      ["model", `${formatCount(event.parameters)} parameters`],
      [
        "data",
        `${formatCount(event.train_tokens)} tokens to train on, ${formatCount(event.eval_tokens)} to evaluate`,
      ],
      ["engine", `${event.engine} on ${event.device}, ${event.threads} threads, ${event.runtime}`],
      ...(event.profile === undefined ? [] : [["profile", event.profile] as const]),
      [
        "step",
        `${formatCount(event.tokens_per_step)} tokens, plan ${formatBytes(event.plan_bytes)}`,
      ],
      ["run", `${event.run}, steps ${event.step} to ${event.max_steps}; Ctrl-C saves and stops`],
    ];
    for (const [name, text] of rows) {
      this.#print(`${styled(this.#stream, "bold", name.padEnd(7))} ${text}`);
    }
  }

  #step(event: Extract<TrainEvent, { kind: "step" }>): void {
    const share = this.#maxSteps === 0 ? 0 : event.step / this.#maxSteps;
    const numbers = `loss ${event.train_loss.toFixed(4)}  lr ${event.learning_rate.toExponential(2)}  norm ${event.gradient_norm.toFixed(2)}  ${formatCount(Math.round(event.tokens_per_second))} tok/s  ETA ${formatDuration(event.eta_seconds)}`;
    if (this.#status.isLive) {
      const filled = Math.round(share * BAR_CELLS);
      this.#status.show(
        `${"█".repeat(filled)}${"░".repeat(BAR_CELLS - filled)} ${event.step}/${this.#maxSteps}  ${numbers}`,
      );
      // A row stays every 15 seconds, so that the scroll-back tells how the loss went.
      if (Date.now() - this.#lastRowMs < 15_000) return;
    }
    this.#lastRowMs = Date.now();
    this.#print(`${this.#label(event.step)} ${numbers}`);
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
        `a step took ${formatMs(stepMs)} here; predicted for the engine of ${predicted.chip}: ${formatMs(predicted.step_ms)}, ${formatCount(Math.round(predicted.tokens_per_second))} tok/s, ${predicted.watts.toPrecision(2)} W, ${(predicted.joules_per_token * 1000).toPrecision(3)} mJ a token`,
      );
    }
    this.#print(`model in ${event.model}`);
  }

  #label(step: number): string {
    return `step ${String(step).padStart(String(this.#maxSteps).length)}/${this.#maxSteps}`;
  }

  #print(line: string): void {
    this.#status.print(line);
  }
}
