import { writeFileAtomically } from "../util/atomic-file.ts";
import type { ByteSource } from "../util/byte-source.ts";
import { AnecdoteError } from "../util/errors.ts";
import { withFileSource } from "../util/byte-source.ts";

/** A `.npy` file that cannot be read. */
export class NpyError extends AnecdoteError {}

/** Element types by NumPy's letters; f2 stands as 16-bit patterns, b1 as bytes 0 and 1. */
const ARRAY_CLASSES = {
  f2: Uint16Array,
  f4: Float32Array,
  f8: Float64Array,
  i1: Int8Array,
  i2: Int16Array,
  i4: Int32Array,
  i8: BigInt64Array,
  u1: Uint8Array,
  u2: Uint16Array,
  u4: Uint32Array,
  u8: BigUint64Array,
  b1: Uint8Array,
} as const;

/** NumPy's names of element types, without the byte order. */
export type NpyType = keyof typeof ARRAY_CLASSES;
/** The numbers of an array, in the array class of their type. */
export type NpyData = InstanceType<(typeof ARRAY_CLASSES)[NpyType]>;

/** A dense array in C order (the last axis runs fastest). */
export interface NpyArray {
  readonly type: NpyType;
  readonly shape: readonly number[];
  readonly data: NpyData;
}

const MAGIC = "\u0093NUMPY";
/** NumPy itself refuses to parse more than 10,000 bytes unless told otherwise. */
const HEADER_BYTE_LIMIT = 65_536;
const RANK_LIMIT = 64;
const HEADER_ALIGNMENT = 64;

function isNpyType(name: string): name is NpyType {
  return Object.hasOwn(ARRAY_CLASSES, name);
}

/** Whether bytes begin as every `.npy` file does. */
export function looksLikeNpy(source: ByteSource): boolean {
  return source.byteLength >= 8 && latin1(source.read(0, 6)) === MAGIC;
}

/** Reads a file. Throws `NpyError` for one that is damaged or of a kind that is not read, `FileError` without it. */
export function readNpyFile(path: string): NpyArray {
  return withFileSource(path, readNpy);
}

/**
 * Reads an array of format version 1 or 2: little-endian numbers and bools; Fortran order is turned into C order.
 * The header's claims are held against the file's size before anything is allocated.
 */
export function readNpy(source: ByteSource): NpyArray {
  const { type, shape, isFortran, dataOffset } = readHeader(source);
  const arrayClass = ARRAY_CLASSES[type];
  const count = countOf(shape);
  const data = new arrayClass(count);
  source.readInto(dataOffset, new Uint8Array(data.buffer));
  if (type === "b1" && data instanceof Uint8Array) {
    for (let i = 0; i < count; i++) data[i] = data[i] === 0 ? 0 : 1;
  }
  return { type, shape, data: isFortran ? toRowMajor(data, shape) : data };
}

interface Header {
  readonly type: NpyType;
  readonly shape: readonly number[];
  readonly isFortran: boolean;
  readonly dataOffset: number;
}

function readHeader(source: ByteSource): Header {
  const { name } = source;
  if (!looksLikeNpy(source)) {
    throw new NpyError(
      "npy.magic",
      `${name} is not a .npy file: it does not begin with \\x93NUMPY`,
      {
        remedy: "Write one with numpy.save(file, array).",
      },
    );
  }
  const [major = 0, minor = 0] = source.read(6, 2);
  if (major < 1 || major > 3) {
    throw new NpyError(
      "npy.version",
      `${name}: versions 1 to 3 are read, this file says ${major}.${minor}`,
    );
  }
  const lengthBytes = major === 1 ? 2 : 4;
  if (source.byteLength < 8 + lengthBytes) {
    throw new NpyError("npy.truncated", `${name} ends after ${source.byteLength} bytes`);
  }
  let headerLength = 0;
  for (const byte of source.read(8, lengthBytes).toReversed()) {
    headerLength = headerLength * 256 + byte;
  }
  const start = 8 + lengthBytes;
  if (headerLength > HEADER_BYTE_LIMIT || start + headerLength > source.byteLength) {
    throw new NpyError(
      "npy.header",
      `${name}: the header claims ${headerLength} bytes; the file has ${source.byteLength - start} after its length, and at most ${HEADER_BYTE_LIMIT} are read`,
    );
  }
  const bytes = source.read(start, headerLength);
  const text = major === 3 ? new TextDecoder().decode(bytes) : latin1(bytes);
  return checkHeader(source, text, start + headerLength);
}

function checkHeader(source: ByteSource, text: string, dataOffset: number): Header {
  const { name } = source;
  const type = elementType(name, field(name, text, "descr", /'([^']*)'|"([^"]*)"|\[/));
  const isFortran = field(name, text, "fortran_order", /True|False/) === "True";
  const shape = field(name, text, "shape", /\(([\d,\sL]*)\)/)
    .replaceAll(/[()L\s]/g, "")
    .split(",")
    .filter((size) => size !== "")
    .map(Number);
  if (shape.length > RANK_LIMIT || shape.some((size) => !Number.isSafeInteger(size))) {
    throw new NpyError(
      "npy.shape",
      `${name}: the shape ${shown(shape.join(", "))} is not possible`,
    );
  }
  const wanted = countOf(shape) * ARRAY_CLASSES[type].BYTES_PER_ELEMENT;
  const present = source.byteLength - dataOffset;
  if (wanted !== present) {
    throw new NpyError(
      "npy.length",
      `${name}: ${type}[${shape.join(", ")}] takes ${wanted} bytes, the file has ${present} after its header`,
      { remedy: "The file is cut off or holds something else. Write it again with numpy.save." },
    );
  }
  return { type, shape, isFortran, dataOffset };
}

/** The text of one entry of the header, which is a Python dictionary. */
function field(name: string, text: string, key: string, value: RegExp): string {
  const found = new RegExp(`['"]${key}['"]\\s*:\\s*(?:${value.source})`).exec(text);
  if (found === null) {
    throw new NpyError("npy.header", `${name}: the header has no "${key}": ${shown(text)}`);
  }
  return found[0].slice(found[0].indexOf(":") + 1).trim();
}

function elementType(name: string, quoted: string): NpyType {
  if (quoted.startsWith("[")) {
    throw new NpyError("npy.type", `${name} holds records; an array of plain numbers is needed`);
  }
  const description = quoted.slice(1, -1);
  const [, order = "", letters = ""] = /^([<>|=]?)(.*)$/.exec(description) ?? [];
  if (!isNpyType(letters)) {
    throw new NpyError(
      "npy.type",
      `${name} holds "${shown(description)}"; ${Object.keys(ARRAY_CLASSES).join(", ")} are read`,
      { remedy: 'Convert it first, as in numpy.save(file, array.astype("<f4")).' },
    );
  }
  if (order === ">" && ARRAY_CLASSES[letters].BYTES_PER_ELEMENT > 1) {
    throw new NpyError("npy.order", `${name} is big-endian (${shown(description)})`, {
      remedy: `Convert it first, as in numpy.save(file, array.astype("<${letters}")).`,
    });
  }
  return letters;
}

/** A file's bytes of an array. */
export function writeNpyFile(path: string, array: NpyArray): void {
  const { type, shape, data } = array;
  if (countOf(shape) !== data.length || !(data instanceof ARRAY_CLASSES[type])) {
    throw new NpyError(
      "npy.write",
      `${path}: ${type}[${shape.join(", ")}] takes ${countOf(shape)} numbers in a ${ARRAY_CLASSES[type].name}, ${data.length} in a ${data.constructor.name} were given`,
    );
  }
  const order = ARRAY_CLASSES[type].BYTES_PER_ELEMENT === 1 ? "|" : "<";
  const sizes = shape.length === 1 ? `${shape[0] ?? 0},` : shape.join(", ");
  const text = `{'descr': '${order}${type}', 'fortran_order': False, 'shape': (${sizes}), }`;
  const length =
    Math.ceil((MAGIC.length + 4 + text.length + 1) / HEADER_ALIGNMENT) * HEADER_ALIGNMENT -
    MAGIC.length -
    4;
  const header = Buffer.alloc(MAGIC.length + 4 + length, " ");
  header.write(MAGIC, 0, "latin1");
  header.set([1, 0, length & 0xff, length >>> 8], MAGIC.length);
  header.write(text, MAGIC.length + 4, "latin1");
  header[header.length - 1] = 0x0a;
  writeFileAtomically(path, (write) => {
    write(header);
    write(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  });
}

/** Elements of the first-axis-fastest order in the last-axis-fastest one. */
function toRowMajor(data: NpyData, shape: readonly number[]): NpyData {
  const target = data.slice();
  const strides: number[] = [];
  let stride = 1;
  for (const size of shape) {
    strides.push(stride);
    stride *= size;
  }
  const place = shape.map(() => 0);
  let from = 0;
  for (let to = 0; to < target.length; to++) {
    target[to] = data[from] ?? 0;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const next = (place[axis] ?? 0) + 1;
      from += strides[axis] ?? 0;
      if (next < (shape[axis] ?? 0)) {
        place[axis] = next;
        break;
      }
      from -= next * (strides[axis] ?? 0);
      place[axis] = 0;
    }
  }
  return target;
}

function countOf(shape: readonly number[]): number {
  return shape.reduce((count, size) => count * size, 1);
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}

function shown(text: string): string {
  return text.length > 80 ? `${text.slice(0, 79)}…` : text.trim();
}
