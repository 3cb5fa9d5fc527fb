import type { ByteSource } from "../util/byte-source.ts";
import { InspectError } from "./inspect-error.ts";

/** Little-endian reads inside one window of a file; every failure names the offset and the field. */
export class ByteView {
  readonly file: string;
  /** Where the window begins in the file, in bytes. */
  readonly start: number;
  readonly bytes: Uint8Array;
  readonly #data: DataView;

  constructor(file: string, start: number, bytes: Uint8Array) {
    this.file = file;
    this.start = start;
    this.bytes = bytes;
    this.#data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Offset of the first byte behind the window, in the file. */
  get end(): number {
    return this.start + this.bytes.byteLength;
  }

  fail(
    code: `inspect.${string}`,
    offset: number,
    field: string,
    problem: string,
    remedy?: string,
  ): InspectError {
    return new InspectError(
      code,
      { file: this.file, offset, field },
      problem,
      remedy === undefined ? {} : { remedy },
    );
  }

  #at(offset: number, length: number, field: string): number {
    if (offset < this.start || offset + length > this.end) {
      throw this.fail(
        "inspect.truncated",
        offset,
        field,
        `${length} bytes are needed, the data ends at 0x${this.end.toString(16)}`,
      );
    }
    return offset - this.start;
  }

  u8(offset: number, field: string): number {
    return this.#data.getUint8(this.#at(offset, 1, field));
  }

  u16(offset: number, field: string): number {
    return this.#data.getUint16(this.#at(offset, 2, field), true);
  }

  i32(offset: number, field: string): number {
    return this.#data.getInt32(this.#at(offset, 4, field), true);
  }

  u32(offset: number, field: string): number {
    return this.#data.getUint32(this.#at(offset, 4, field), true);
  }

  /** A 64-bit number; above 2^53 no offset or size can be meant, so that is an error. */
  u64(offset: number, field: string): number {
    const at = this.#at(offset, 8, field);
    const high = this.#data.getUint32(at + 4, true);
    if (high >= 0x200000) {
      throw this.fail(
        "inspect.range",
        offset,
        field,
        `0x${this.#data.getBigUint64(at, true).toString(16)} is larger than any file or address`,
      );
    }
    return high * 0x1_0000_0000 + this.#data.getUint32(at, true);
  }

  /** A fixed-width name, padded with zeros. */
  fixedText(offset: number, length: number, field: string): string {
    const at = this.#at(offset, length, field);
    return text(this.bytes.subarray(at, at + length));
  }

  /** A text that ends at a zero byte or at `limit`, whichever comes first. */
  text(offset: number, limit: number, field: string): string {
    const at = this.#at(offset, 0, field);
    const last = Math.min(limit, this.end) - this.start;
    return text(this.bytes.subarray(at, Math.max(at, last)));
  }
}

function text(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/**
 * A window of a file, read only after the range was checked against the file's size and `byteLimit`.
 * Throws `InspectError` naming `field`, which is the field that gave the range.
 */
export function viewOf(
  source: ByteSource,
  offset: number,
  length: number,
  place: { readonly at: number; readonly field: string; readonly byteLimit?: number },
): ByteView {
  const where = { file: source.name, offset: place.at, field: place.field };
  if (offset + length > source.byteLength) {
    throw new InspectError(
      "inspect.range",
      where,
      `${length} bytes at 0x${offset.toString(16)} are claimed, the file has ${source.byteLength}`,
      { remedy: "The file is cut short or its tables lie." },
    );
  }
  if (place.byteLimit !== undefined && length > place.byteLimit) {
    throw new InspectError(
      "inspect.limit",
      where,
      `${length} bytes; at most ${place.byteLimit} are read`,
    );
  }
  return new ByteView(source.name, offset, source.read(offset, length));
}

/** `0x…` with at least `digits` digits. */
/** All of a file. Throws `InspectError` where it is larger than the limit. */
export function wholeView(source: ByteSource, byteLimit: number): ByteView {
  return viewOf(source, 0, source.byteLength, { at: 0, field: "file size", byteLimit });
}

export function hex(value: number, digits = 1): string {
  return `0x${value.toString(16).padStart(digits, "0")}`;
}
