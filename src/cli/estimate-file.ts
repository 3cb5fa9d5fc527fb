import { estimateFile } from "../files/estimate-file.ts";
import { parseShapes } from "../files/open-program.ts";
import { UsageError } from "./errors.ts";
import type { Answer, EstimateFlags, Target } from "./estimate-answer.ts";
import { defined } from "../util/defined.ts";

/** What `estimate FILE` predicts. */
export function estimateOfFile(
  path: string,
  { chip, driver, calibrated }: Target,
  flags: EstimateFlags,
): Answer {
  if (flags.token === true) {
    throw new UsageError(
      "cli.estimate.token",
      "--token is for models: --preset NAME or --model DIR",
    );
  }
  const ofFile = estimateFile(path, {
    ...parseShapes(flags.shape, flags.dim),
    chip,
    ...defined({ driver, calibrated, function: flags.function }),
    hostCopies: flags.hostCopies === true,
    asWritten: flags.asWritten === true,
  });
  return { estimate: ofFile.estimate, what: path, ofFile };
}
