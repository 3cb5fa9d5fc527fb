import type { Driver } from "../chip/chip.ts";
import { chooseDriver } from "../chip/choose-driver.ts";
import { chooseChip } from "./ane/choose-chip.ts";
import { findLibrary, hasNeuralEngine } from "./ane/library.ts";
import { readMachineProfile, systemBuild } from "./ane/machine-profile.ts";
import { EngineError } from "./errors.ts";

/** What `--engine auto` takes on this machine. */
export interface AutoChoice {
  readonly engine: "ane" | "cpu";
  /** A sentence for the user; absent where there is nothing to choose. */
  readonly reason?: string;
}

/** Whether "auto" can be anything but the CPU on this machine. */
export function mayBeNeuralEngine(): boolean {
  return hasNeuralEngine();
}

/** What tells `autoChoice` of a machine; the defaults are this one. */
export interface AutoOptions {
  readonly driver?: Driver;
  /** Folder of machine profiles. Default: the cache folder. */
  readonly root?: string;
}

/**
 * The Neural Engine only where `anecdote doctor` passed on this machine, chip and system: nothing of it has run on
 * silicon here, and a user who names no engine asks for a result, not for an experiment. Else the CPU.
 */
export async function autoChoice({ driver, root }: AutoOptions = {}): Promise<AutoChoice> {
  if (!hasNeuralEngine()) return { engine: "cpu" };
  const cpu = (why: string): AutoChoice => ({
    engine: "cpu",
    reason: `engine auto is cpu: ${why}; --engine ane tries the Neural Engine all the same`,
  });
  try {
    const library = findLibrary();
    const chip = await chooseChip(undefined, library);
    const key = { chip: chip.id, osBuild: systemBuild(), library: library.path };
    const lookup = readMachineProfile(key, root);
    switch (lookup.state) {
      case "absent":
        return cpu("`anecdote doctor` has not passed on this machine yet");
      case "ignored":
        return cpu(
          `what \`anecdote doctor\` found is not of this machine as it is now, ${lookup.reason}`,
        );
      case "used": {
        const chosen = chooseDriver(driver);
        const made = lookup.profile.made.slice(0, 10);
        return lookup.profile.passed?.includes(chosen) === true
          ? { engine: "ane", reason: `engine auto is ane: \`anecdote doctor\` passed on ${made}` }
          : cpu(`\`anecdote doctor\` of ${made} did not pass with ${chosen}`);
      }
    }
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    return cpu(error.message);
  }
}
