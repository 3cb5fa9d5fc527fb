import type { Command } from "commander";
import { parseShapes } from "../files/open-program.ts";
import { append } from "./append.ts";
import { OPSETS } from "../mil/program.ts";
import type { Opset } from "../mil/program.ts";
import { PACKAGE_TYPES } from "../model/compressed-weights.ts";
import { GGUF_TYPES } from "../model/gguf/gguf-model.ts";
import { exportPackage } from "../runs/export-package.ts";
import { exportOnnxFolder } from "../runs/export-onnx.ts";
import { ONNX_WEIGHT_TYPES } from "../onnx/stored-weights.ts";
import { exportGguf } from "../runs/export-gguf.ts";
import { convertFile } from "../runs/convert-file.ts";
import { resolveModelFolder } from "../runs/model-path.ts";
import { formatBytes } from "../util/format.ts";
import { didYouMean } from "../util/nearest.ts";
import { UsageError } from "./errors.ts";
import type { Exit } from "./exit.ts";
import { readNpyFile } from "../files/npy.ts";
import { bindableOf } from "../files/prepare-run.ts";
import type { ImportOptions } from "../onnx/import/import-model.ts";
import { namedFile } from "./named-file.ts";
import { wholeNumber } from "./options.ts";
import { printNote } from "./terminal.ts";
import { printable } from "../util/printable.ts";
import { defined } from "../util/defined.ts";
import type { ProgramFlags } from "./named-file.ts";

interface ConvertFlags extends ProgramFlags {
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

export function register(program: Command, _exit: Exit): void {
  program
    .command("convert")
    .argument("<in>", "a program in any format, a model folder or a run's")
    .argument("<out>", "where to write it; the ending says the format")
    .option("--function <name>", "which function becomes an .onnx file")
    .option("--opset <name>", `opset of a program made from .onnx: ${OPSETS.slice(2).join(", ")}`)
    .option("--shape <name=2x3>", "sizes of an input that the file leaves open", append, [])
    .option("--dim <name=4>", "a size that an .onnx file leaves open, by its name", append, [])
    .option("--batch-size <n>", "sequences of a model folder's program (default: 1)")
    .option(
      "--max-seq-length <n>",
      "tokens of its sequences (default: the model's context, at most 256)",
    )
    .option(
      "--bind-constants",
      "inputs of an .onnx file that MIL needs as constants take --input's",
    )
    .option("--input <name=file.npy>", "an array for --bind-constants", append, [])
    .option(
      "--stateful",
      "a model's .mlpackage goes on with a text: keys and values are states (iOS 18, macOS 15)",
    )
    .option(
      "--to <format>",
      "onnx: a folder that @huggingface/transformers for JavaScript generates from",
    )
    .option("--rows <n>", "tokens that a run of a stateful one takes (default: 1)")
    .option(
      "--dtype <type>",
      `how matrices stand in a .gguf file (${GGUF_TYPES.join(", ")}), a stateful .mlpackage (${PACKAGE_TYPES.join(", ")}) or an onnx folder (${ONNX_WEIGHT_TYPES.join(", ")})`,
    )
    .option("--overwrite", "replace an output that exists")
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      `
A model folder's program is its forward pass in fp32 with the weights in it: tokens int32 [B, S] to
logits [B, S, V].

With --to onnx it has keys and values as inputs and results, and open lengths; every ONNX runtime
takes it, and a folder may hold it in several types.

Large tensors of out.mil stand in out.weights.bin beside it.

Examples:
  anecdote convert model.onnx model.mlpackage --shape input=1x3x224x224
  anecdote convert model.mlpackage model.onnx
  anecdote convert runs/shakespeare model.mlpackage --max-seq-length 128
  anecdote convert runs/mine mine.gguf --dtype q8_0
  anecdote convert runs/mine mine.mlpackage --stateful --dtype palette4
  anecdote convert runs/mine web/mine --to onnx --dtype q8`,
    )
    .action((from: string, to: string, flags: ConvertFlags) => {
      convert(from, to, flags);
    });
}

/** Arrays that inputs may be bound to. Throws `UsageError` where the two flags do not go together. */
function boundInputs({ bindConstants, input }: ConvertFlags): Pick<ImportOptions, "bindable"> {
  if (bindConstants !== true) {
    if (input.length === 0) return {};
    throw new UsageError("cli.bind", "--input is for --bind-constants");
  }
  const arrays = input.map((text) => {
    const [name, file] = namedFile(text);
    return [name, readNpyFile(file)] as const;
  });
  return { bindable: bindableOf(new Map(arrays)) };
}

const LARGEST_SIZE = 1 << 20;

/** A model as a GGUF file. Throws `UsageError` for flags that are for programs. */
function convertToGguf(from: string, to: string, flags: ConvertFlags): void {
  const {
    function: name,
    opset,
    shape,
    dim,
    batchSize,
    maxSeqLength,
    bindConstants,
    input,
  } = flags;
  const isForPrograms =
    [name, opset, batchSize, maxSeqLength, bindConstants].some((flag) => flag !== undefined) ||
    shape.length + dim.length + input.length > 0;
  if (isForPrograms) {
    throw new UsageError(
      "cli.convert.gguf",
      "a .gguf file holds a model and no program: of convert's flags it takes --dtype and --overwrite",
    );
  }
  const given = flags.dtype ?? "f16";
  const type = GGUF_TYPES.find((candidate) => candidate === given.toLowerCase());
  if (type === undefined) {
    throw new UsageError(
      "cli.convert.dtype",
      `--dtype ${given}: a .gguf file has ${GGUF_TYPES.join(", ")}.${didYouMean(given, GGUF_TYPES)}`,
    );
  }
  const written = exportGguf(resolveModelFolder(from, printNote), to, {
    type,
    overwrite: flags.overwrite === true,
  });
  if (flags.json === true) {
    const { output, tensors, byteLength, notes } = written;
    process.stdout.write(
      `${JSON.stringify({ output, to: "gguf", dtype: type, tensors, bytes: byteLength, notes })}\n`,
    );
    return;
  }
  process.stdout.write(
    `${to}: ${written.tensors} tensors as ${type}, ${formatBytes(written.byteLength)}\n`,
  );
  for (const note of written.notes) process.stdout.write(`  ${note}\n`);
}

/** A model as a Core ML package whose keys and values are states. Throws `UsageError` for flags that are for programs. */
function convertToStateful(from: string, to: string, flags: ConvertFlags): void {
  if (!to.replace(/\/+$/, "").toLowerCase().endsWith(".mlpackage"))
    throw new UsageError("cli.convert.stateful", "--stateful is for .mlpackage");
  const { function: name, opset, shape, dim, batchSize, bindConstants, input } = flags;
  if (
    [name, opset, batchSize, bindConstants].some((flag) => flag !== undefined) ||
    shape.length + dim.length + input.length > 0
  ) {
    throw new UsageError(
      "cli.convert.stateful",
      "--stateful goes with --dtype, --rows, --max-seq-length and --overwrite",
    );
  }
  const given = flags.dtype ?? "float16";
  const type = PACKAGE_TYPES.find((candidate) => candidate === given.toLowerCase());
  if (type === undefined) {
    throw new UsageError(
      "cli.convert.dtype",
      `--dtype ${given}: a stateful .mlpackage has ${PACKAGE_TYPES.join(", ")}.${didYouMean(given, PACKAGE_TYPES)}`,
    );
  }
  const sizeOf = (flag: string, text: string | undefined): number | undefined =>
    text === undefined ? undefined : wholeNumber(flag, text, 1, LARGEST_SIZE);
  const cacheLength = sizeOf("--max-seq-length", flags.maxSeqLength);
  const rowCount = sizeOf("--rows", flags.rows);
  const written = exportPackage(resolveModelFolder(from, printNote), to, {
    type,
    ...defined({ cacheLength, rowCount }),
    overwrite: flags.overwrite === true,
  });
  if (flags.json === true) {
    const report = {
      ...{ output: to, to: "mlpackage", dtype: type, cache_length: written.cacheLength },
      ...{ rows: written.rowCount, states: written.states, bytes: written.byteLength },
    };
    process.stdout.write(`${JSON.stringify(report)}\n`);
    return;
  }
  process.stdout.write(
    `${to}: ${type}, ${written.states} states of ${written.cacheLength} positions, ${formatBytes(written.byteLength)}\n`,
  );
}

/** A model as a folder that readers in JavaScript generate from. Throws `UsageError` for flags that are for programs. */
function convertToFolder(from: string, to: string, flags: ConvertFlags): void {
  const {
    function: name,
    opset,
    shape,
    dim,
    batchSize,
    maxSeqLength,
    bindConstants,
    input,
  } = flags;
  if (flags.to !== "onnx") {
    throw new UsageError(
      "cli.convert.to",
      `--to ${flags.to ?? ""}: only onnx is a folder; other formats are chosen by the ending of <out>`,
    );
  }
  const isForPrograms =
    [name, opset, batchSize, maxSeqLength, bindConstants, flags.rows, flags.stateful].some(
      (flag) => flag !== undefined,
    ) || shape.length + dim.length + input.length > 0;
  if (isForPrograms) {
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
  const given = flags.dtype ?? "fp32";
  const type = ONNX_WEIGHT_TYPES.find((candidate) => candidate === given.toLowerCase());
  if (type === undefined) {
    throw new UsageError(
      "cli.convert.dtype",
      `--dtype ${given}: an onnx folder has ${ONNX_WEIGHT_TYPES.join(", ")}.${didYouMean(given, ONNX_WEIGHT_TYPES)}`,
    );
  }
  const written = exportOnnxFolder(resolveModelFolder(from, printNote), to, {
    type,
    overwrite: flags.overwrite === true,
  });
  if (flags.json === true) {
    const { output, files, nodeCount, notes } = written;
    process.stdout.write(
      `${JSON.stringify({ output, to: "onnx", dtype: type, files, nodes: nodeCount, notes })}\n`,
    );
    return;
  }
  process.stdout.write(`${to}: a decoder of ${written.nodeCount} nodes, ${type}\n`);
  for (const { path, byteLength } of written.files)
    process.stdout.write(`  ${path}: ${formatBytes(byteLength)}\n`);
  for (const note of written.notes) process.stdout.write(`  ${note}\n`);
}

function convert(from: string, to: string, flags: ConvertFlags): void {
  if (flags.to !== undefined) {
    convertToFolder(from, to, flags);
    return;
  }
  if (flags.stateful === true) {
    convertToStateful(from, to, flags);
    return;
  }
  if (flags.rows !== undefined)
    throw new UsageError("cli.convert.stateful", "--rows is for --stateful");
  if (to.toLowerCase().endsWith(".gguf")) {
    convertToGguf(from, to, flags);
    return;
  }
  if (flags.dtype !== undefined)
    throw new UsageError(
      "cli.convert.dtype",
      "--dtype is for a .gguf file, --stateful and --to onnx",
    );
  const size = (flag: string, text: string | undefined): number | undefined =>
    text === undefined ? undefined : wholeNumber(flag, text, 1, LARGEST_SIZE);
  const batchSize = size("--batch-size", flags.batchSize);
  const sequenceLength = size("--max-seq-length", flags.maxSeqLength);
  const { notes, files, functions, ops, ...report } = convertFile(from, to, {
    ...parseShapes(flags.shape, flags.dim),
    ...(flags.function !== undefined && { function: flags.function }),
    ...(flags.opset !== undefined && { opset: opsetOf(flags.opset) }),
    ...defined({ batchSize, sequenceLength }),
    ...boundInputs(flags),
    ...(flags.overwrite !== undefined && { overwrite: flags.overwrite }),
    modelFolderOf: (path) => resolveModelFolder(path, printNote),
  });
  if (flags.json === true) {
    process.stdout.write(`${JSON.stringify({ ...report, files, functions, ops, notes })}\n`);
    return;
  }
  process.stdout.write(
    `${to}: ${report.to} from ${report.from}, ${ops} ops in ${printable(functions.join(", "))}\n`,
  );
  for (const { path, byteLength } of files) {
    process.stdout.write(`  ${path}: ${formatBytes(byteLength)}\n`);
  }
  for (const note of notes) process.stdout.write(`  ${printable(note)}\n`);
}

function opsetOf(name: string): Opset {
  const found = OPSETS.find((opset) => opset === name);
  if (found !== undefined) return found;
  throw new UsageError(
    "cli.convert.opset",
    `there is no opset "${name}".${didYouMean(name, OPSETS)}`,
  );
}
