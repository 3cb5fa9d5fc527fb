import type { Command } from "commander";
import { planJson, printPlan } from "../plan/print.ts";
import { TRAIN_OPTIONS, planOf, plannedModel } from "../train/index.ts";
import type { Exit } from "./commands.ts";
import { addOptions } from "./options.ts";
import { resolveFromCommandLine } from "./train.ts";

export function register(program: Command, _exit: Exit): void {
  const command = program
    .command("plan")
    .description(
      "print a training step: programs, buffers, dispatches, memory, what is kept for the backward",
    )
    .option("-c, --config <file>", "YAML file with the training options")
    .option("--json", "the plan as one JSON object")
    .addHelpText(
      "after",
      "\nExample:\n  anecdote plan --preset stories15M --recompute auto --tap-bytes 200000000",
    );
  addOptions(command, TRAIN_OPTIONS);
  command.action((flags: { readonly config?: string; readonly json?: boolean }) => {
    const { config } = resolveFromCommandLine(command, flags.config);
    const built = planOf(config, plannedModel(config));
    process.stdout.write(
      flags.json === true ? `${JSON.stringify(planJson(built))}\n` : printPlan(built),
    );
  });
}
