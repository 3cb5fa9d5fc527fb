import { formatJoules } from "../util/format.ts";
import { openPowerMeter } from "../track/power/index.ts";
import type { PowerChoice, PowerMeter } from "../track/power/index.ts";
import { EnergyBlock } from "../train/index.ts";
import type { EnergyReading } from "../util/energy.ts";
import { messageOf } from "../util/errors.ts";
import { energyBetween, meanWatts } from "../util/energy.ts";

/** A power meter that writes what it reads where a training thread looks. */
export interface PowerWatch {
  readonly energy: EnergyBlock;
  /** Ends the meter, or the search for one; at once, so that nothing is left when the process goes. */
  close(): void;
}

/** Looks for a meter in the background; a run never waits for it. */
export function watchPower(choice: PowerChoice): PowerWatch {
  const energy = new EnergyBlock();
  const search = new AbortController();
  let meter: PowerMeter | undefined;
  const unavailable = (reason: string): void => energy.announce({ kind: "unavailable", reason });
  const begin = async (): Promise<void> => {
    const opened = await openPowerMeter({
      choice,
      signal: search.signal,
      listener: { onReading: (reading) => energy.publish(reading), onFailure: unavailable },
    });
    meter = opened.meter;
    if (opened.meter === undefined) unavailable(opened.reason);
    // It may have failed since.
    else if (opened.meter.failure === undefined)
      energy.announce({ kind: "reading", meter: opened.meter.name });
  };
  begin().catch((error: unknown) => unavailable(messageOf(error)));
  return {
    energy,
    close: () => {
      search.abort();
      meter?.close();
    },
  };
}

/** Mean power of a command's work. */
export interface MeanPower {
  readonly power_meter: string;
  /** Of CPU, GPU and Neural Engine together. */
  readonly watts: number;
}

/** A share of the time that readings must cover for their mean to stand for it. */
const COVERED = 0.5;

interface Mark {
  readonly ms: number;
  readonly energy: EnergyReading;
}

/** Reads power while a command works: from its first report of progress, so that loading is left out, to its last. */
export class WorkPower {
  readonly #watch: PowerWatch;
  #first: Mark | undefined;
  #last: Mark | undefined;

  /** A meter to look for, or one that is watched already. */
  constructor(meter: PowerChoice | PowerWatch) {
    this.#watch = typeof meter === "string" ? watchPower(meter) : meter;
  }

  /** Progress was made. */
  mark(): void {
    this.#last = { ms: performance.now(), energy: this.#watch.energy.energy };
    this.#first ??= this.#last;
  }

  /** Ends the meter. Nothing where there is none, or its readings cover too little of the work. */
  end(): MeanPower | undefined {
    const { state } = this.#watch.energy;
    this.#watch.close();
    const [first, last] = [this.#first, this.#last];
    if (first === undefined || last === undefined || state.kind !== "reading") return undefined;
    const spent = energyBetween(first.energy, last.energy);
    const { seconds } = spent;
    if (seconds <= 0 || seconds < (COVERED * (last.ms - first.ms)) / 1000) return undefined;
    const { package: watts } = meanWatts(spent);
    return watts === undefined ? undefined : { power_meter: state.meter, watts };
  }
}

/** What the tokens of a work cost, as JSON; nothing of what is not known. */
export function tokenCosts(
  power: MeanPower | undefined,
  tokensPerSecond: number,
): Partial<MeanPower & { readonly joules_per_token: number }> {
  return power === undefined || !(tokensPerSecond > 0)
    ? {}
    : { ...power, joules_per_token: power.watts / tokensPerSecond };
}

/** ", 3.50 W, 12.3 mJ a token (macmon)" where it is known. */
export function tokenCostsText(power: MeanPower | undefined, tokensPerSecond: number): string {
  const {
    watts,
    joules_per_token: joules,
    power_meter: meter,
  } = tokenCosts(power, tokensPerSecond);
  return watts === undefined || joules === undefined
    ? ""
    : `, ${watts.toPrecision(3)} W, ${formatJoules(joules)} a token (${meter ?? ""})`;
}
