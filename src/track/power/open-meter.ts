import { messageOf } from "../../util/errors.ts";
import { didYouMean } from "../../util/nearest.ts";
import { TrackError } from "../errors.ts";
import { ioreportSource } from "./ioreport.ts";
import { macmonSource } from "./macmon.ts";
import { METERS, SourceMeter } from "./meter.ts";
import type { MeterListener, MeterName, PowerMeter, PowerSource } from "./meter.ts";
import { powermetricsSource } from "./powermetrics.ts";

/** "auto" takes the first that works, "off" none. */
export const POWER_CHOICES = ["auto", ...METERS, "off"] as const;
export type PowerChoice = (typeof POWER_CHOICES)[number];

export interface OpenMeterOptions {
  /** Default: what `ANECDOTE_POWER` names, else "auto". */
  readonly choice?: PowerChoice;
  /** Between readings; default 500, at least 100. */
  readonly intervalMs?: number;
  /** How long each meter may take to its first reading. Default 5 s. */
  readonly limitMs?: number;
  readonly listener?: MeterListener;
  /** Ends the search, and a meter that is being tried. */
  readonly signal?: AbortSignal;
}

/** A meter that reads, or why there is none. */
export type OpenedMeter =
  | { readonly meter: PowerMeter; readonly reason?: undefined }
  | { readonly meter?: undefined; readonly reason: string };

const DEFAULT_INTERVAL_MS = 500;
const DEFAULT_LIMIT_MS = 5000;
const SOURCES: Readonly<Record<MeterName, () => PowerSource>> = {
  macmon: () => macmonSource(),
  ioreport: () => ioreportSource(),
  powermetrics: () => powermetricsSource(),
};

/**
 * Starts the first meter that gives a reading: macmon, IOReport, powermetrics. Where none does, the reasons of all are
 * given; a number is never made up. Throws `TrackError` `track.power.choice` for a name in `ANECDOTE_POWER` that is none.
 */
export async function openPowerMeter(options: OpenMeterOptions = {}): Promise<OpenedMeter> {
  const choice = options.choice ?? powerChoice();
  if (choice === "off") return { reason: "it is switched off" };
  const reasons: string[] = [];
  for (const name of choice === "auto" ? METERS : [choice]) {
    if (options.signal?.aborted === true) break;
    const intervalMs = Math.max(100, Math.round(options.intervalMs ?? DEFAULT_INTERVAL_MS));
    const meter = new SourceMeter(SOURCES[name](), intervalMs, options.listener);
    const close = (): void => meter.close();
    options.signal?.addEventListener("abort", close);
    try {
      await meter.start(options.limitMs ?? DEFAULT_LIMIT_MS);
      return { meter };
    } catch (error) {
      reasons.push(messageOf(error));
      options.signal?.removeEventListener("abort", close);
    }
  }
  return { reason: reasons.join("; ") || "the search was ended" };
}

/** The meter that is named, or that the environment names. Throws `TrackError` `track.power.choice`. */
export function powerChoice(named?: string): PowerChoice {
  const text = named ?? process.env["ANECDOTE_POWER"];
  if (text === undefined || text === "") return "auto";
  const found = POWER_CHOICES.find((choice) => choice === text);
  if (found !== undefined) return found;
  throw new TrackError(
    "track.power.choice",
    `there is no power meter "${text.slice(0, 64)}"${named === undefined ? " (ANECDOTE_POWER)" : ""}.${didYouMean(text, POWER_CHOICES)}`,
    { remedy: `It may be ${POWER_CHOICES.join(", ")}.` },
  );
}
