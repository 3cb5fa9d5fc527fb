import { openPowerMeter } from "../../track/power/index.ts";
import type { EnergyReading, Rail } from "../../util/energy.ts";
import type { PowerProbe } from "./measure-case.ts";
import { energyBetween, meanWatts } from "../../util/energy.ts";

/** Between readings: a case of seconds gets ten or more. */
const INTERVAL_MS = 200;

/** A meter for single cases, or why there is none. */
type OpenedProbe =
  | { readonly probe: PowerProbe; readonly reason?: undefined }
  | { readonly probe?: undefined; readonly reason: string };

/** Opens the first meter that reads (track/power), for one rail. Nothing is guessed where there is none. */
export async function openPowerProbe(rail: Rail): Promise<OpenedProbe> {
  const window = new PowerWindow(rail);
  const { meter, reason } = await openPowerMeter({
    intervalMs: INTERVAL_MS,
    listener: { onReading: (energy) => window.read(energy) },
  });
  if (meter === undefined) return { reason };
  return {
    probe: {
      source: meter.name,
      start: () => window.open(),
      stop: () => window.close(),
      close: () => meter.close(),
    },
  };
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
    const spent = energyBetween(before, after);
    return spent.seconds > 0 ? meanWatts(spent)[this.#rail] : undefined;
  }
}
