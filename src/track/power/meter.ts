import { energySum, meanWatts, RAILS } from "../../util/energy.ts";
import type { ByRail, EnergyReading } from "../../util/energy.ts";
import { messageOf } from "../../util/errors.ts";
import { TrackError } from "../errors.ts";

/** In the order they are tried. */
export const METERS = ["macmon", "ioreport", "powermetrics"] as const;
export type MeterName = (typeof METERS)[number];

/** Reads what the chip consumes. A meter that fails never throws into a run: it tells why and keeps what it read. */
export interface PowerMeter {
  readonly name: MeterName;
  /** Why nothing is read any more. */
  readonly failure: string | undefined;
  /** Resolves with the first reading. Throws `TrackError` `track.power` with the reason where none comes in time. */
  start(limitMs: number): Promise<void>;
  /** Since the start. */
  energyJoules(): EnergyReading;
  /** Of the last reading. */
  watts(): ByRail | undefined;
  /** Ends its process; safe at any time, and more than once. */
  close(): void;
}

export interface MeterListener {
  readonly onReading?: (energy: EnergyReading) => void;
  /** After a start that succeeded. */
  readonly onFailure?: (reason: string) => void;
}

/** Where a source puts what it reads. */
export interface PowerSink {
  /** Joules that were consumed in some seconds. */
  take(joules: ByRail, seconds: number): void;
  fail(reason: string): void;
}

/** One way to read power. */
export interface PowerSource {
  readonly name: MeterName;
  /** Begins to read about every `intervalMs` and returns what ends it. May throw. */
  open(sink: PowerSink, intervalMs: number): () => void;
}

/** No Mac consumes more: such a number is garbage. */
const MAXIMUM_WATTS = 2000;

/** A meter of any source: adds up, checks numbers, and turns whatever goes wrong into a reason. */
export class SourceMeter implements PowerMeter {
  readonly name: MeterName;
  readonly #source: PowerSource;
  readonly #intervalMs: number;
  readonly #listener: MeterListener;
  #total: EnergyReading | undefined;
  #watts: ByRail | undefined;
  #failure: string | undefined;
  #isClosed = false;
  #closeSource: (() => void) | undefined;
  #settle: ((failure?: string) => void) | undefined;

  constructor(source: PowerSource, intervalMs: number, listener: MeterListener = {}) {
    this.name = source.name;
    this.#source = source;
    this.#intervalMs = intervalMs;
    this.#listener = listener;
  }

  get failure(): string | undefined {
    return this.#failure;
  }

  async start(limitMs: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => this.#fail(`it told nothing within ${limitMs / 1000} s`),
        limitMs,
      );
      this.#settle = (failure) => {
        clearTimeout(timer);
        this.#settle = undefined;
        if (failure === undefined) resolve();
        else reject(new TrackError("track.power", `${this.name}: ${failure}`));
      };
      try {
        const close = this.#source.open(
          {
            take: (joules, seconds) => this.#take(joules, seconds),
            fail: (reason) => this.#fail(reason),
          },
          this.#intervalMs,
        );
        // It may have failed while it opened.
        if (this.#isClosed) close();
        else this.#closeSource = close;
      } catch (error) {
        this.#fail(messageOf(error));
      }
    });
  }

  energyJoules(): EnergyReading {
    return this.#total ?? { joules: {}, seconds: 0 };
  }

  watts(): ByRail | undefined {
    return this.#failure === undefined ? this.#watts : undefined;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#closeSource?.();
    this.#settle?.("it was closed");
  }

  #take(joules: ByRail, seconds: number): void {
    if (this.#isClosed) return;
    if (!(seconds > 0 && Number.isFinite(seconds))) return;
    for (const rail of RAILS) {
      const value = joules[rail];
      if (value === undefined) continue;
      const watts = value / seconds;
      if (!(watts >= 0 && watts <= MAXIMUM_WATTS)) {
        this.#fail(`its ${rail} rail reads ${Number.isNaN(watts) ? "NaN" : `${watts} W`}`);
        return;
      }
    }
    this.#watts = meanWatts({ joules, seconds });
    this.#total = energySum(this.#total, { joules, seconds });
    this.#settle?.();
    this.#listener.onReading?.(this.#total);
  }

  #fail(reason: string): void {
    if (this.#isClosed) return;
    this.#failure = reason.split("\n")[0] ?? reason;
    this.#isClosed = true;
    this.#closeSource?.();
    if (this.#settle === undefined) this.#listener.onFailure?.(this.#failure);
    else this.#settle(this.#failure);
  }
}
