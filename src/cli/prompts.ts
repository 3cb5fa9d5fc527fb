import { existsSync, readFileSync } from "node:fs";
import { extname } from "node:path";
import { readSmallFile } from "../util/byte-source.ts";
import { UsageError } from "./errors.ts";

/** Prompts are read whole. */
const BYTE_LIMIT = 64 << 20;
const STANDARD_INPUT = "-";

interface PromptOptions {
  readonly prompt?: string | undefined;
  readonly prompt_file?: string | undefined;
  readonly prompts?: string | undefined;
}

/**
 * The prompts that options name: one text, a whole file, or a line each of a file; `-` is standard input. Throws
 * `UsageError` for several of them, and for a file that has none.
 */
export function readPrompts(options: PromptOptions): readonly string[] {
  const given = (["prompt", "prompt_file", "prompts"] as const).filter(
    (key) => options[key] !== undefined,
  );
  if (given.length > 1) {
    const names = given.map((key) => `--${key.replaceAll("_", "-")}`).join(" and ");
    throw new UsageError("cli.prompt", `${names} both say what to continue: give one of them`);
  }
  if (options.prompt === STANDARD_INPUT) return [withoutLastLineEnd(readText(STANDARD_INPUT))];
  if (options.prompt_file !== undefined) return [withoutLastLineEnd(readText(options.prompt_file))];
  if (options.prompts === undefined) return [options.prompt ?? ""];
  const lines = withoutLastLineEnd(readText(options.prompts)).split(/\r?\n/);
  const isRows = [".jsonl", ".ndjson"].includes(extname(options.prompts).toLowerCase());
  const prompts = isRows
    ? lines.flatMap((line, index) => (line.trim() === "" ? [] : [promptOfRow(line, index + 1)]))
    : lines.filter((line) => line !== "");
  if (prompts.length === 0) {
    throw new UsageError("cli.prompt", `${options.prompts} has no prompt in it`);
  }
  return prompts;
}

function promptOfRow(line: string, row: number): string {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === "string") return value;
    if (typeof value === "object" && value !== null && "prompt" in value) {
      if (typeof value.prompt === "string") return value.prompt;
    }
  } catch (error) {
    throw new UsageError("cli.prompt", `--prompts, row ${row}: not JSON`, { cause: error });
  }
  throw new UsageError("cli.prompt", `--prompts, row ${row}: it has no text "prompt"`);
}

function readText(path: string): string {
  if (path === STANDARD_INPUT) return readFileSync(0, "utf8");
  if (!existsSync(path)) throw new UsageError("cli.prompt", `there is no file ${path}`);
  return Buffer.from(readSmallFile(path, BYTE_LIMIT)).toString("utf8");
}

/** An editor ends a file with a line end that nobody means as part of a prompt. */
function withoutLastLineEnd(text: string): string {
  return text.replace(/\r?\n$/, "");
}
