import { inferred, measured } from "../figure.ts";
import type { Figure } from "../figure.ts";
import { SOURCES } from "../sources.ts";

/**
 * What a pause before a call costs. Measured on M6 alone (the study's notes on power and scheduling); taken for every
 * chip until a report says otherwise.
 */
export const PAUSES = {
  /** Pauses up to this keep the clock. */
  keepsClock: measured(0.3, "ms", `${SOURCES.study}: 0.1 keeps it, from 0.3 on it drops`),
  /** After longer ones a call takes this much more of its own time: 8 to 30 %. */
  slowerShare: measured(0.19, "of a call", `${SOURCES.study}: idle below 30 ms`),
  /** Up to how long only the clock is low. */
  clockOnly: measured(30, "ms", SOURCES.study),
  /** What the first call takes more after a longer pause. */
  firstCall: measured(4, "ms", `${SOURCES.study}: idle for 0.1 to 5.5 s`),
  /** When the engine is switched off. */
  offAfter: measured(5680, "ms", SOURCES.study),
  /** What the first call takes more then. */
  wake: measured(53, "ms", `${SOURCES.study}: 47 to 60 ms`),
  /** Switched off, or idle. */
  idlePower: measured(0, "W", SOURCES.study),
  /** How long it works before its clock is at its highest, 852 MHz to 2.58 GHz. */
  ramp: measured(50, "ms", SOURCES.study),
  /** Energy of Low Power Mode against full speed, at the product rate of a long chain. */
  lowPowerShare: inferred(2.79 / 4.57, "x", `${SOURCES.part4}: 2.79 W against 4.57 W on M4`),
} as const satisfies Readonly<Record<string, Figure>>;

export interface PacedCall {
  /** Time of the call, with what the pause before it costs. */
  readonly ms: number;
  readonly pauseMs: number;
  readonly addedMs: number;
  readonly joules: number;
  /** Averaged over calls and pauses. */
  readonly watts: number;
}

/** Milliseconds that a call of `ms` takes more after a pause. */
export function pauseCostMs(ms: number, pauseMs: number): number {
  if (pauseMs <= PAUSES.keepsClock.value) return 0;
  const slower = ms * PAUSES.slowerShare.value;
  if (pauseMs <= PAUSES.clockOnly.value) return slower;
  // A long call reaches its full clock on the way.
  const once = Math.min(slower, PAUSES.ramp.value * PAUSES.slowerShare.value);
  return once + (pauseMs < PAUSES.offAfter.value ? PAUSES.firstCall.value : PAUSES.wake.value);
}

/** Calls of `ms` and `joules` begun every `everyMs`; as fast as they follow each other where that is too often. */
export function paced(ms: number, joules: number, everyMs: number): PacedCall {
  const pauseMs = Math.max(0, everyMs - ms);
  const addedMs = pauseCostMs(ms, pauseMs);
  const total = Math.max(everyMs, ms + addedMs);
  return {
    ms: ms + addedMs,
    pauseMs: total - ms - addedMs,
    addedMs,
    joules,
    watts: joules / (total * 1e-3) + PAUSES.idlePower.value,
  };
}
