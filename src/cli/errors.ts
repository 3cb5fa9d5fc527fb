import { FilesError } from "../files/errors.ts";
import { AnecdoteError } from "../util/errors.ts";
import { printable } from "../util/printable.ts";
import { OptionError } from "../util/option-error.ts";
import { styled, printJson } from "./terminal.ts";
import { asTyped } from "./typed-command.ts";

/** What the process ends with. */
export const EXIT_CODES = {
  ok: 0,
  failure: 1,
  usage: 2,
  deviceUnavailable: 3,
  interrupted: 130,
} as const;

/** Of errors that say that this machine lacks what the engine runs on. */
const UNAVAILABLE: ReadonlySet<string> = new Set([
  "engine.ane.library",
  "engine.cpu.runtime",
  "engine.gpu.build",
  "engine.gpu.device",
]);

/** A command line that cannot be understood. */
export class UsageError extends AnecdoteError {}

/** Names that were given and that nothing has: as wrong a command line as a number that is none. */
const WRONG_NAMES: ReadonlySet<string> = new Set([
  "chip.unknown",
  "engine.unknown",
  "engine.option",
  "engine.threads",
  "engine.ane.driver",
  "measure.case",
  "measure.suite",
  "track.power.choice",
  "track.unknown",
  "train.preset.unknown",
]);

/** Of files that are what they should be, where what was asked of them cannot be had. */
const NOT_TO_BE_HAD: ReadonlySet<string> = new Set(["cli.check.host"]);

export function exitCodeOf(error: unknown): number {
  if (error instanceof FilesError && NOT_TO_BE_HAD.has(error.code)) return EXIT_CODES.failure;
  if (error instanceof UsageError || error instanceof FilesError || error instanceof OptionError)
    return EXIT_CODES.usage;
  if (error instanceof AnecdoteError && WRONG_NAMES.has(error.code)) return EXIT_CODES.usage;
  // The class of an error from a run's thread is lost, its code is not.
  if (error instanceof AnecdoteError && UNAVAILABLE.has(error.code)) {
    return EXIT_CODES.deviceUnavailable;
  }
  return EXIT_CODES.failure;
}

/** Prints an error for a person, or as one JSON object under `--json`. A bug keeps its stack. */
export function reportError(error: unknown, json: boolean): void {
  if (json) {
    const known = error instanceof AnecdoteError;
    const message = asTyped(error instanceof Error ? error.message : String(error));
    printJson({ kind: "error", code: known ? error.code : "internal", message });
    return;
  }
  const label = styled(process.stderr, "red", "error:");
  if (error instanceof AnecdoteError)
    process.stderr.write(`${label} ${printable(asTyped(error.message))}\n`);
  else {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    process.stderr.write(
      `${label} ${printable(text)}\n  This is a bug in Anecdote; please report it.\n`,
    );
  }
}
