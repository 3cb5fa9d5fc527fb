import { planOf, plannedTraining } from "../train/index.ts";
import type { PlanSettings } from "../train/index.ts";
import { planJson, printPlan } from "../plan/print.ts";
import { UsageError } from "./errors.ts";
import { showPrograms } from "./show-programs.ts";
import { answer } from "./terminal.ts";

interface ShowFlags {
  readonly output?: string;
  readonly overwrite?: boolean;
  readonly json?: boolean;
}

/** What `train --show` prints instead of training. Throws `UsageError` for anything but `plan` and `mil`. */
export async function showBeforeRun(
  config: PlanSettings,
  what: string,
  { json = false, output, overwrite = false }: ShowFlags,
): Promise<void> {
  if (what !== "plan" && what !== "mil") {
    throw new UsageError("cli.show", `--show takes plan or mil, not "${what}"`);
  }
  const built = planOf(config, plannedTraining(config));
  if (what === "mil") await showPrograms(built.plan, config, { output, overwrite, json });
  else answer({ json }, planJson(built), () => printPlan(built));
}
