import { openPowerMeter } from "../track/power/index.ts";
import type { PowerChoice, PowerMeter } from "../track/power/index.ts";
import { EnergyBlock } from "../train/index.ts";
import { messageOf } from "../util/errors.ts";

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
