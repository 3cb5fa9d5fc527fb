import type { RunCommand } from "./events.ts";

/** Where a clock stands. */
export interface ClockState {
  /** Of training. */
  readonly seconds: number;
  /** Seconds since 1970 of the event that it was last asked about; nothing where none counts on. */
  readonly t?: number | undefined;
  readonly isPaused?: boolean;
}

/**
 * Seconds of training, from the times of a run's events: the time between a process's end and the next one's start, and
 * pauses, do not count. Never falls; where the system's clock was set back, it goes on from there.
 */
export class TrainingClock {
  #seconds: number;
  #t: number | undefined;
  #isPaused: boolean;

  constructor({ seconds, t, isPaused = false }: ClockState = { seconds: 0 }) {
    this.#seconds = seconds;
    this.#t = t;
    this.#isPaused = isPaused;
  }

  get state(): ClockState {
    return { seconds: this.#seconds, t: this.#t, isPaused: this.#isPaused };
  }

  /** A process began. */
  start(t: number): void {
    this.#isPaused = false;
    this.#t = t;
  }

  control(command: RunCommand, t: number): void {
    if (command === "pause" && !this.#isPaused) {
      this.at(t);
      this.#isPaused = true;
    }
    if (command !== "resume" || !this.#isPaused) return;
    this.#isPaused = false;
    this.#t = t;
  }

  /** At something that was told at `t`, which a run that waits does not. */
  at(t: number): number {
    if (this.#isPaused) this.#isPaused = false;
    else if (this.#t !== undefined) this.#seconds += Math.max(0, t - this.#t);
    this.#t = t;
    return this.#seconds;
  }

  /** What follows is told from there. */
  goBack(seconds: number): void {
    this.#seconds = seconds;
    this.#t = undefined;
  }
}
