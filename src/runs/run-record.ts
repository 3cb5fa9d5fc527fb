import { open } from "node:fs/promises";
import type { NumberList } from "../util/plot/down-sample.ts";
import { EventLines } from "./event-lines.ts";
import { eventsPath } from "./event-log.ts";
import { afterRewind } from "./events.ts";
import type { NumberedEvent, RewindEvent } from "./events.ts";
import { beginsAs, readHead } from "./log-head.ts";
import { NumberTable } from "./number-table.ts";
import { TrainingClock } from "./training-clock.ts";
import type { ClockState } from "./training-clock.ts";
import { defined } from "../util/defined.ts";

const WINDOW = 1 << 20;
/** The oldest are forgotten beyond: a run may tell of every overflow. */
const NOTICE_LIMIT = 500;

/** What a curve may be drawn over. */
export const AXES = ["step", "seconds", "tokens"] as const;
export type RunAxis = (typeof AXES)[number];

/** One number of a run over one axis, of all events that tell it; x grows. */
export interface RunSeries {
  readonly x: NumberList;
  readonly y: NumberList;
}

type StepEvent = Extract<NumberedEvent, { readonly kind: "step" }>;

/** Events that are kept whole; the others become rows of numbers. */
const KEPT = [
  "start",
  "sample",
  "save",
  "notice",
  "power",
  "control",
  "interrupted",
  "end",
] as const;
type KeptKind = (typeof KEPT)[number];
export type KeptEvent = Extract<NumberedEvent, { readonly kind: KeptKind }>;

/**
 * What a run's log tells, read once and then followed from where it ended: numbers in columns, other events as they are.
 * A resume that rewinds takes back what it takes back; a log that was written anew is read anew.
 */
export class RunRecord {
  readonly folder: string;
  readonly #reports = new NumberTable();
  readonly #evaluations = new NumberTable();
  readonly #memory = new NumberTable();
  #kept: KeptEvent[] = [];
  #timings: Extract<NumberedEvent, { readonly kind: "timings" }> | undefined;
  #progress: string | undefined;
  #sequence = 0;
  #step = 0;
  #clock = new TrainingClock();
  #lines: EventLines;
  #offset = 0;
  /** How the log began. */
  #head: Buffer = Buffer.alloc(0);
  #reading: Promise<void> | undefined;

  constructor(folder: string) {
    this.folder = folder;
    this.#lines = new EventLines(eventsPath(folder));
  }

  /** Number of the last event that was read. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Of the last event. */
  get step(): number {
    return this.#step;
  }

  /** Events other than numbers that still hold, in order. */
  get events(): readonly KeptEvent[] {
    return this.#kept;
  }

  /** Where the time of the steps went, by the last such event. */
  get timings(): Extract<NumberedEvent, { readonly kind: "timings" }> | undefined {
    return this.#timings;
  }

  /** What a run that has no report yet is doing. */
  get progress(): string | undefined {
    return this.#progress;
  }

  /** Where the time of training stands, and the tokens of the last report: what comes is counted from there. */
  get clock(): ClockState {
    return this.#clock.state;
  }

  get tokens(): number {
    return this.#reports.column("tokens")?.[this.#reports.rowCount - 1] ?? 0;
  }

  /** About what it takes in memory. */
  get byteLength(): number {
    return (
      this.#reports.byteLength +
      this.#evaluations.byteLength +
      this.#memory.byteLength +
      this.#kept.length * 500
    );
  }

  last<Kind extends KeptKind>(kind: Kind): Extract<KeptEvent, { readonly kind: Kind }> | undefined {
    return this.#kept.findLast(
      (event): event is Extract<KeptEvent, { readonly kind: Kind }> => event.kind === kind,
    );
  }

  /** Names of numbers that it has: `train_loss`, `eval_loss`, `resident_bytes`, ... as events have them. */
  get names(): readonly string[] {
    return [this.#reports, this.#evaluations, this.#memory]
      .flatMap((table) => (table.rowCount === 0 ? [] : table.names))
      .filter((name) => name !== "seconds" && name !== "tokens");
  }

  /** All of one number; nothing where the run does not tell it. */
  series(name: string, axis: RunAxis): RunSeries | undefined {
    for (const table of [this.#reports, this.#evaluations, this.#memory]) {
      const y = table.column(name);
      const x = axis === "step" ? table.steps : table.column(axis);
      if (y === undefined || x === undefined) continue;
      const told = whereTold({ x, y });
      if (told.x.length > 0) return told;
    }
    return undefined;
  }

  /** Reads what was appended since. Throws `RunError` for a log of a later version. */
  async refresh(): Promise<void> {
    this.#reading ??= this.#readOn().finally(() => {
      this.#reading = undefined;
    });
    await this.#reading;
  }

  async #readOn(): Promise<void> {
    const path = eventsPath(this.folder);
    let handle;
    try {
      handle = await open(path, "r");
    } catch {
      // No log yet, or none any more.
      if (this.#offset > 0) this.#forget();
      return;
    }
    try {
      const { size } = await handle.stat();
      const head = await readHead(handle);
      if (size < this.#offset || !beginsAs(head, this.#head)) this.#forget();
      this.#head = head;
      const bytes = new Uint8Array(Math.min(WINDOW, Math.max(1, size - this.#offset)));
      while (this.#offset < size) {
        const wanted = Math.min(bytes.byteLength, size - this.#offset);
        const { bytesRead } = await handle.read(bytes, 0, wanted, this.#offset);
        if (bytesRead === 0) return;
        this.#offset += bytesRead;
        for (const event of this.#lines.push(bytes.slice(0, bytesRead))) this.add(event);
      }
    } finally {
      await handle.close();
    }
  }

  /** The next event of the run's stream. */
  add(event: NumberedEvent): void {
    this.#sequence = event.sequence;
    if (event.kind === "rewind") {
      this.#rewind(event);
      return;
    }
    const { step, t } = event;
    this.#step = step;
    switch (event.kind) {
      case "step":
        this.#progress = undefined;
        this.#reports.add(step, { ...numbersOfStep(event), seconds: this.#clock.at(t) });
        break;
      case "eval": {
        const { eval_loss, perplexity, reward_margin, reward_accuracy } = event;
        const { tokens } = this;
        this.#evaluations.add(step, {
          ...{ eval_loss, tokens, seconds: this.#clock.at(t) },
          ...defined({ perplexity, reward_margin, reward_accuracy }),
        });
        break;
      }
      case "memory": {
        const { resident_bytes, peak_bytes, persistent_bytes, transient_bytes } = event;
        const { tokens } = this;
        this.#memory.add(step, {
          ...{ resident_bytes, peak_bytes, persistent_bytes, transient_bytes, tokens },
          seconds: this.#clock.at(t),
        });
        break;
      }
      case "timings":
        this.#timings = event;
        break;
      case "progress":
        this.#progress = event.text;
        break;
      default:
        if (event.kind === "start") this.#clock.start(t);
        if (event.kind === "control") this.#clock.control(event.command, t);
        this.#kept.push(event);
        if (event.kind === "notice") this.#forgetNotices();
    }
  }

  #rewind(event: RewindEvent): void {
    const { step, kept = {}, anew = false } = event;
    this.#kept = afterRewind(this.#kept, event);
    if (this.#timings !== undefined && this.#timings.step > step) this.#timings = undefined;
    if (anew) {
      for (const table of [this.#reports, this.#evaluations, this.#memory]) table.clear();
      this.#timings = undefined;
      this.#clock = new TrainingClock();
      this.#step = 0;
      return;
    }
    this.#reports.cut(step, kept["step"]);
    this.#evaluations.cut(step, kept["eval"]);
    this.#memory.cut(step, kept["memory"]);
    this.#step = step;
    this.#clock.goBack(
      Math.max(
        ...[this.#reports, this.#evaluations].map(
          (table) => table.column("seconds")?.[table.rowCount - 1] ?? 0,
        ),
      ),
    );
  }

  #forget(): void {
    this.#head = Buffer.alloc(0);
    this.#offset = 0;
    this.#lines = new EventLines(eventsPath(this.folder));
    this.#rewind({ kind: "rewind", step: 0, t: 0, anew: true });
    this.#sequence = 0;
    this.#progress = undefined;
  }

  #forgetNotices(): void {
    const count = this.#kept.filter(({ kind }) => kind === "notice").length;
    if (count <= 2 * NOTICE_LIMIT) return;
    let surplus = count - NOTICE_LIMIT;
    this.#kept = this.#kept.filter(({ kind }) => kind !== "notice" || surplus-- <= 0);
  }
}

/** Without the rows that lack the number: an event that does not tell it is no gap in a curve. */
function whereTold({ x, y }: RunSeries): RunSeries {
  let count = 0;
  for (let row = 0; row < y.length; row++) if (!Number.isNaN(y[row])) count++;
  if (count === y.length) return { x, y };
  const told = { x: new Float64Array(count), y: new Float64Array(count) };
  let at = 0;
  for (let row = 0; row < y.length; row++) {
    const value = y[row] ?? Number.NaN;
    if (Number.isNaN(value)) continue;
    told.x[at] = x[row] ?? 0;
    told.y[at++] = value;
  }
  return told;
}

function numbersOfStep(event: StepEvent): Readonly<Record<string, number | undefined>> {
  return {
    train_loss: event.train_loss,
    learning_rate: event.learning_rate,
    gradient_norm: event.gradient_norm,
    loss_scale: event.loss_scale,
    tokens_per_second: event.tokens_per_second,
    engine_share: event.engine_share,
    tflops: event.tflops,
    watts: event.watts,
    ane_watts: event.ane_watts,
    joules_per_token: event.joules_per_token,
    reward_margin: event.reward_margin,
    reward_accuracy: event.reward_accuracy,
    tokens: event.trained_tokens,
  };
}
