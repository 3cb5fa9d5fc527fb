import { formatBytes } from "../util/format.ts";
import { printNote } from "./terminal.ts";
import { statSync } from "node:fs";
import { extname } from "node:path";
import type { Command } from "commander";
import {
  readFlexibleShapes,
  saveModelFile,
  savePackage,
  saveText,
  textWeightsPath,
} from "../coreml/index.ts";
import { OPSETS } from "../mil/program.ts";
import type { MilFunction, Opset, Program } from "../mil/program.ts";
import { withInputShapes } from "../mil/specialize.ts";
import { statesAsValues } from "../mil/states-as-values.ts";
import { verifyProgram } from "../mil/verify.ts";
import { ONNX_OPSET } from "../onnx/graph-writer.ts";
import { exportOnnx } from "../onnx/export-model.ts";
import { writeWholeFile } from "../util/atomic-file.ts";
import { didYouMean } from "../util/nearest.ts";
import type { Exit } from "./exit.ts";
import { UsageError } from "./errors.ts";
import { fileKindOf } from "../files/file-kind.ts";
import {
  append,
  defaultFunctionOf,
  functionOf,
  openProgram,
  parseShapes,
  requireSizes,
  resized,
  weightFilesIn,
  wholeProgram,
} from "../files/open-program.ts";
import type { OpenedProgram } from "../files/open-program.ts";
import { wholeNumber } from "./options.ts";
import { requireFreeOutputs } from "./output-file.ts";

interface ConvertFlags {
  readonly function?: string;
  readonly opset?: string;
  readonly shape: readonly string[];
  readonly dim: readonly string[];
  readonly batchSize?: string;
  readonly maxSeqLength?: string;
  readonly overwrite?: boolean;
  readonly json?: boolean;
}

const TARGETS = ["mil", "mlpackage", "mlmodel", "onnx"] as const;
type Target = (typeof TARGETS)[number];

export function register(program: Command, _exit: Exit): void {
  program
    .command("convert")
    .description("turn a model into another format: .mil, .mlpackage, .mlmodel or .onnx")
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
    .option("--overwrite", "replace an output that exists")
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      `
A model folder's program is its forward pass in fp32 with the weights in it: tokens int32 [B, S] to
logits [B, S, V].

Large tensors of out.mil stand in out.weights.bin beside it.

Examples:
  anecdote convert model.onnx model.mlpackage --shape input=1x3x224x224
  anecdote convert model.mlpackage model.onnx
  anecdote convert runs/shakespeare model.mlpackage --max-seq-length 128`,
    )
    .action((from: string, to: string, flags: ConvertFlags) => convert(from, to, flags));
}

async function convert(from: string, to: string, flags: ConvertFlags): Promise<void> {
  const target = targetOf(to);
  const sizes = parseShapes(flags.shape, flags.dim);
  const kind = fileKindOf(from);
  const isOnnx = kind === "onnx";
  if (kind !== "model" && (flags.batchSize ?? flags.maxSeqLength) !== undefined) {
    throw new UsageError(
      "cli.convert.sizes",
      "--batch-size and --max-seq-length are for model folders; other programs take --shape",
    );
  }
  const opset = opsetOf(flags.opset, isOnnx);
  const opened =
    kind === "model"
      ? await openModel(from, flags)
      : openProgram(from, isOnnx ? { ...sizes, ...(opset !== undefined && { opset }) } : {});
  try {
    const folders = requireFreeOutputs({
      paths: target === "mil" ? [to, textWeightsPath(to)] : [to],
      inputs: [from, ...weightFilesIn(opened)],
      overwrite: flags.overwrite === true,
    });
    const program = isOnnx ? opened.program : resized(opened.program, sizes);
    const { unknownOps } = verifyProgram(program);
    const notes =
      unknownOps.length === 0
        ? []
        : [`carried over unchecked: ${unknownOps.join(", ")} (not in the op table)`];
    notes.push(...folders.map((folder) => `made the folder ${folder}`));
    let paths: readonly string[] = [to];
    if (target === "onnx") {
      const whole =
        program === opened.program ? wholeProgram(opened) : resized(wholeProgram(opened), sizes);
      const open = functionOf(whole, flags.function, defaultFunctionOf(opened));
      const { fn, chosen } = atDefaultSizes(open);
      notes.push(...chosen, ...writeOnnx(to, fn, whole));
    } else paths = writeCoreMl(target, to, program, opened);
    const files = paths.map((path) => ({ path, byteLength: statSync(path).size }));
    const [ops, functions] = [countOps(program), program.functions.map(({ name }) => name)];
    if (flags.json === true) {
      process.stdout.write(
        `${JSON.stringify({ input: from, from: opened.format, output: to, to: target, files, functions, ops, notes })}\n`,
      );
      return;
    }
    process.stdout.write(
      `${to}: ${target} from ${opened.format}, ${ops} ops in ${functions.join(", ")}\n`,
    );
    for (const { path, byteLength } of files) {
      process.stdout.write(`  ${path}: ${formatBytes(byteLength)}\n`);
    }
    for (const note of notes) process.stdout.write(`  ${note}\n`);
  } finally {
    opened.close();
  }
}

const LARGEST_SIZE = 1 << 20;

async function openModel(path: string, flags: ConvertFlags): Promise<OpenedProgram> {
  const size = (flag: string, text: string | undefined): number | undefined =>
    text === undefined ? undefined : wholeNumber(flag, text, 1, LARGEST_SIZE);
  const { openModelFolder } = await import("../files/model-program.ts");
  const { resolveModelFolder } = await import("../runs/model-path.ts");
  return openModelFolder(
    { path, folder: resolveModelFolder(path, printNote) },
    {
      batchSize: size("--batch-size", flags.batchSize),
      sequenceLength: size("--max-seq-length", flags.maxSeqLength),
    },
  );
}

function targetOf(path: string): Target {
  const ending = extname(path.replace(/[/\\]+$/, ""))
    .slice(1)
    .toLowerCase();
  const found = TARGETS.find((name) => name === ending);
  if (found !== undefined) return found;
  throw new UsageError(
    "cli.convert.target",
    `"${path}" does not say a format that is written.${didYouMean(ending, TARGETS)}`,
    { remedy: `Endings: ${TARGETS.map((name) => `.${name}`).join(", ")}.` },
  );
}

function opsetOf(name: string | undefined, isOnnx: boolean): Opset | undefined {
  if (name === undefined) return undefined;
  if (!isOnnx) throw new UsageError("cli.convert.opset", "--opset is for programs made from .onnx");
  const found = OPSETS.find((opset) => opset === name);
  if (found === undefined) {
    throw new UsageError(
      "cli.convert.opset",
      `there is no opset "${name}".${didYouMean(name, OPSETS)}`,
    );
  }
  return found;
}

/** Sizes that a model leaves open take the defaults it names; an .onnx file here has fixed sizes. */
function atDefaultSizes(fn: MilFunction): {
  readonly fn: MilFunction;
  readonly chosen: readonly string[];
} {
  const shapes = new Map(
    [...readFlexibleShapes(fn)].map(([name, { defaultShape }]) => [name, defaultShape]),
  );
  const sized = withInputShapes(fn, shapes);
  const chosen = fn.inputs.flatMap(({ name, type }) => {
    const shape = shapes.get(name);
    return shape === undefined || type.kind !== "tensor" || !type.shape.includes("?")
      ? []
      : [`"${name}" has its default size ${shape.join("x")} (--shape chooses another)`];
  });
  return { fn: sized, chosen };
}

function writeOnnx(path: string, original: MilFunction, program: Program): string[] {
  requireSizes(original);
  const { fn, states } = statesAsValues(original);
  const { bytes, nodeCount, renamed } = exportOnnx(fn);
  writeWholeFile(path, bytes);
  const others = program.functions.length - 1;
  return [
    `${nodeCount} nodes of operator set ${ONNX_OPSET}${computesHalf(fn) ? "; fp16 values are computed in fp32" : ""}`,
    ...(others > 0 ? [`of the functions only "${fn.name}" was written (--function)`] : []),
    ...states.map(
      ({ input, output }) =>
        `state "${input}" is an input; its contents after the run are the output "${output}"`,
    ),
    ...[...renamed].map(([name, now]) => `"${name}" is called "${now}" in the file`),
  ];
}

function computesHalf(fn: MilFunction): boolean {
  return fn.operations.some(({ outputs }) =>
    outputs.some(({ type }) => type.kind === "tensor" && type.dataType === "fp16"),
  );
}

/** Returns the files that were written. */
function writeCoreMl(
  target: Exclude<Target, "onnx">,
  path: string,
  program: Program,
  { weights, model }: OpenedProgram,
): readonly string[] {
  switch (target) {
    case "mil":
      return saveText(path, program, { weights });
    case "mlpackage":
      return savePackage(path, program, { weights, original: model });
    case "mlmodel":
      saveModelFile(path, program, { weights, original: model });
      return [path];
  }
}

function countOps(program: Program): number {
  return program.functions.reduce(
    (sum, { operations }) => sum + operations.filter(({ type }) => type !== "const").length,
    0,
  );
}
