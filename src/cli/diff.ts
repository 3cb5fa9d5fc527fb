import type { Command } from "commander";
import { diffFiles } from "../files/diff-files.ts";
import { parseShapes } from "../files/open-program.ts";
import { append } from "./append.ts";
import { hwxDiffText } from "../inspect/hwx/index.ts";
import { programDiffText } from "../inspect/program-diff.ts";
import type { Exit } from "./exit.ts";
import { EXIT_CODES, UsageError } from "./errors.ts";
import { printable } from "../util/printable.ts";
import { answer } from "./terminal.ts";

interface DiffFlags {
  readonly registers?: boolean;
  readonly shape: readonly string[];
  readonly json?: boolean;
}

export function register(program: Command, exit: Exit): void {
  program
    .command("diff")
    .argument("<a>", "a program of any format, or an .hwx file")
    .argument("<b>", "the other one")
    .option("--registers", "register by register (.hwx)")
    .option("--shape <name=2x3>", "sizes that .onnx files leave open", append, [])
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      "\nThe exit code is 1 where the two differ.\n\nExample:\n  anecdote diff before.mlpackage after.mlpackage",
    )
    .action((a: string, b: string, flags: DiffFlags) => {
      exit(diff(a, b, flags) ? EXIT_CODES.ok : EXIT_CODES.failure);
    });
}

/** Prints what differs; true where nothing does. */
function diff(a: string, b: string, flags: DiffFlags): boolean {
  const { shape, registers = false } = flags;
  const found = diffFiles(a, b, parseShapes(shape));
  if (found.format === "hwx") {
    answer(flags, { format: "hwx", ...found.diff }, () =>
      printable(hwxDiffText(found.diff, { registers })),
    );
    return found.equal;
  }
  if (registers) {
    throw new UsageError("cli.diff.registers", "--registers is for engine programs (.hwx)");
  }
  const [left, right] = found.formats;
  answer(flags, { format: "program", a, b, ...found.diff }, () =>
    printable(`a: ${a} (${left})\nb: ${b} (${right})\n${programDiffText(found.diff)}`),
  );
  return found.equal;
}
