import { create } from "@bufbuild/protobuf";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { allocateNumbers } from "../mil/literal.ts";
import type { LiteralData, NumericData } from "../mil/program.ts";
import type { DataType } from "../mil/types.ts";
import { decodeElements, encodeElements, isSubByte, packedByteLength } from "./element-bytes.ts";
import { CoreMlError } from "./errors.ts";
import { TensorValueSchema } from "./generated/mil_pb.ts";
import type { TensorValue } from "./generated/mil_pb.ts";

type Storage = NonNullable<TensorValue["value"]["case"]>;

/**
 * The member of a TensorValue in which the exporter stores each element type, read back by Apple's library
 * (facts: formats, section 6.1, "Conventions").
 */
const STORAGE: Readonly<Record<DataType, Storage>> = {
  bool: "bools",
  string: "strings",
  fp32: "floats",
  fp64: "doubles",
  int16: "ints",
  int32: "ints",
  uint16: "ints",
  int64: "longInts",
  uint64: "longInts",
  fp16: "bytes",
  bf16: "bytes",
  fp8e4m3fn: "bytes",
  fp8e5m2: "bytes",
  int4: "bytes",
  int8: "bytes",
  uint1: "bytes",
  uint2: "bytes",
  uint3: "bytes",
  uint4: "bytes",
  uint6: "bytes",
  uint8: "bytes",
  uint32: "bytes",
};

/**
 * The elements of a TensorValue, read from its bytes straight into a typed array. `count` is what the type says, or
 * nothing where the type leaves it open. Throws `CoreMlError` when the two disagree.
 */
export function readTensorValue(
  tensor: TensorValue,
  dataType: DataType,
  count: number | undefined,
): LiteralData {
  const { value } = tensor;
  if (value.case === undefined) {
    if (count !== 0 && count !== undefined) throw countError(dataType, count, 0);
    return dataType === "string"
      ? Object.freeze({ kind: "strings", strings: [] })
      : Object.freeze({ kind: "numbers", numbers: allocateNumbers(dataType, 0) });
  }
  if ((value.case === "strings") !== (dataType === "string")) {
    throw new CoreMlError(
      "coreml.tensor.storage",
      `a value of type ${dataType} is stored as ${value.case}`,
    );
  }
  if (value.case === "strings") {
    const strings = readStrings(value.value);
    checkCount(dataType, count, strings.length);
    return Object.freeze({ kind: "strings", strings: Object.freeze(strings) });
  }
  const numbers =
    value.case === "bytes"
      ? readByteElements(value.value, dataType, count)
      : readNumbers(value.value, value.case, dataType, count);
  checkCount(dataType, count, numbers.length);
  return Object.freeze({ kind: "numbers", numbers });
}

function checkCount(dataType: DataType, expected: number | undefined, found: number): void {
  if (expected !== undefined && expected !== found) throw countError(dataType, expected, found);
}

function countError(dataType: DataType, expected: number, found: number): CoreMlError {
  return new CoreMlError(
    "coreml.tensor.count",
    `a value of ${expected} ${dataType} elements holds ${found}`,
  );
}

function readStrings(bytes: Uint8Array): string[] {
  const strings: string[] = [];
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1 && wireType === WireType.LengthDelimited) strings.push(reader.string());
    else reader.skip(wireType, field);
  }
  return strings;
}

/** The `bytes` member: elements as they stand in memory, those below a byte packed or one a byte. */
function readByteElements(
  message: Uint8Array,
  dataType: DataType,
  count: number | undefined,
): NumericData {
  let bytes = new Uint8Array();
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1 && wireType === WireType.LengthDelimited)
      bytes = new Uint8Array(reader.bytes());
    else reader.skip(wireType, field);
  }
  if (isSubByte(dataType)) {
    const packed = count === undefined ? bytes.length : packedByteLength(dataType, count);
    if (count === undefined || (bytes.length === count && packed !== count)) {
      const numbers = allocateNumbers(dataType, bytes.length);
      for (let i = 0; i < bytes.length; i++) {
        numbers[i] = Number(decodeElements(dataType, bytes.subarray(i, i + 1), 1)[0]);
      }
      return numbers;
    }
    return decodeElements(dataType, bytes, count);
  }
  const width = packedByteLength(dataType, 1);
  const found = Math.floor(bytes.length / width);
  checkCount(dataType, count, found);
  return decodeElements(dataType, bytes, found);
}

type NumberStorage = Exclude<Storage, "strings" | "bytes">;

const FIXED_WIDTH: Readonly<Partial<Record<NumberStorage, number>>> = { floats: 4, doubles: 8 };

/** Repeated numbers, packed or one by one, as both may be written. */
function readNumbers(
  message: Uint8Array,
  storage: NumberStorage,
  dataType: DataType,
  count: number | undefined,
): NumericData {
  const width = FIXED_WIDTH[storage];
  // Each number takes a byte at least, or its fixed width: an honest bound before anything is allocated.
  const limit = Math.floor(message.length / (width ?? 1));
  let numbers = allocateNumbers(dataType, Math.min(count ?? limit, limit));
  let found = 0;
  const reader = new BinaryReader(message);
  const take = (): void => {
    if (found === numbers.length) {
      if (count !== undefined) throw countError(dataType, count, found + 1);
      throw new CoreMlError("coreml.tensor.length", "a value holds more numbers than bytes");
    }
    store(numbers, found++, reader, storage);
  };
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field !== 1) reader.skip(wireType, field);
    else if (wireType === WireType.LengthDelimited) {
      const end = reader.uint32() + reader.pos;
      if (end > reader.len) {
        throw new CoreMlError("coreml.tensor.length", "a value's numbers end beyond the value");
      }
      while (reader.pos < end) take();
    } else take();
  }
  if (found < numbers.length && count === undefined) numbers = numbers.slice(0, found);
  checkCount(dataType, numbers.length, found);
  return numbers;
}

function store(
  numbers: NumericData,
  index: number,
  reader: BinaryReader,
  storage: NumberStorage,
): void {
  if (numbers instanceof BigInt64Array || numbers instanceof BigUint64Array) {
    numbers[index] =
      storage === "longInts" ? BigInt(reader.int64()) : BigInt(Math.trunc(number(reader, storage)));
  } else numbers[index] = number(reader, storage);
}

function number(reader: BinaryReader, storage: NumberStorage): number {
  switch (storage) {
    case "floats":
      return reader.float();
    case "doubles":
      return reader.double();
    case "ints":
      return reader.int32();
    case "bools":
      return reader.bool() ? 1 : 0;
    case "longInts":
      return Number(reader.int64());
  }
}

/** A TensorValue with the elements stored as the exporter stores their type. */
export function writeTensorValue(
  dataType: DataType,
  data: Extract<LiteralData, { kind: "numbers" | "strings" }>,
): TensorValue {
  const storage = STORAGE[dataType];
  const writer = new BinaryWriter();
  if (data.kind === "strings") {
    for (const text of data.strings) writer.tag(1, WireType.LengthDelimited).string(text);
  } else if (storage === "bytes") {
    if (data.numbers.length > 0) {
      writer.tag(1, WireType.LengthDelimited).bytes(encodeElements(dataType, data.numbers));
    }
  } else if (data.numbers.length > 0) {
    const { numbers } = data;
    writer.tag(1, WireType.LengthDelimited).fork();
    for (let i = 0; i < numbers.length; i++) {
      const element = numbers[i] ?? 0;
      switch (storage) {
        case "floats":
          writer.float(Number(element));
          break;
        case "doubles":
          writer.double(Number(element));
          break;
        case "ints":
          writer.int32(Number(element));
          break;
        case "bools":
          writer.bool(Number(element) !== 0);
          break;
        case "longInts":
          writer.int64(BigInt.asIntN(64, BigInt(element)));
          break;
        case "strings":
          throw new CoreMlError("coreml.tensor.storage", "numbers are not stored as strings");
      }
    }
    writer.join();
  }
  return create(TensorValueSchema, { value: { case: storage, value: writer.finish() } });
}
