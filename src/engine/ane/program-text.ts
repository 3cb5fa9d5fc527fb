import { createHash } from "node:crypto";
import { isBlobDataType } from "../../coreml/blob-file.ts";
import { BlobBuilder } from "../../coreml/blob-builder.ts";
import { programOf } from "../../mil/builder.ts";
import { constantOperation, literalOf, mapInputs, namedValue } from "../../mil/program.ts";
import type { Literal, MilFunction, Operand, Operation, Value } from "../../mil/program.ts";
import { printProgram } from "../../mil/text/index.ts";
import type { DataType } from "../../mil/types.ts";
import type { EngineSource } from "./driver.ts";
import type { WeightFileWay } from "./weight-file-ways.ts";

/** Constants of so many elements go to the weight file; shorter ones read better in the text. */
const FILE_MINIMUM_ELEMENTS = 17;
/** Element types whose records in a weight file the engine is known to read. */
const FILE_TYPES: ReadonlySet<DataType> = new Set(["fp16", "int8"] as const);

/** What the text calls the folder that it stands in. */
const MODEL_PATH = "@model_path/";

/** A file of constants. */
export interface WeightFile {
  /** As the text names it: `@model_path/…`. */
  readonly path: string;
  /** Relative to the folder of the text. */
  readonly place: string;
  readonly bytes: Uint8Array;
}

/** The text and the weight files of a program as the runtime takes them. */
export interface ProgramFiles {
  readonly text: string;
  /** None where no constant is long enough. */
  readonly weightFiles: readonly WeightFile[];
  /** SHA-256 of all, hexadecimal. */
  readonly hash: string;
}

/**
 * A lowered function in canonical form: named `main`, ports numbered in the order of their binding (which is the
 * alphabetical order too), every constant an op of its own, names that MIL can spell. Programs that differ in
 * names only become equal, and share what is compiled for them.
 */
export function canonicalSource(label: string, fn: MilFunction): EngineSource {
  const renamed = new Map<Value, Value>();
  const operations: Operation[] = [];
  const constants = new Map<string, Value>();
  let counter = 0;
  const rename = (value: Value, name: string): Value => {
    const next = Object.freeze({ ...value, name });
    renamed.set(value, next);
    return next;
  };
  const constant = (literal: Literal): Value => {
    const key = shortKey(literal);
    const known = key === undefined ? undefined : constants.get(key);
    if (known !== undefined) return known;
    const value = namedValue(`c${counter++}`, literal.type, literal);
    operations.push(constantOperation(value, literal));
    if (key !== undefined) constants.set(key, value);
    return value;
  };
  const swap = (operand: Operand): Operand => {
    const known = operand.kind === "value" ? renamed.get(operand) : undefined;
    if (known !== undefined) return known;
    const literal = literalOf(operand);
    return literal === undefined ? operand : constant(literal);
  };
  const inputs = fn.inputs.map((input, index) => rename(input, portName("input", index)));
  const results = new Map(fn.outputs.map((output, index) => [output, portName("output", index)]));
  for (const operation of fn.operations) {
    if (operation.type === "const") continue;
    const outputs = operation.outputs.map((output) =>
      rename(output, results.get(output) ?? `v${counter++}`),
    );
    operations.push(
      Object.freeze({
        ...operation,
        inputs: mapInputs(operation, swap),
        outputs,
        attributes: new Map<string, Literal>(),
      }),
    );
  }
  const main: MilFunction = Object.freeze({
    name: "main",
    opset: fn.opset,
    attributes: new Map<string, Literal>(),
    inputs: Object.freeze(inputs),
    operations: Object.freeze(operations),
    outputs: Object.freeze(fn.outputs.map((output) => renamed.get(output) ?? output)),
  });
  return { label, main };
}

/** Numbered with leading zeros: the order of numbers is that of letters. */
export function portName(side: "input" | "output", index: number): string {
  return `${side}_${String(index).padStart(4, "0")}`;
}

/** Text and weight files of a source; `weightsPath` is how the text names the first file, `@model_path/….bin`. */
export function programFiles(
  { main }: EngineSource,
  weightsPath: string,
  way: WeightFileWay = "one",
): ProgramFiles {
  const builders: { readonly path: string; readonly blobs: BlobBuilder }[] = [];
  const fileFor = (): (typeof builders)[number] => {
    const last = builders.at(-1);
    if (last !== undefined && way === "one") return last;
    const count = builders.length;
    const path = count === 0 ? weightsPath : weightsPath.replace(/\.bin$/, `-${count}.bin`);
    const made = { path, blobs: new BlobBuilder() };
    builders.push(made);
    return made;
  };
  const operations = main.operations.map((operation) => moveToFile(operation, fileFor));
  const printed = printProgram(programOf({ ...main, operations }), { forRuntime: true });
  const weightFiles = builders.map(({ path, blobs }): WeightFile => {
    const chunks: Uint8Array[] = [];
    blobs.produce((bytes) => chunks.push(Uint8Array.from(bytes)));
    const bytes = Buffer.concat(chunks);
    return Object.freeze({ path, place: path.slice(MODEL_PATH.length), bytes });
  });
  const digest = createHash("sha256").update(printed).update("\0");
  for (const { bytes } of weightFiles) digest.update(bytes);
  const hash = digest.digest("hex");
  return { text: withOwnName(printed, hash), weightFiles, hash };
}

/** The first constant of a file. */
const STORED_CONSTANT = /\[name = string\("(?<name>[^"]+)"\)(?=, val = [^\n]*BLOBFILE\()/;

/**
 * A runtime may take a program whose text it holds for the one it holds, whatever the weights
 * (`in-memory.same-text`): the name of a stored constant tells programs of different weights apart.
 */
function withOwnName(text: string, hash: string): string {
  return text.replace(
    STORED_CONSTANT,
    (_, name: string) => `[name = string("${name}_${hash.slice(0, 16)}")`,
  );
}

function moveToFile(
  operation: Operation,
  fileFor: () => { readonly path: string; readonly blobs: BlobBuilder },
): Operation {
  const literal = operation.attributes.get("val");
  if (operation.type !== "const" || literal?.data.kind !== "numbers") return operation;
  const { type, data } = literal;
  if (
    type.kind !== "tensor" ||
    !FILE_TYPES.has(type.dataType) ||
    !isBlobDataType(type.dataType) ||
    data.numbers.length < FILE_MINIMUM_ELEMENTS
  )
    return operation;
  const { path, blobs } = fileFor();
  const offset = blobs.addNumbers(type.dataType, data.numbers);
  const reference: Literal = Object.freeze({
    kind: "literal",
    type,
    data: Object.freeze({ kind: "blob", path, offset }),
  });
  return Object.freeze({ ...operation, attributes: new Map([["val", reference]]) });
}

/** Equal for short constants that are the same; long ones are told apart by the weight file. */
function shortKey({ type, data }: Literal): string | undefined {
  if (data.kind === "strings") return `${JSON.stringify(type)} ${JSON.stringify(data.strings)}`;
  if (data.kind !== "numbers" || data.numbers.length > 64) return undefined;
  const numbers = Array.from(data.numbers as Iterable<number | bigint>, (number) =>
    Object.is(number, -0) ? "-0" : String(number),
  );
  return `${JSON.stringify(type)} ${numbers.join()}`;
}
