import { writeFileAtomically } from "../../util/atomic-file.ts";
import { ModelError } from "../errors.ts";
import type { GgmlType } from "./ggml-types.ts";
import { DEFAULT_ALIGNMENT, GGUF_MAGIC, VALUE_TYPES } from "./gguf-file.ts";
import type { GgufValueType } from "./gguf-file.ts";

/** A value of metadata, with the type under which it is written. */
export type GgufOutputValue =
  | { readonly type: "uint32" | "float32"; readonly value: number }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "strings"; readonly value: readonly string[] }
  | { readonly type: "int32s" | "float32s"; readonly value: readonly number[] };

/** A tensor to be written; its shape as Hugging Face has it. */
export interface GgufOutputTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: GgmlType;
  /** Numbers in pieces that are made of whole blocks, in order. */
  readonly numbers: () => Iterable<Float32Array>;
}

const VERSION = 3;

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}

function typeNumber(type: GgufValueType): Buffer {
  return u32(VALUE_TYPES.indexOf(type));
}

function valueBytes(output: GgufOutputValue): Buffer {
  switch (output.type) {
    case "uint32":
      return Buffer.concat([typeNumber("uint32"), u32(output.value)]);
    case "float32": {
      const bytes = Buffer.alloc(4);
      bytes.writeFloatLE(output.value);
      return Buffer.concat([typeNumber("float32"), bytes]);
    }
    case "bool":
      return Buffer.concat([typeNumber("bool"), Buffer.from([output.value ? 1 : 0])]);
    case "string":
      return Buffer.concat([typeNumber("string"), text(output.value)]);
    case "strings":
      return Buffer.concat([
        ...[typeNumber("array"), typeNumber("string"), u64(output.value.length)],
        ...output.value.map(text),
      ]);
    case "int32s":
    case "float32s": {
      const { value, type } = output;
      const bytes = Buffer.alloc(4 * value.length);
      value.forEach((number, index) =>
        type === "int32s"
          ? bytes.writeInt32LE(number, 4 * index)
          : bytes.writeFloatLE(number, 4 * index),
      );
      const member = type === "int32s" ? "int32" : "float32";
      return Buffer.concat([typeNumber("array"), typeNumber(member), u64(value.length), bytes]);
    }
  }
}

function aligned(position: number): number {
  return Math.ceil(position / DEFAULT_ALIGNMENT) * DEFAULT_ALIGNMENT;
}

function byteLengthOf({ shape, type }: GgufOutputTensor): number {
  const count = shape.reduce((product, axis) => product * axis, 1);
  return (count / type.blockSize) * type.blockBytes;
}

/**
 * Writes a file atomically, one piece of a tensor in memory. Throws `ModelError` where a tensor's numbers do not add up
 * to its shape or its type is not written, `FileError` where the disk refuses.
 */
export function writeGguf(
  path: string,
  metadata: readonly (readonly [key: string, value: GgufOutputValue])[],
  tensors: readonly GgufOutputTensor[],
): void {
  const head: Buffer[] = [
    Buffer.from(GGUF_MAGIC),
    ...[u32(VERSION), u64(tensors.length), u64(metadata.length)],
    ...metadata.flatMap(([key, value]) => [text(key), valueBytes(value)]),
  ];
  let offset = 0;
  for (const tensor of tensors) {
    const { name, shape, type } = tensor;
    head.push(text(name), u32(shape.length), ...shape.toReversed().map(u64), u32(type.number));
    head.push(u64(offset));
    offset = aligned(offset + byteLengthOf(tensor));
  }
  const header = Buffer.concat(head);
  writeFileAtomically(path, (write) => {
    write(header);
    write(Buffer.alloc(aligned(header.length) - header.length));
    for (const tensor of tensors) {
      const byteLength = byteLengthOf(tensor);
      let done = 0;
      for (const numbers of tensor.numbers()) {
        const bytes = tensor.type.encode?.(numbers);
        if (bytes === undefined)
          throw new ModelError("model.gguf", `numbers of type ${tensor.type.name} are not written`);
        write(bytes);
        done += bytes.byteLength;
      }
      if (done !== byteLength) {
        throw new ModelError(
          "model.gguf",
          `tensor "${tensor.name}" needs ${byteLength} bytes, ${done} were given`,
        );
      }
      write(Buffer.alloc(aligned(byteLength) - byteLength));
    }
  });
}
