import type { Command } from "commander";
import { parseShapes } from "../files/open-program.ts";
import { append } from "./append.ts";
import { OPSETS } from "../mil/program.ts";
import type { Opset } from "../mil/program.ts";
import { convertFile } from "../runs/convert-file.ts";
import { resolveModelFolder } from "../runs/model-path.ts";
import { didYouMean } from "../util/nearest.ts";
import { PACKAGE_TYPES } from "../model/compressed-weights.ts";
import { GGUF_TYPES } from "../model/gguf/gguf-model.ts";
import { ONNX_WEIGHT_TYPES } from "../onnx/stored-weights.ts";
import {
  convertToFolder,
  convertToGguf,
  convertToStateful,
  sizeOf,
  writtenText,
} from "./convert-model.ts";
import type { ConvertFlags } from "./convert-model.ts";
import { UsageError } from "./errors.ts";
import type { Exit } from "./exit.ts";
import { readNpyFile } from "../files/npy.ts";
import { bindableOf } from "../files/prepare-run.ts";
import type { ImportOptions } from "../onnx/import/import-model.ts";
import { namedFile } from "./named-file.ts";
import { answer, printNote } from "./terminal.ts";
import { printable } from "../util/printable.ts";
import { defined } from "../util/defined.ts";

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
  const batchSize = sizeOf("--batch-size", flags.batchSize);
  const sequenceLength = sizeOf("--max-seq-length", flags.maxSeqLength);
  const { notes, files, functions, ops, ...report } = convertFile(from, to, {
    ...parseShapes(flags.shape, flags.dim),
    ...(flags.function !== undefined && { function: flags.function }),
    ...(flags.opset !== undefined && { opset: opsetOf(flags.opset) }),
    ...defined({ batchSize, sequenceLength }),
    ...boundInputs(flags),
    ...(flags.overwrite !== undefined && { overwrite: flags.overwrite }),
    modelFolderOf: (path) => resolveModelFolder(path, printNote),
  });
  answer(flags, { ...report, files, functions, ops, notes }, () =>
    writtenText(
      `${to}: ${report.to} from ${report.from}, ${ops} ops in ${printable(functions.join(", "))}`,
      { files, notes },
    ),
  );
}

function opsetOf(name: string): Opset {
  const found = OPSETS.find((opset) => opset === name);
  if (found !== undefined) return found;
  throw new UsageError(
    "cli.convert.opset",
    `there is no opset "${name}".${didYouMean(name, OPSETS)}`,
  );
}
