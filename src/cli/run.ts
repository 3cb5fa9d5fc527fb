import { printable } from "../util/printable.ts";
import { join } from "node:path";
import type { Command } from "commander";
import { createEngine, engineOptions } from "../engine/create.ts";
import type { FunctionResult } from "../engine/function-values.ts";
import { runFunction } from "../engine/run-function.ts";
import { formatType } from "../mil/types.ts";
import type { DataType } from "../mil/types.ts";
import { readNpyFile, writeNpyFile } from "../files/npy.ts";
import { npyTypeOf, stored } from "../files/arrays.ts";
import { Random } from "../util/random.ts";
import type { Exit } from "./exit.ts";
import { addDriverOption, namedDriver } from "./driver-option.ts";
import type { DriverFlags } from "./driver-option.ts";
import { UsageError } from "./errors.ts";
import { namedFile } from "./named-file.ts";
import { parseShapes } from "../files/open-program.ts";
import { append } from "./append.ts";
import { prepareRun } from "../files/prepare-run.ts";
import { printJson } from "./terminal.ts";
import type { ProgramFlags } from "./named-file.ts";

interface RunFlags extends DriverFlags, ProgramFlags {
  readonly input: readonly string[];
  readonly output?: string;
  readonly engine: string;
  readonly random?: string;
  readonly bindConstants?: boolean;
}

export function register(program: Command, _exit: Exit): void {
  const command = program
    .command("run")
    .argument("<file>", "MIL text, .mlpackage, .mlmodel, .mlmodelc or .onnx")
    .option("--input <name=file.npy>", "an input's array (may be given several times)", append, [])
    .option("--output <dir>", "folder for the results, one .npy each")
    .option("--random <seed>", "fill missing inputs: floats normal, integers and bools 0 or 1")
    .option("--engine <name>", "cpu, gpu, reference, sim:<chip>, ane, or auto", "cpu")
    .option("--function <name>", "which function, where the file has several")
    .option("--shape <name=2x3>", "sizes of an input that the file leaves open", append, [])
    .option("--dim <name=4>", "a size that an .onnx file leaves open, by its name", append, [])
    .option("--bind-constants", "inputs that MIL needs as constants (axes, sizes) take --input's")
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      "\nExample:\n  anecdote run model.mlpackage --input image=image.npy --output results",
    );
  addDriverOption(command).action(async (path: string, flags: RunFlags) => {
    await run(path, flags);
  });
}

async function run(path: string, flags: RunFlags): Promise<void> {
  const engineSettings = engineOptions({ driver: namedDriver(flags) });
  const given = new Map(flags.input.map(namedFile));
  const { shapes, dimensions } = parseShapes(flags.shape, flags.dim);
  const { fn, inputs, bound } = prepareRun({
    path,
    arrays: new Map([...given].map(([name, file]) => [name, readNpyFile(file)])),
    shapes,
    dimensions,
    functionName: flags.function,
    bindsConstants: flags.bindConstants,
    random: flags.random === undefined ? undefined : new Random(seedOf(flags.random)),
  });
  const engine = await createEngine(flags.engine, engineSettings);
  try {
    const started = performance.now();
    let fallback: string | undefined;
    const results = await runFunction(engine, fn, inputs, {
      onFallback: (reason) => {
        fallback = reason;
      },
    });
    const elapsedMs = performance.now() - started;
    const ran = fallback === undefined ? engine.description.name : "reference";
    const outputs = [...results].map(([name, result]) => report(name, result, flags.output));
    if (fallback !== undefined) {
      process.stderr.write(
        `note: run on the reference engine, ${engine.description.name} cannot: ${printable(fallback)}\n`,
      );
    }
    if (bound.length > 0) {
      process.stderr.write(`note: constants of this run: ${printable(bound.join(", "))}\n`);
    }
    if (flags.json === true) {
      const notes = {
        ...(bound.length > 0 && { bound }),
        ...(fallback !== undefined && { fallback }),
      };
      printJson({ function: fn.name, engine: ran, ...notes, elapsed_ms: elapsedMs, outputs });
      return;
    }
    for (const { name, type, file, minimum, maximum, mean } of outputs) {
      process.stdout.write(
        `${printable(name)}  ${type}  ${rounded(minimum)} … ${rounded(maximum)}, mean ${rounded(mean)}${file === undefined ? "" : `  -> ${file}`}\n`,
      );
    }
  } finally {
    await engine.close();
  }
}

function seedOf(text: string): number {
  const seed = Number(text);
  if (text.trim() === "" || !Number.isSafeInteger(seed) || seed < 0) {
    throw new UsageError("cli.run.seed", `--random takes a whole number from 0, not "${text}"`);
  }
  return seed;
}

interface OutputReport {
  readonly name: string;
  readonly type: string;
  readonly dtype: DataType;
  readonly shape: readonly number[];
  readonly minimum: number | null;
  readonly maximum: number | null;
  readonly mean: number | null;
  readonly file?: string;
}

function report(name: string, result: FunctionResult, folder: string | undefined): OutputReport {
  const { type, shape } = result;
  const numbers = result.toFloat64Array();
  let minimum = Infinity;
  let maximum = -Infinity;
  let sum = 0;
  for (const number of numbers) {
    minimum = Math.min(minimum, number);
    maximum = Math.max(maximum, number);
    sum += number;
  }
  const isEmpty = numbers.length === 0;
  const file = folder === undefined ? undefined : join(folder, `${fileName(name)}.npy`);
  if (file !== undefined) {
    const npyType = npyTypeOf(name, type.dataType);
    writeNpyFile(file, { type: npyType, shape, data: stored(result.stored, type.dataType) });
  }
  return {
    name,
    type: formatType(type),
    dtype: type.dataType,
    shape,
    minimum: isEmpty ? null : minimum,
    maximum: isEmpty ? null : maximum,
    mean: isEmpty ? null : sum / numbers.length,
    ...(file !== undefined && { file }),
  };
}

/** A value's name as one file name. */
function fileName(name: string): string {
  return name.replaceAll(/[^\w.@-]/g, "_").replace(/^\.+/, "_");
}

function rounded(value: number | null): string {
  return value === null ? "-" : String(Number(value.toPrecision(6)));
}
