import type { Command } from "commander";
import { CURRENT_SET } from "../chip/arithmetic/arithmetic.ts";
import { arithmeticJson, formatArithmeticRules } from "../chip/arithmetic/print.ts";
import { CHIPS, chipByName } from "../chip/chips.ts";
import { chipJson, formatChip, formatChips } from "../chip/print.ts";
import { rooflineOf, rooflineSvg, rooflineText } from "../measure/published/roofline.ts";
import { writeWholeFile } from "../util/atomic-file.ts";
import type { Exit } from "./exit.ts";
import { UsageError } from "./errors.ts";
import { answer } from "./terminal.ts";

interface ChipsFlags {
  readonly svg?: string;
  readonly arithmetic?: boolean | string;
  readonly json?: boolean;
}

export function register(program: Command, _exit: Exit): void {
  program
    .command("chips")
    .argument("[name]", "one chip: m1 to m6, m4-max, …")
    .option("--svg <file>", "write the chip's roofline as a picture")
    .option(
      "--arithmetic [set]",
      "the chip's arithmetic rule by rule: variants, who says so, the probe that decides",
    )
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      "\nExamples:\n  anecdote chips\n  anecdote chips m4 --svg m4.svg\n  anecdote chips m4 --arithmetic\n  anecdote chips m4 --arithmetic 2026-08",
    )
    .action((name: string | undefined, flags: ChipsFlags) => {
      if (name === undefined) {
        if (flags.svg !== undefined) {
          throw new UsageError(
            "cli.chips.svg",
            "--svg draws one chip: anecdote chips m4 --svg FILE",
          );
        }
        if (flags.arithmetic !== undefined) {
          throw new UsageError(
            "cli.chips.arithmetic",
            "--arithmetic prints the rules of one chip: anecdote chips m4 --arithmetic",
          );
        }
        answer(flags, { chips: CHIPS.map(chipJson) }, () => formatChips());
        return;
      }
      const chip = chipByName(name);
      if (flags.arithmetic !== undefined) {
        const choice = flags.arithmetic === true ? CURRENT_SET : String(flags.arithmetic);
        answer(flags, { chip: chip.id, arithmetic: arithmeticJson(chip, choice) }, () =>
          formatArithmeticRules(chip, choice),
        );
        return;
      }
      if (flags.svg !== undefined) {
        writeWholeFile(flags.svg, rooflineSvg(chip));
        process.stderr.write(`${flags.svg} written\n`);
      }
      answer(
        flags,
        { ...chipJson(chip), roofline: rooflineOf(chip) },
        () => `${formatChip(chip)}\n${rooflineText(chip)}`,
      );
    });
}
