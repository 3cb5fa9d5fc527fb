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
  /** After a longer one a call takes this much more of its own time: 8 to 30 %. */
  slowerShare: measured(0.19, "of a call", `${SOURCES.study}: idle below 30 ms`),
  /** Up to how long only the clock is low. */
  clockOnly: measured(30, "ms", SOURCES.study),
  /** What the first call, of 1.6 ms, takes more after a longer pause; longer ones run through the whole ramp. */
  firstCall: measured(4, "ms", `${SOURCES.study}: idle for 0.1 to 5.5 s`),
  /** When the engine is switched off. */
  offAfter: measured(5680, "ms", SOURCES.study),
  /** What the first call takes more then. */
  wake: measured(53, "ms", `${SOURCES.study}: 47 to 60 ms`),
  /** When it is woken once to let go of its programs, and when it is off again. */
  wokenAt: measured(10_200, "ms", SOURCES.study),
  offAgain: measured(15_300, "ms", SOURCES.study),
  /** What the first call takes more between these: its program is brought back. */
  unloaded: measured(7.7, "ms", `${SOURCES.study}: 9.1 to 9.6 ms for a call of 1.7`),
  /** Switched off, or idle. */
  idlePower: measured(0, "W", SOURCES.study),
  /** Work, in time at the full clock, until the clock is at its highest. */
  ramp: measured(50, "ms", SOURCES.study),
  /** The clock it begins at, of the highest: 852 MHz of 2.58 GHz. */
  lowClock: measured(852 / 2580, "x", SOURCES.study),
  /** How much slower calls with such pauses between them all were found, and what of the energy they took. */
  slowedBy: measured(2.5, "x", `${SOURCES.study}: 2.2 to 2.9 with gaps from 0.3 ms on`),
  slowedEnergy: measured(1 / 3, "x", SOURCES.study),
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
  /** The first call of all, with the engine switched off. */
  readonly coldMs: number;
  /** If the clock stays low, as it did in one study of calls with short pauses between them. */
  readonly lowClock?: { readonly ms: number; readonly joules: number };
}

/** What a rising clock adds to `ms` of work at the full one: it rises in a line over `ramp` of work. */
function rampMs(ms: number): number {
  const { ramp, lowClock } = PAUSES;
  const work = Math.min(ms, ramp.value);
  const rise = 1 - lowClock.value;
  const taken = (ramp.value / rise) * Math.log(1 + (rise / lowClock.value) * (work / ramp.value));
  return taken - work;
}

/** The published call of the study's pauses, at the full clock. */
const STUDIED_MS = 1.6;

/** Milliseconds that a call of `ms` takes more after a pause. */
export function pauseCostMs(ms: number, pauseMs: number): number {
  if (pauseMs <= PAUSES.keepsClock.value) return 0;
  if (pauseMs <= PAUSES.clockOnly.value)
    return Math.min(ms, PAUSES.ramp.value) * PAUSES.slowerShare.value;
  const isWoken = pauseMs >= PAUSES.wokenAt.value && pauseMs < PAUSES.offAgain.value;
  const published =
    pauseMs < PAUSES.offAfter.value
      ? PAUSES.firstCall.value
      : isWoken
        ? PAUSES.unloaded.value
        : PAUSES.wake.value;
  // The published figures hold the ramp of their call.
  return published + Math.max(0, rampMs(ms) - rampMs(STUDIED_MS));
}

/** Calls of `ms` and `joules` begun every `everyMs`; as fast as they follow each other where that is too often. */
export function paced(ms: number, joules: number, everyMs: number): PacedCall {
  const pauseMs = Math.max(0, everyMs - ms);
  const addedMs = pauseCostMs(ms, pauseMs);
  const total = Math.max(everyMs, ms + addedMs);
  const staysLow = pauseMs > PAUSES.keepsClock.value && pauseMs <= PAUSES.clockOnly.value;
  return {
    ms: ms + addedMs,
    pauseMs: total - ms - addedMs,
    addedMs,
    joules,
    watts: joules / (total * 1e-3) + PAUSES.idlePower.value,
    coldMs: ms + pauseCostMs(ms, Infinity),
    ...(staysLow && {
      lowClock: {
        ms: ms + Math.min(ms * (PAUSES.slowedBy.value - 1), rampMs(ms)),
        joules: joules * PAUSES.slowedEnergy.value,
      },
    }),
  };
}
