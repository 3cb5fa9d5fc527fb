import type { Command } from "commander";

/** Sets the exit code of a command that ends without an error. */
export type Exit = (code: number) => void;

interface CommandModule {
  readonly register: (program: Command, exit: Exit) => void;
}

/** In the order of `anecdote --help`: the main job first. */
const MODULES: readonly (() => Promise<CommandModule>)[] = [
  () => import("./train.ts"),
  () => import("./generate.ts"),
  () => import("./eval.ts"),
  () => import("./plan.ts"),
  () => import("./estimate.ts"),
  () => import("./inspect.ts"),
  () => import("./check.ts"),
  () => import("./run.ts"),
  () => import("./convert.ts"),
  () => import("./diff.ts"),
  () => import("./ops.ts"),
  () => import("./chips.ts"),
  () => import("./bench.ts"),
  () => import("./data.ts"),
  () => import("./tokenizer.ts"),
  () => import("./doctor.ts"),
];

export async function registerCommands(program: Command, exit: Exit): Promise<void> {
  for (const load of MODULES) (await load()).register(program, exit);
}
