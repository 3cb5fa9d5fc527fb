// One run, followed: what it was until now from the server's answer, what comes from its stream of events.
import { batch, effect, signal } from "@preact/signals";
import type { NumberedEvent, TrainEvent } from "../src/runs/events.ts";
import type { RunAxis } from "../src/runs/run-record.ts";
import { TrainingClock } from "../src/runs/training-clock.ts";
import { DRAWN_NAMES } from "../src/server/runs/panels.ts";
import type { RunDetail, SampleView, SeriesView } from "../src/server/runs/views.ts";
import { ask, isMissing, messageOf, runPath, withQuery } from "./api.ts";
import { axis, shownRange } from "./chart-settings.ts";
import { follow } from "./event-stream.ts";
import type { Range } from "./parts/chart.tsx";

export interface GrowingCurve {
  readonly x: number[];
  readonly y: (number | null)[];
}

const POINTS = 1500;
/** Points that are added to a curve before it is sampled down anew. */
const MOST_ADDED = 3000;
const ZOOM_WAIT_MS = 120;
/** Between two looks for a run that is not there, or does not answer. */
const RETRY_MS = 3000;

type Timings = Extract<TrainEvent, { readonly kind: "timings" }>;

export class LiveRun {
  readonly id: string;
  readonly detail = signal<RunDetail | null>(null);
  readonly curves = signal<ReadonlyMap<string, GrowingCurve>>(new Map());
  /** Of the part that is shown, where that is not all. */
  readonly zoomed = signal<{
    readonly range: Range;
    readonly curves: ReadonlyMap<string, GrowingCurve>;
  } | null>(null);
  readonly samples = signal<readonly SampleView[] | null>(null);
  readonly timings = signal<Timings | null>(null);
  readonly connection = signal<"connecting" | "live" | "lost" | "gone">("connecting");
  readonly problem = signal<string | null>(null);
  readonly #ends: (() => void)[] = [];
  #axis: RunAxis = axis.peek();
  #added = 0;
  /** Name of the log. */
  #log = "";
  #clock = new TrainingClock();
  #tokens = 0;
  /** Number of the last event that the curves hold. */
  #sequence = 0;
  /** What was heard since the curves were last asked for. */
  #sinceAsked: NumberedEvent[] = [];
  #askedCount = 0;
  #isAsking = false;
  #waiting: NumberedEvent[] = [];
  #reload = 0;
  #isOpen = true;

  constructor(id: string) {
    this.id = id;
    void this.#begin();
  }

  close(): void {
    this.#isOpen = false;
    this.#stop();
  }

  #stop(): void {
    clearTimeout(this.#reload);
    for (const end of this.#ends.splice(0)) end();
  }

  async #begin(): Promise<void> {
    try {
      const detail = await ask<RunDetail>(runPath(this.id));
      if (!this.#isOpen) return;
      this.#axis = axis.peek();
      this.#log = detail.log;
      await this.#loadCurves();
      this.detail.value = detail;
      this.timings.value = detail.timings;
      if (this.samples.peek() !== null) await this.loadSamples();
      if (!this.#isOpen) return;
      this.problem.value = null;
      this.#ends.push(
        follow(runPath(this.id, "/events"), detail.sequence, {
          onMessage: ({ type, data }) => {
            if (type === "log") this.#heardLog(data);
            else this.#hear(JSON.parse(data) as NumberedEvent);
          },
          onState: (state) => this.#heardState(state),
        }),
      );
      this.#watchSettings();
    } catch (error) {
      if (this.detail.peek() === null || !isMissing(error)) this.problem.value = messageOf(error);
      if (this.#isOpen) this.#reload = window.setTimeout(() => void this.#begin(), RETRY_MS);
    }
  }

  /** Another log stands in the place of the one that this knows: nothing of it holds. */
  #heardLog(name: string): void {
    const known = this.#log;
    this.#log = name;
    if (known === "" || name === "" || known === name) return;
    this.#stop();
    void this.#begin();
  }

  /** A run that is gone may come back, as another one: it is begun with anew. */
  #heardState(state: "live" | "lost" | "gone"): void {
    this.connection.value = state;
    if (state !== "gone") return;
    this.#stop();
    if (this.#isOpen) this.#reload = window.setTimeout(() => void this.#begin(), RETRY_MS);
  }

  /** Loads again what depends on the axis and on the part that is shown. */
  #watchSettings(): void {
    let timer = 0;
    this.#ends.push(
      effect(() => {
        const name = axis.value;
        if (name === this.#axis) return;
        this.#axis = name;
        void this.#loadCurves();
      }),
      effect(() => {
        const range = shownRange.value;
        clearTimeout(timer);
        if (range === null) this.zoomed.value = null;
        else timer = window.setTimeout(() => void this.#loadZoomed(range), ZOOM_WAIT_MS);
      }),
      () => clearTimeout(timer),
    );
  }

  async #ask(range?: Range): Promise<SeriesView> {
    return await ask<SeriesView>(
      withQuery(runPath(this.id, "/series"), {
        names: DRAWN_NAMES.join(","),
        ...{ axis: this.#axis, points: POINTS, from: range?.from, to: range?.to },
      }),
    );
  }

  /** Curves as the server has them, and on them what was heard while they were asked for. */
  async #loadCurves(): Promise<void> {
    const count = ++this.#askedCount;
    this.#sinceAsked = [];
    this.#isAsking = true;
    this.#added = 0;
    try {
      const view = await this.#ask();
      if (count !== this.#askedCount) return;
      this.#sequence = view.sequence;
      this.#clock = new TrainingClock(view.clock);
      this.#tokens = view.tokens;
      const heard = this.#sinceAsked;
      this.#isAsking = false;
      batch(() => {
        this.curves.value = curvesOf(view);
        for (const event of heard) this.#addNumbers(event);
        this.curves.value = new Map(this.curves.value);
      });
      // Something was taken back that these curves may hold still.
      if (heard.some(({ kind }) => kind === "rewind")) await this.#loadCurves();
    } catch (error) {
      if (count === this.#askedCount) this.#isAsking = false;
      // Of a run that is gone the stream tells.
      if (!isMissing(error)) this.problem.value = messageOf(error);
    }
  }

  async #loadZoomed(range: Range): Promise<void> {
    try {
      const curves = curvesOf(await this.#ask(range));
      if (shownRange.peek() === range) this.zoomed.value = { range, curves };
    } catch {
      // The points that are there stay.
    }
  }

  async loadSamples(): Promise<void> {
    try {
      this.samples.value = await ask<readonly SampleView[]>(runPath(this.id, "/samples"));
    } catch (error) {
      this.problem.value = messageOf(error);
    }
  }

  /** Events come in bursts; the page is drawn once for each. */
  #hear(event: NumberedEvent): void {
    this.#waiting.push(event);
    if (this.#waiting.length > 1) return;
    setTimeout(() => {
      const events = this.#waiting;
      this.#waiting = [];
      if (this.#isOpen) batch(() => this.#take(events));
    }, 60);
  }

  #take(events: readonly NumberedEvent[]): void {
    let isAnew = false;
    for (const event of events) {
      if (this.#isAsking) this.#sinceAsked.push(event);
      this.#addNumbers(event);
      switch (event.kind) {
        case "step":
          this.#change({
            step: event.step,
            trainLoss: event.train_loss,
            tokensPerSecond: event.tokens_per_second,
            joulesPerToken: event.joules_per_token ?? null,
            etaSeconds: event.eta_seconds,
            state: "running",
            isPaused: false,
          });
          break;
        case "eval":
          this.#change({ evalLoss: event.eval_loss });
          break;
        case "memory":
          break;
        case "sample":
          if (this.samples.value !== null)
            this.samples.value = [
              ...this.samples.value,
              { step: event.step, prompt: event.prompt, text: event.text },
            ];
          break;
        case "timings":
          this.timings.value = event;
          break;
        case "progress":
          if (this.detail.value !== null)
            this.detail.value = { ...this.detail.value, progress: event.text };
          break;
        case "control":
          if (event.command === "pause") this.#change({ isPaused: true });
          if (event.command === "resume") this.#change({ isPaused: false });
          isAnew = true;
          break;
        case "rewind":
          this.#added = MOST_ADDED;
          isAnew = true;
          break;
        default:
          isAnew = true;
      }
    }
    this.curves.value = new Map(this.curves.value);
    if (this.#added >= MOST_ADDED) void this.#loadCurves();
    if (isAnew) void this.#loadDetail();
  }

  async #loadDetail(): Promise<void> {
    clearTimeout(this.#reload);
    try {
      this.detail.value = await ask<RunDetail>(runPath(this.id));
      if (this.samples.peek() !== null) await this.loadSamples();
      // The end is told before the process lets the run go.
      const { run } = this.detail.value;
      if (this.#isOpen && run.state === "running" && this.detail.value.end !== null)
        this.#reload = window.setTimeout(() => void this.#loadDetail(), 1000);
    } catch {
      this.#reload = window.setTimeout(() => void this.#loadDetail(), 2000);
    }
  }

  #change(change: Partial<RunDetail["run"]>): void {
    const detail = this.detail.value;
    if (detail !== null) this.detail.value = { ...detail, run: { ...detail.run, ...change } };
  }

  /** An event's numbers at the ends of the curves, unless these hold it already. */
  #addNumbers(event: NumberedEvent): void {
    if (event.kind === "rewind") {
      // Until the curves come anew, those that are there stay.
      if (event.anew === true) this.#sequence = 0;
      return;
    }
    if (event.sequence <= this.#sequence) return;
    this.#sequence = event.sequence;
    switch (event.kind) {
      case "start":
        this.#clock.start(event.t);
        break;
      case "control":
        this.#clock.control(event.command, event.t);
        break;
      case "step":
        this.#tokens = event.trained_tokens;
        this.#add(event, {
          ...{ train_loss: event.train_loss, learning_rate: event.learning_rate },
          ...{ gradient_norm: event.gradient_norm, loss_scale: event.loss_scale },
          ...{ tokens_per_second: event.tokens_per_second, engine_share: event.engine_share },
          ...{ tflops: event.tflops, watts: event.watts, ane_watts: event.ane_watts },
          joules_per_token: event.joules_per_token,
        });
        break;
      case "eval":
        this.#add(event, { eval_loss: event.eval_loss });
        break;
      case "memory":
        this.#add(event, {
          resident_bytes: event.resident_bytes,
          transient_bytes: event.transient_bytes,
        });
        break;
      default:
    }
  }

  #add(event: TrainEvent, values: Readonly<Record<string, number | undefined>>): void {
    const seconds = this.#clock.at(event.t);
    const x = this.#axis === "step" ? event.step : this.#axis === "tokens" ? this.#tokens : seconds;
    const curves = this.curves.value as Map<string, GrowingCurve>;
    for (const [name, value] of Object.entries(values)) {
      if (value === undefined) continue;
      const curve = curves.get(name) ?? { x: [], y: [] };
      curves.set(name, curve);
      // After a rewind, until the curves come anew.
      if (x < (curve.x.at(-1) ?? 0)) continue;
      curve.x.push(x);
      curve.y.push(value);
    }
    this.#added++;
  }
}

function curvesOf({ curves }: SeriesView): ReadonlyMap<string, GrowingCurve> {
  return new Map(curves.map(({ name, x, y }) => [name, { x: [...x], y: [...y] }]));
}
