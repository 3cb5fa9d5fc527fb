import { FunctionBuilder } from "../mil/builder.ts";
import { tensorLiteral } from "../mil/literal.ts";
import type { MilFunction, Value } from "../mil/program.ts";
import { elementCount, staticShape } from "../mil/types.ts";
import type { TensorType } from "../mil/types.ts";
import { bfloat16ToFloat32 } from "../util/bfloat16.ts";
import type { HostKernel, UnpackedWeight } from "./plan.ts";
import { isGrouped, storedTypes } from "./storage.ts";
import type { GroupedStorage, ScaleType, Storage } from "./storage.ts";

export interface WeightToUnpack {
  /** What its inputs and its output are named after. */
  readonly parameter: string;
  /** fp32 [..., C]. */
  readonly type: TensorType;
  readonly storage: Storage;
}

/** The names of a weight's inputs and output. */
export function unpackNames({ parameter, type, storage }: WeightToUnpack): UnpackedWeight {
  const { scales, biases } = storedTypes(parameter, staticShape(type), storage);
  return {
    storage,
    codes: `${parameter}_codes`,
    ...(scales && { scales: `${parameter}_scales` }),
    ...(biases && { biases: `${parameter}_biases` }),
    numbers: parameter,
  };
}

/** Stored weights to fp32: what a host kernel does before a dispatch that computes on them. */
export function unpackProgram(
  name: string,
  weights: readonly WeightToUnpack[],
): { readonly function: MilFunction; readonly kernel: HostKernel } {
  const f = new FunctionBuilder(name);
  const outputs: Record<string, Value> = {};
  for (const weight of weights) {
    const { parameter, type, storage } = weight;
    const shape = staticShape(type);
    const types = storedTypes(parameter, shape, storage);
    const names = unpackNames(weight);
    const codes = f.input(names.codes, types.codes);
    const numbers = isGrouped(storage)
      ? grouped(f, storage, {
          codes,
          shape,
          scales: given(f, names.scales, types.scales),
          biases: given(f, names.biases, types.biases),
        })
      : floats(f, codes, storage.kind);
    outputs[names.numbers] = numbers === codes ? f.op("identity", { x: codes }) : numbers;
  }
  return {
    function: f.finish(outputs),
    kernel: { kind: "unpack", weights: weights.map(unpackNames) },
  };
}

function given(
  f: FunctionBuilder,
  name: string | undefined,
  type: TensorType | undefined,
): Value | undefined {
  return name === undefined || type === undefined ? undefined : f.input(name, type);
}

/** fp32 of what a buffer of that type holds; bf16 comes as patterns, of which a table knows the numbers. */
function floats(f: FunctionBuilder, x: Value, kind: ScaleType): Value {
  switch (kind) {
    case "fp32":
      return x;
    case "fp16":
      return f.op("cast", { x, dtype: "fp32" });
    case "bf16":
      return bfloat16Numbers(f, x, bfloat16Table(f));
  }
}

/** The number of every bf16 pattern, fp32 [65536]. */
export function bfloat16Table(f: FunctionBuilder): Value {
  return f.constant(tensorLiteral("fp32", [BFLOAT16_COUNT], tableOfNumbers()), "bf16_numbers");
}

/** fp32 of bf16 patterns, uint16. */
export function bfloat16Numbers(f: FunctionBuilder, patterns: Value, table: Value): Value {
  return f.op("gather", {
    x: table,
    indices: f.op("cast", { x: patterns, dtype: "int32" }),
    axis: 0,
  });
}

const BFLOAT16_COUNT = 65536;

function tableOfNumbers(): Float32Array {
  const numbers = new Float32Array(BFLOAT16_COUNT);
  bfloat16ToFloat32(
    Uint16Array.from({ length: BFLOAT16_COUNT }, (_, bits) => bits),
    numbers,
  );
  return numbers;
}

interface Stored {
  readonly codes: Value;
  readonly shape: readonly number[];
  readonly scales: Value | undefined;
  readonly biases: Value | undefined;
}

function grouped(f: FunctionBuilder, storage: GroupedStorage, stored: Stored): Value {
  const { kind, groupSize, scaleType, zeroPoint } = storage;
  const { shape, scales, biases } = stored;
  const groupCount = elementCount(shape) / groupSize;
  const bytes = f.op("cast", { x: stored.codes, dtype: "fp32" });
  const inGroups = [groupCount, groupSize];
  const codes = f.op("reshape", { x: kind === "int4" ? halves(f, bytes) : bytes, shape: inGroups });
  const column = (x: Value): Value =>
    f.op("reshape", { x: floats(f, x, scaleType), shape: [groupCount, 1] });
  let numbers = f.op("sub", { x: codes, y: zeroPoint });
  if (scales !== undefined) numbers = f.op("mul", { x: numbers, y: column(scales) });
  if (biases !== undefined) numbers = f.op("add", { x: numbers, y: column(biases) });
  return f.op("reshape", { x: numbers, shape });
}

/** The low and the high half of every byte, one after the other. */
function halves(f: FunctionBuilder, bytes: Value): Value {
  const high = f.op("floor", { x: f.op("mul", { x: bytes, y: 1 / 16 }) });
  const low = f.op("sub", { x: bytes, y: f.op("mul", { x: high, y: 16 }) });
  return f.op("stack", { values: [low, high], axis: -1 });
}
