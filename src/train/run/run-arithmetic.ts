import {
  CURRENT_SET,
  FIRST_SET,
  formatArithmetic,
  parseArithmetic,
} from "../../chip/arithmetic/arithmetic.ts";
import type { ArithmeticChoice } from "../../chip/arithmetic/arithmetic.ts";
import { readCalibration, reportOf } from "../../chip/calibration.ts";
import { isSimulated } from "../../chip/simulated.ts";
import { readTrainerState } from "../../runs/state.ts";
import type { FoundCheckpoint } from "../../runs/whole-checkpoints.ts";

/**
 * The configuration with the simulated engine's arithmetic spelled out, so that checkpoints tell it: what the settings
 * say, else what the checkpoint to resume was made with, else today's. Checkpoints that do not say were made by the
 * rules of August 2026. `note` hears of a change. Other engines have no choice.
 */
export function withArithmetic<
  Settings extends { readonly engine: string; readonly arithmetic?: string | undefined },
>(config: Settings, found: FoundCheckpoint | undefined, note: (message: string) => void): Settings {
  if (!isSimulated(config.engine)) return config;
  const given = config.arithmetic && formatArithmetic(choiceOf(config.arithmetic));
  const folder = found?.checkpoint?.folder;
  const before = folder === undefined ? undefined : madeWith(folder);
  if (given !== undefined && before !== undefined && given !== before) {
    note(`the checkpoint was made with arithmetic ${before}, this is ${given}: not bit for bit`);
  }
  return { ...config, arithmetic: given ?? before ?? CURRENT_SET };
}

/** A report's choice is spelled out: the run must not change when the file does. */
function choiceOf(arithmetic: string): ArithmeticChoice {
  const report = reportOf(arithmetic);
  return report === undefined ? parseArithmetic(arithmetic) : readCalibration(report).arithmetic;
}

function madeWith(folder: string): string {
  const recorded = readTrainerState(folder).config["arithmetic"];
  return typeof recorded === "string" ? recorded : FIRST_SET;
}
