import { PACKAGE_TYPES } from "../model/compressed-weights.ts";
import { GGUF_TYPES } from "../model/gguf/gguf-model.ts";
import { ONNX_WEIGHT_TYPES } from "../onnx/stored-weights.ts";
import { exportGguf } from "../runs/export-gguf.ts";
import { exportOnnxFolder } from "../runs/export-onnx.ts";
import { exportPackage } from "../runs/export-package.ts";
import { resolveModelFolder } from "../runs/model-path.ts";
import { defined } from "../util/defined.ts";
import { formatBytes } from "../util/format.ts";
import { didYouMean } from "../util/nearest.ts";
import { printable } from "../util/printable.ts";
import { UsageError } from "./errors.ts";
import type { ProgramFlags } from "./named-file.ts";
import { wholeNumber } from "./options.ts";
import { answer, printNote } from "./terminal.ts";

/** Flags of `anecdote convert`. */
export interface ConvertFlags extends ProgramFlags {
  readonly opset?: string;
  readonly batchSize?: string;
  readonly maxSeqLength?: string;
  readonly bindConstants?: boolean;
  readonly input: readonly string[];
  readonly dtype?: string;
  readonly stateful?: boolean;
  readonly rows?: string;
  readonly to?: string;
  readonly overwrite?: boolean;
}

/** The most that a size may be. */
const LARGEST_SIZE = 1 << 20;

/** A size that a flag gives, where it gives one. Throws `UsageError`. */
export function sizeOf(flag: string, text: string | undefined): number | undefined {
  return text === undefined ? undefined : wholeNumber(flag, text, 1, LARGEST_SIZE);
}

/** What was written: a line of it, then its files and what a user should know. */
export function writtenText(
  line: string,
  {
    files = [],
    notes = [],
  }: {
    readonly files?: readonly { readonly path: string; readonly byteLength: number }[];
    readonly notes?: readonly string[];
  } = {},
): string {
  return [
    line,
    ...files.map(({ path, byteLength }) => `  ${path}: ${formatBytes(byteLength)}`),
    ...notes.map((note) => `  ${printable(note)}`),
  ]
    .map((text) => `${text}\n`)
    .join("");
}

/** Whether flags are given that say how a program is made, and which mean nothing to a model in another form. */
function hasProgramFlags({
  function: name,
  opset,
  shape,
  dim,
  batchSize,
  bindConstants,
  input,
}: ConvertFlags): boolean {
  return (
    [name, opset, batchSize, bindConstants].some((flag) => flag !== undefined) ||
    shape.length + dim.length + input.length > 0
  );
}

/** The type that `--dtype` names among those of a format. Throws `UsageError` with the nearest name. */
function weightTypeOf<Type extends string>(
  given: string,
  format: string,
  types: readonly Type[],
): Type {
  const type = types.find((candidate) => candidate === given.toLowerCase());
  if (type !== undefined) return type;
  throw new UsageError(
    "cli.convert.dtype",
    `--dtype ${given}: ${format} has ${types.join(", ")}.${didYouMean(given, types)}`,
  );
}

/** A model as a GGUF file. Throws `UsageError` for flags that are for programs. */
export function convertToGguf(from: string, to: string, flags: ConvertFlags): void {
  if (hasProgramFlags(flags) || flags.maxSeqLength !== undefined) {
    throw new UsageError(
      "cli.convert.gguf",
      "a .gguf file holds a model and no program: of convert's flags it takes --dtype and --overwrite",
    );
  }
  const type = weightTypeOf(flags.dtype ?? "f16", "a .gguf file", GGUF_TYPES);
  const { output, tensors, byteLength, notes } = exportGguf(
    resolveModelFolder(from, printNote),
    to,
    { type, overwrite: flags.overwrite === true },
  );
  answer(flags, { output, to: "gguf", dtype: type, tensors, bytes: byteLength, notes }, () =>
    writtenText(`${to}: ${tensors} tensors as ${type}, ${formatBytes(byteLength)}`, { notes }),
  );
}

/** A model as a Core ML package whose keys and values are states. Throws `UsageError` for flags that are for programs. */
export function convertToStateful(from: string, to: string, flags: ConvertFlags): void {
  if (!to.replace(/\/+$/, "").toLowerCase().endsWith(".mlpackage"))
    throw new UsageError("cli.convert.stateful", "--stateful is for .mlpackage");
  if (hasProgramFlags(flags)) {
    throw new UsageError(
      "cli.convert.stateful",
      "--stateful goes with --dtype, --rows, --max-seq-length and --overwrite",
    );
  }
  const type = weightTypeOf(flags.dtype ?? "float16", "a stateful .mlpackage", PACKAGE_TYPES);
  const cacheLength = sizeOf("--max-seq-length", flags.maxSeqLength);
  const rowCount = sizeOf("--rows", flags.rows);
  const written = exportPackage(resolveModelFolder(from, printNote), to, {
    type,
    ...defined({ cacheLength, rowCount }),
    overwrite: flags.overwrite === true,
  });
  const { states, byteLength } = written;
  const report = {
    ...{ output: to, to: "mlpackage", dtype: type, cache_length: written.cacheLength },
    ...{ rows: written.rowCount, states, bytes: byteLength },
  };
  answer(flags, report, () =>
    writtenText(
      `${to}: ${type}, ${states} states of ${written.cacheLength} positions, ${formatBytes(byteLength)}`,
    ),
  );
}

/** A model as a folder that readers in JavaScript generate from. Throws `UsageError` for flags that are for programs. */
export function convertToFolder(from: string, to: string, flags: ConvertFlags): void {
  if (flags.to !== "onnx") {
    throw new UsageError(
      "cli.convert.to",
      `--to ${flags.to ?? ""}: only onnx is a folder; other formats are chosen by the ending of <out>`,
    );
  }
  const { maxSeqLength, rows, stateful } = flags;
  if (hasProgramFlags(flags) || [maxSeqLength, rows, stateful].some((flag) => flag !== undefined)) {
    throw new UsageError(
      "cli.convert.to",
      "--to onnx writes a model whose sizes are open: it goes with --dtype and --overwrite",
    );
  }
  if (/\.(?:onnx|mil|mlpackage|mlmodel|gguf)$/i.test(to)) {
    throw new UsageError("cli.convert.to", `--to onnx writes a folder, and "${to}" names a file`, {
      remedy: "Leave the ending out, or --to for a program of fixed sizes.",
    });
  }
  const type = weightTypeOf(flags.dtype ?? "fp32", "an onnx folder", ONNX_WEIGHT_TYPES);
  const { output, files, nodeCount, notes } = exportOnnxFolder(
    resolveModelFolder(from, printNote),
    to,
    { type, overwrite: flags.overwrite === true },
  );
  answer(flags, { output, to: "onnx", dtype: type, files, nodes: nodeCount, notes }, () =>
    writtenText(`${to}: a decoder of ${nodeCount} nodes, ${type}`, { files, notes }),
  );
}
