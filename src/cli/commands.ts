import type { Command } from "commander";
import type { Exit } from "./exit.ts";

interface CommandModule {
  /** Adds the command, with its options and all below it; what it is for stands in the table. */
  readonly register: (program: Command, exit: Exit) => void;
}

interface CommandRow {
  readonly name: string;
  /** What it is for, as help lists it. */
  readonly help: string;
  /** Its module, loaded when the command is named. */
  readonly load: () => Promise<CommandModule>;
}

/** In the order of `anecdote --help`: the main job first. */
export const COMMANDS: readonly CommandRow[] = [
  {
    name: "train",
    help: "train a model on text; without options, the storyteller on its built-in stories",
    load: () => import("./train.ts"),
  },
  {
    name: "finetune",
    help: "train a model you have on your own text: an adapter (lora, qlora), or all of it",
    load: () => import("./finetune.ts"),
  },
  {
    name: "cluster",
    help: "train on several machines without anybody watching: mpirun, and again when it fails",
    load: () => import("./cluster.ts"),
  },
  { name: "fuse", help: "one model of a model and its adapter", load: () => import("./fuse.ts") },
  {
    name: "generate",
    help: "write text with a trained model",
    load: () => import("./generate.ts"),
  },
  {
    name: "serve",
    help: "serve a model through OpenAI's API",
    load: () => import("./serve.ts"),
  },
  {
    name: "eval",
    help: "loss and perplexity of a model on data, each token counted once",
    load: () => import("./eval.ts"),
  },
  {
    name: "export",
    help: "write a model as a Hugging Face folder, without the optimizer's state",
    load: () => import("./export.ts"),
  },
  {
    name: "runs",
    help: "what was trained: list, show, compare, export, remove",
    load: () => import("./runs.ts"),
  },
  {
    name: "dashboard",
    help: "a page of all runs: live curves, samples, checkpoints, comparison",
    load: () => import("./dashboard.ts"),
  },
  {
    name: "report",
    help: "a run as one HTML file to send to somebody",
    load: () => import("./report.ts"),
  },
  {
    name: "chat",
    help: "talk with a model that was tuned for it",
    load: () => import("./chat.ts"),
  },
  {
    name: "plan",
    help: "print a training step: programs, buffers, dispatches, memory, what is kept for the backward",
    load: () => import("./plan.ts"),
  },
  {
    name: "estimate",
    help: "predict time and energy on a chip: of a program, a training step or a token",
    load: () => import("./estimate.ts"),
  },
  {
    name: "inspect",
    help: "show what is in a model, program or weight file of any format",
    load: () => import("./inspect.ts"),
  },
  {
    name: "check",
    help: "hold a program against the language's rules, and a chip's",
    load: () => import("./check.ts"),
  },
  {
    name: "run",
    help: "run a program once, with arrays from and to .npy files",
    load: () => import("./run.ts"),
  },
  {
    name: "convert",
    help: "turn a model into another format: .mil, .mlpackage, .mlmodel, .onnx or .gguf",
    load: () => import("./convert.ts"),
  },
  {
    name: "diff",
    help: "compare two programs by structure, or two engine programs by meaning",
    load: () => import("./diff.ts"),
  },
  {
    name: "ops",
    help: "list the ops of MIL, and what can be done with each",
    load: () => import("./ops.ts"),
  },
  {
    name: "chips",
    help: "what is known of each Neural Engine, with sources",
    load: () => import("./chips.ts"),
  },
  {
    name: "bench",
    help: "published results beside this project's",
    load: () => import("./bench.ts"),
  },
  { name: "data", help: "make, fetch or check what to train on", load: () => import("./data.ts") },
  {
    name: "tokenizer",
    help: "train a tokenizer, or see what one does to a text",
    load: () => import("./tokenizer.ts"),
  },
  {
    name: "doctor",
    help: "what runs on this machine, what does not, and why; on a Mac, a self-test",
    load: () => import("./doctor.ts"),
  },
];

/** The command that words begin with, or ask help for; only its module is loaded. */
export function namedIn([first, second]: readonly string[]): (name: string) => boolean {
  const named = first === "help" ? second : first;
  return (name) => name === named;
}

/**
 * Registers all commands by name and purpose, and those that are wanted with their options: the modules of the others
 * are not loaded, so that help and a short command do not wait for the long ones.
 */
export async function registerCommands(
  program: Command,
  exit: Exit,
  isWanted: (name: string) => boolean,
): Promise<void> {
  for (const { name, help, load } of COMMANDS) {
    if (isWanted(name)) (await load()).register(program, exit);
    else program.command(name);
    program.commands.at(-1)?.description(help);
  }
}
