import type { Command } from "commander";
import type { Exit } from "./exit.ts";

interface CommandModule {
  readonly register: (program: Command, exit: Exit) => void;
}

type Load = () => Promise<CommandModule>;

/** By name, in the order of `anecdote --help`: the main job first. */
const MODULES: Readonly<Record<string, Load>> = {
  train: () => import("./train.ts"),
  finetune: () => import("./finetune.ts"),
  fuse: () => import("./fuse.ts"),
  generate: () => import("./generate.ts"),
  eval: () => import("./eval.ts"),
  export: () => import("./export.ts"),
  runs: () => import("./runs.ts"),
  plan: () => import("./plan.ts"),
  estimate: () => import("./estimate.ts"),
  inspect: () => import("./inspect.ts"),
  check: () => import("./check.ts"),
  run: () => import("./run.ts"),
  convert: () => import("./convert.ts"),
  diff: () => import("./diff.ts"),
  ops: () => import("./ops.ts"),
  chips: () => import("./chips.ts"),
  bench: () => import("./bench.ts"),
  data: () => import("./data.ts"),
  tokenizer: () => import("./tokenizer.ts"),
  doctor: () => import("./doctor.ts"),
};

/** Registers the command that the words begin with; all of them where they begin with none, for help and typos. */
export async function registerCommands(
  program: Command,
  exit: Exit,
  argv: readonly string[],
): Promise<void> {
  const [name = ""] = argv;
  const one = Object.hasOwn(MODULES, name) ? MODULES[name] : undefined;
  const isVersion = argv.length === 1 && (name === "--version" || name === "-V");
  const loads = one !== undefined ? [one] : isVersion ? [] : Object.values(MODULES);
  for (const load of loads) (await load()).register(program, exit);
}
