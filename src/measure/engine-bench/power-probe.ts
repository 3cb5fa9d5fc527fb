import { openPowerMeter } from "../../track/power/index.ts";
import type { EnergyReading, Rail } from "../../util/energy.ts";
import type { PowerProbe } from "./measure-case.ts";

/** Between readings: a case of seconds gets ten or more. */
const INTERVAL_MS = 200;

/** A meter for single cases, or why there is none. */
export type OpenedProbe =
  | { readonly probe: MeterProbe; readonly reason?: undefined }
  | { readonly probe?: undefined; readonly reason: string };

/** Opens the first meter that reads (track/power), for one rail. Nothing is guessed where there is none. */
export async function openPowerProbe(rail: Rail): Promise<OpenedProbe> {
  const window = new PowerWindow(rail);
  const opened = await openPowerMeter({
    intervalMs: INTERVAL_MS,
    listener: { onReading: (energy) => window.read(energy) },
  });
  return opened.meter === undefined
    ? { reason: opened.reason }
    : { probe: new MeterProbe(opened.meter, window) };
}

/** The mean power of a rail between readings that lie wholly inside a span of time. */
export class PowerWindow {
  readonly #rail: Rail;
  #first: EnergyReading | undefined;
  #last: EnergyReading | undefined;
  #isOpen = false;

  constructor(rail: Rail = "ane") {
    this.#rail = rail;
  }

  open(): void {
    this.#isOpen = true;
    this.#first = undefined;
    this.#last = undefined;
  }

  read(energy: EnergyReading): void {
    if (!this.#isOpen) return;
    // The first reading began before the span did.
    this.#first ??= energy;
    this.#last = energy;
  }

  /** Watts; nothing where fewer than two readings fell into the span, or the rail is not read. */
  close(): number | undefined {
    this.#isOpen = false;
    const [before, after] = [this.#first, this.#last];
    if (before === undefined || after === undefined) return undefined;
    const seconds = after.seconds - before.seconds;
    const [from, to] = [before.joules[this.#rail], after.joules[this.#rail]];
    if (from === undefined || to === undefined || !(seconds > 0)) return undefined;
    return (to - from) / seconds;
  }
}

interface Meter {
  readonly name: string;
  close(): void;
}

export class MeterProbe implements PowerProbe {
  readonly source: string;
  readonly #meter: Meter;
  readonly #window: PowerWindow;

  constructor(meter: Meter, window: PowerWindow) {
    this.source = meter.name;
    this.#meter = meter;
    this.#window = window;
  }

  start(): void {
    this.#window.open();
  }

  stop(): number | undefined {
    return this.#window.close();
  }

  close(): void {
    this.#meter.close();
  }
}
