import { roundTo } from "../mil/host-tensor.ts";
import { formatType, isFloat, staticShape } from "../mil/types.ts";
import type { DataType, TensorType } from "../mil/types.ts";
import { bfloat16Bits, bfloat16Value } from "../util/bfloat16.ts";
import { float16Bits, float16Value } from "../util/float16.ts";
import { viewClassFor } from "./engine.ts";
import type { BufferView } from "./engine.ts";
import { EngineError } from "./errors.ts";

/** Elements as an engine stores them: fp16 and bf16 as 16-bit patterns. A `FunctionResult` is one. */
export interface StoredElements {
  readonly stored: BufferView;
}

/**
 * What a function's input takes: numbers, whatever its type, row-major; or elements as they are stored. A plain
 * `Uint16Array` is refused for fp16 and bf16, because it may mean either.
 */
export type FunctionInput = ArrayLike<number> | StoredElements;

/** A result of one run: numbers whatever its type. */
export class FunctionResult implements StoredElements {
  /** With every size known, also where the function leaves it open. */
  readonly type: TensorType;
  /** Elements as the engine stores them, row-major: fp16 and bf16 as 16-bit patterns, bool as bytes. */
  readonly stored: BufferView;

  constructor(type: TensorType, stored: BufferView) {
    this.type = type;
    this.stored = stored;
  }

  /** Sizes, outermost first; empty for a scalar. */
  get shape(): readonly number[] {
    return staticShape(this.type);
  }

  get dataType(): DataType {
    return this.type.dataType;
  }

  /** The numbers, row-major; bools are 0 and 1, integers of 64 bits exact up to 2^53. */
  toArray(): number[] {
    return Array.from(this);
  }

  /** The numbers in memory of eight bytes each, for large results. */
  toFloat64Array(): Float64Array {
    return Float64Array.from(this);
  }

  /** The numbers in row-major order. */
  *[Symbol.iterator](): IterableIterator<number> {
    const valueOf = VALUES[this.type.dataType];
    if (valueOf === undefined) yield* this.stored;
    else for (const bits of this.stored) yield valueOf(bits);
  }
}

/** How to read elements that are stored as patterns. */
const VALUES: Readonly<Partial<Record<DataType, (bits: number) => number>>> = {
  fp16: float16Value,
  bf16: bfloat16Value,
};

const PATTERNS: Readonly<Partial<Record<DataType, (value: number) => number>>> = {
  fp16: float16Bits,
  bf16: (value) => bfloat16Bits(roundTo("bf16", value)),
};

/** What integers hold; those of 64 bits are doubles here. */
const RANGES: Readonly<Partial<Record<DataType, readonly [number, number]>>> = {
  bool: [0, 1],
  int8: [-128, 127],
  uint8: [0, 255],
  int16: [-32768, 32767],
  uint16: [0, 65535],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint32: [0, 2 ** 32 - 1],
  int64: [-(2 ** 53), 2 ** 53],
  uint64: [0, 2 ** 53],
};

/**
 * A function's input as an engine stores it. Floats are rounded to the type, nearest and ties to even; infinities and
 * NaN are numbers of it. Throws `EngineError` `engine.input.range` for a finite number beyond what the type holds
 * (fp16: from 65520 on) and for integers with a fraction, `engine.input.type` for types that no engine runs.
 */
export function storedInput(name: string, type: TensorType, input: FunctionInput): BufferView {
  const { dataType } = type;
  const ViewClass = viewClassFor(dataType);
  if ("stored" in input) {
    if (input.stored instanceof ViewClass) return input.stored;
    throw new EngineError(
      "engine.input.type",
      `input "${name}" is ${formatType(type)}, stored as ${ViewClass.name}, not as ${input.stored.constructor.name}`,
    );
  }
  const bitsOf = PATTERNS[dataType];
  if (bitsOf !== undefined && input instanceof Uint16Array) {
    throw new EngineError(
      "engine.input.type",
      `input "${name}" is ${formatType(type)}: a Uint16Array may hold numbers or bit patterns`,
      { remedy: "Give numbers as another array (Array.from(x)), patterns as { stored: x }." },
    );
  }
  const isReal = isFloat(dataType);
  const range = RANGES[dataType];
  if (!isReal && range === undefined) {
    throw new EngineError("engine.input.type", `input "${name}" is ${formatType(type)}`, {
      remedy: "Engines take fp16, bf16, fp32, fp64, bool and integers of 8 to 64 bits.",
    });
  }
  const stored = new ViewClass(input.length);
  for (let index = 0; index < input.length; index++) {
    const number = input[index] ?? Number.NaN;
    const fits = isReal ? holdsReal(dataType, number) : holdsInteger(range, number);
    if (!fits) {
      throw new EngineError(
        "engine.input.range",
        `input "${name}" is ${formatType(type)}, which does not hold its element ${index}, ${number}`,
        isReal ? { remedy: "Scale it, or give Infinity where that is meant." } : {},
      );
    }
    stored[index] = bitsOf === undefined ? number : bitsOf(number);
  }
  return stored;
}

function holdsReal(dataType: DataType, number: number): boolean {
  return !Number.isFinite(number) || Number.isFinite(roundTo(dataType, number));
}

function holdsInteger(range: readonly [number, number] | undefined, number: number): boolean {
  const [low, high] = range ?? [0, 0];
  return Number.isInteger(number) && number >= low && number <= high;
}
