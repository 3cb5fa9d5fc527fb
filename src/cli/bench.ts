import type { Command } from "commander";
import { formatPaper, paperJson } from "../measure/published/paper.ts";
import { registerBenchEngine } from "./bench-engine.ts";
import type { Exit } from "./exit.ts";
import { printJson } from "./terminal.ts";

export function register(program: Command, exit: Exit): void {
  const bench = program.command("bench");
  bench
    .command("paper")
    .description("what others published about the engine, and what the cost model predicts for it")
    .option("--json", "one JSON object")
    .addHelpText("after", "\nExample:\n  anecdote bench paper --json")
    .action((flags: { readonly json?: boolean }) => {
      if (flags.json === true) printJson(paperJson());
      else process.stdout.write(formatPaper());
    });
  registerBenchEngine(bench, exit);
}
