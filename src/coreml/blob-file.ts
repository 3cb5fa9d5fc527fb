import type { NumericData } from "../mil/program.ts";
import { DATA_TYPE_BITS } from "../mil/types.ts";
import type { DataType } from "../mil/types.ts";
import type { ByteSource } from "../util/byte-source.ts";
import { decodeElements, isSubByte } from "./element-bytes.ts";
import { CoreMlError } from "./errors.ts";

/** Element types by the number a weight file gives them (facts: formats, section 7). */
export const BLOB_TYPE_CODES = {
  fp16: 1,
  fp32: 2,
  uint8: 3,
  int8: 4,
  bf16: 5,
  int16: 6,
  uint16: 7,
  int4: 8,
  uint1: 9,
  uint2: 10,
  uint4: 11,
  uint3: 12,
  uint6: 13,
  int32: 14,
  uint32: 15,
  fp8e4m3fn: 16,
  fp8e5m2: 17,
} as const satisfies Partial<Record<DataType, number>>;

/** Element types that a weight file can hold. */
export type BlobDataType = keyof typeof BLOB_TYPE_CODES;

const CODE_TYPES: ReadonlyMap<number, BlobDataType> = new Map(
  Object.entries(BLOB_TYPE_CODES).map(([name, code]) => [code, name as BlobDataType]),
);

/** Whether weight files hold elements of a type. */
export function isBlobDataType(dataType: DataType): dataType is BlobDataType {
  return Object.hasOwn(BLOB_TYPE_CODES, dataType);
}

export const BLOB_ALIGNMENT = 64;
export const BLOB_SENTINEL = 0xdeadbeef;
export const BLOB_VERSION = 2;

/** One tensor's place in a weight file. */
export interface BlobRecord {
  readonly dataType: BlobDataType;
  /** Position of the record's metadata, which `BLOBFILE(offset = ...)` names. */
  readonly offset: number;
  readonly dataOffset: number;
  readonly byteLength: number;
  readonly elementCount: number;
}

/** Elements decoded at a time. */
const DECODE_CHUNK = 1 << 20;

/**
 * A weight file (MILBlob version 2) that is read by position: opening it reads 64 bytes, a record 64 more, and only
 * the tensors that are asked for are read. Throws `CoreMlError` for anything that is not such a file.
 */
export class BlobFile {
  readonly source: ByteSource;
  readonly blobCount: number;

  constructor(source: ByteSource) {
    this.source = source;
    if (source.byteLength < BLOB_ALIGNMENT) {
      throw this.#error(
        "header",
        `a weight file has 64 bytes or more, this one ${source.byteLength}`,
      );
    }
    const header = view(source.read(0, 8));
    this.blobCount = header.getUint32(0, true);
    const version = header.getUint32(4, true);
    if (version !== BLOB_VERSION) {
      throw this.#error(
        "version",
        `weight files of version ${BLOB_VERSION} are read, this one says ${version}`,
      );
    }
  }

  /** The record whose metadata stands at `offset`. */
  record(offset: number): BlobRecord {
    const { source } = this;
    if (
      !Number.isSafeInteger(offset) ||
      offset < BLOB_ALIGNMENT ||
      offset + BLOB_ALIGNMENT > source.byteLength
    ) {
      throw this.#error(
        "offset",
        `there is no blob at offset ${offset}: the file has ${source.byteLength} bytes`,
      );
    }
    const metadata = view(source.read(offset, BLOB_ALIGNMENT));
    if (metadata.getUint32(0, true) !== BLOB_SENTINEL) {
      throw this.#error("sentinel", `there is no blob at offset ${offset}: its mark is missing`);
    }
    const code = metadata.getUint32(4, true);
    const dataType = CODE_TYPES.get(code);
    if (dataType === undefined) {
      throw this.#error(
        "type",
        `the blob at offset ${offset} has the unknown element type ${code}`,
      );
    }
    const byteLength = metadata.getBigUint64(8, true);
    const dataOffset = metadata.getBigUint64(16, true);
    if (dataOffset + byteLength > BigInt(source.byteLength)) {
      throw this.#error(
        "range",
        `the blob at offset ${offset} claims bytes ${dataOffset} to ${dataOffset + byteLength}, the file has ${source.byteLength}`,
      );
    }
    const bitLength = Number(byteLength) * 8;
    // Older writers leave rubbish in this field; it has a meaning only where elements share bytes.
    const padding = isSubByte(dataType) ? metadata.getBigUint64(24, true) : 0n;
    const usedBits = bitLength - Number(padding);
    if (padding > 7n || usedBits < 0 || usedBits % DATA_TYPE_BITS[dataType] !== 0) {
      throw this.#error(
        "length",
        `the blob at offset ${offset} has ${byteLength} bytes with ${padding} unused bits, which are not whole ${dataType} elements`,
      );
    }
    return Object.freeze({
      dataType,
      offset,
      dataOffset: Number(dataOffset),
      byteLength: Number(byteLength),
      elementCount: usedBits / DATA_TYPE_BITS[dataType],
    });
  }

  /** Every record in the order of the file. */
  *records(): Generator<BlobRecord> {
    let offset = BLOB_ALIGNMENT;
    for (let index = 0; index < this.blobCount; index++) {
      const record = this.record(offset);
      yield record;
      const end = record.dataOffset + record.byteLength;
      const aligned = Math.ceil(end / BLOB_ALIGNMENT) * BLOB_ALIGNMENT;
      // Some writers put the next metadata right after the data.
      const next = this.#hasSentinel(aligned) || !this.#hasSentinel(end) ? aligned : end;
      if (next <= offset && index + 1 < this.blobCount) {
        throw this.#error(
          "order",
          `the blob at offset ${offset} points back to ${record.dataOffset}`,
        );
      }
      offset = next;
    }
  }

  /** A record's bytes as they stand in the file, or some of them. */
  readBytes(record: BlobRecord, from = 0, length = record.byteLength - from): Uint8Array {
    if (from < 0 || length < 0 || from + length > record.byteLength) {
      throw this.#error(
        "range",
        `bytes ${from} to ${from + length} of a blob of ${record.byteLength} were asked for`,
      );
    }
    return this.source.read(record.dataOffset + from, length);
  }

  /** A record's numbers in the array class of their type, fp16 and smaller floats as fp32. */
  readNumbers(record: BlobRecord): NumericData {
    const { dataType, elementCount } = record;
    const width = DATA_TYPE_BITS[dataType];
    if (elementCount <= DECODE_CHUNK) {
      return decodeElements(dataType, this.readBytes(record), elementCount);
    }
    const first = decodeElements(
      dataType,
      this.readBytes(record, 0, (DECODE_CHUNK * width) / 8),
      DECODE_CHUNK,
    );
    const numbers = new (first.constructor as new (length: number) => typeof first)(elementCount);
    const target = new Uint8Array(numbers.buffer);
    for (let done = 0; done < elementCount; done += DECODE_CHUNK) {
      const count = Math.min(DECODE_CHUNK, elementCount - done);
      const from = (done * width) / 8;
      const bytes = this.readBytes(record, from, Math.ceil((count * width) / 8));
      const part = decodeElements(dataType, bytes, count);
      target.set(new Uint8Array(part.buffer), done * numbers.BYTES_PER_ELEMENT);
    }
    return numbers;
  }

  /** Closes the file; reads throw after it. */
  close(): void {
    this.source.close();
  }

  #hasSentinel(offset: number): boolean {
    return (
      offset + 4 <= this.source.byteLength &&
      view(this.source.read(offset, 4)).getUint32(0, true) === BLOB_SENTINEL
    );
  }

  #error(code: string, problem: string): CoreMlError {
    return new CoreMlError(`coreml.blob.${code}`, `${this.source.name}: ${problem}`);
  }
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
