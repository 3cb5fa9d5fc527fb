import { elementCount, formatType, isFloat, staticShape } from "../mil/types.ts";
import type { DataType, TensorType } from "../mil/types.ts";
import type { TensorNumbers } from "../onnx/tensor-numbers.ts";
import { float16Value } from "../util/float16.ts";
import type { Random } from "../util/random.ts";
import { FilesError } from "./errors.ts";
import type { NpyArray, NpyData, NpyType } from "./npy.ts";

/** Arrays as engines give them: 64-bit integers come as doubles, memory may be shared. */
type EngineNumbers =
  | Float64Array
  | Float32Array
  | Uint32Array
  | Int32Array
  | Uint16Array
  | Int16Array
  | Uint8Array
  | Int8Array;

/** NumPy's type of the same elements. */
const NPY_TYPES: Readonly<Partial<Record<DataType, NpyType>>> = {
  fp16: "f2",
  fp32: "f4",
  fp64: "f8",
  int8: "i1",
  int16: "i2",
  int32: "i4",
  int64: "i8",
  uint8: "u1",
  uint16: "u2",
  uint32: "u4",
  uint64: "u8",
  bool: "b1",
};

export function npyTypeOf(name: string, dataType: DataType): NpyType {
  const type = NPY_TYPES[dataType];
  if (type === undefined) {
    throw new FilesError(
      "cli.run.type",
      `"${name}" is of ${dataType}, which .npy files cannot hold`,
    );
  }
  return type;
}

/** ONNX's codes of NumPy's element types. Source: onnx.proto, TensorProto.DataType. */
const ONNX_TYPES: Readonly<Record<NpyType, number>> = {
  f4: 1,
  u1: 2,
  i1: 3,
  u2: 4,
  i2: 5,
  i4: 6,
  i8: 7,
  b1: 9,
  f2: 10,
  f8: 11,
  u4: 12,
  u8: 13,
};

/** An array as a tensor of an ONNX model. */
export function tensorOfArray(name: string, { type, shape, data }: NpyArray): TensorNumbers {
  const numbers =
    data instanceof Uint16Array && type === "f2"
      ? Float32Array.from(data, (bits) => float16Value(bits))
      : data;
  return { name, elementType: ONNX_TYPES[type], shape, numbers };
}

/** An array's numbers as a function takes them: floats to floats, integers to integers that hold them. */
export function converted(name: string, array: NpyArray, type: TensorType): ArrayLike<number> {
  const shape = staticShape(type);
  if (array.shape.join() !== shape.join()) {
    throw new FilesError(
      "cli.run.shape",
      `input "${name}" is ${formatType(type)}, the array has the shape [${array.shape.join(", ")}]`,
    );
  }
  const wanted = npyTypeOf(name, type.dataType);
  const numbers = new Float64Array(array.data.length);
  for (let i = 0; i < numbers.length; i++) {
    const number = Number(array.data[i] ?? 0);
    numbers[i] = array.type === "f2" ? float16Value(number) : number;
  }
  const isFloatArray = array.type.startsWith("f");
  if (isFloatArray && !isFloat(type.dataType)) {
    throw new FilesError(
      "cli.run.type",
      `input "${name}" is ${formatType(type)}, the array holds ${array.type}`,
      { remedy: `Convert it first, as in numpy.save(file, array.astype("${wanted}")).` },
    );
  }
  if (!isFloat(type.dataType)) checkRange(name, numbers, type);
  return numbers;
}

/** An array as Core ML would cast it for a port: whole floats to integers, one element in any number of axes. */
export function cast(array: NpyArray, type: TensorType): NpyArray {
  const shape = staticShape(type);
  const isOne = elementCount(shape) === 1 && array.data.length === 1;
  const { data } = array;
  const isWhole =
    (data instanceof Float32Array || data instanceof Float64Array) &&
    data.every((number) => Number.isInteger(number));
  const becomesInteger = !isFloat(type.dataType) && isWhole;
  return {
    type: becomesInteger ? "i4" : array.type,
    shape: isOne ? shape : array.shape,
    data: becomesInteger ? Int32Array.from(data) : data,
  };
}

const RANGES: Readonly<Partial<Record<DataType, readonly [number, number]>>> = {
  bool: [0, 1],
  int8: [-128, 127],
  uint8: [0, 255],
  int16: [-32768, 32767],
  uint16: [0, 65535],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint32: [0, 2 ** 32 - 1],
};

function checkRange(name: string, numbers: Float64Array, type: TensorType): void {
  const [low, high] = RANGES[type.dataType] ?? [-Infinity, Infinity];
  const outside = numbers.find((number) => number < low || number > high);
  if (outside !== undefined) {
    throw new FilesError(
      "cli.run.range",
      `input "${name}" is ${formatType(type)}, the array holds ${outside}`,
    );
  }
}

export function drawn(name: string, type: TensorType, random: Random): ArrayLike<number> {
  npyTypeOf(name, type.dataType);
  const count = elementCount(staticShape(type));
  if (isFloat(type.dataType)) return Float64Array.from({ length: count }, () => random.normal());
  return Float64Array.from({ length: count }, () => random.below(2));
}

/** Views hold 64-bit integers as doubles. */
export function stored(view: EngineNumbers, dataType: DataType): NpyData {
  if (dataType === "int64") return BigInt64Array.from(view, (number) => BigInt(number));
  if (dataType === "uint64") return BigUint64Array.from(view, (number) => BigInt(number));
  return view.slice();
}
