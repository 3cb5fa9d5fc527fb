import type { ByteSource } from "../../util/byte-source.ts";
import { didYouMean } from "../../util/nearest.ts";
import { ModelError } from "../errors.ts";
import { GGML_TYPES } from "./ggml-types.ts";
import type { GgmlType } from "./ggml-types.ts";
import { withFileSource } from "../../util/byte-source.ts";

// The layout is that of the GGUF specification (ggml's docs/gguf.md), versions 2 and 3, little-endian.

export const GGUF_MAGIC = "GGUF";
export const DEFAULT_ALIGNMENT = 32;

interface ValueRow {
  readonly name: string;
  /** The fewest that one takes. */
  readonly byteLength: number;
  /** Of its bytes; a text and a list are no single value. */
  readonly read?: (bytes: Buffer, at?: number) => number | boolean | bigint;
}

/** Types of metadata values, by number. */
const VALUES = [
  { name: "uint8", byteLength: 1, read: (bytes, at) => bytes.readUInt8(at) },
  { name: "int8", byteLength: 1, read: (bytes, at) => bytes.readInt8(at) },
  { name: "uint16", byteLength: 2, read: (bytes, at) => bytes.readUInt16LE(at) },
  { name: "int16", byteLength: 2, read: (bytes, at) => bytes.readInt16LE(at) },
  { name: "uint32", byteLength: 4, read: (bytes, at) => bytes.readUInt32LE(at) },
  { name: "int32", byteLength: 4, read: (bytes, at) => bytes.readInt32LE(at) },
  { name: "float32", byteLength: 4, read: (bytes, at) => bytes.readFloatLE(at) },
  { name: "bool", byteLength: 1, read: (bytes, at) => bytes.readUInt8(at) !== 0 },
  { name: "string", byteLength: 8 },
  { name: "array", byteLength: 12 },
  { name: "uint64", byteLength: 8, read: (bytes, at) => bytes.readBigUInt64LE(at) },
  { name: "int64", byteLength: 8, read: (bytes, at) => bytes.readBigInt64LE(at) },
  { name: "float64", byteLength: 8, read: (bytes, at) => bytes.readDoubleLE(at) },
] as const satisfies readonly ValueRow[];
export const VALUE_TYPES = VALUES.map(({ name }) => name);
export type GgufValueType = (typeof VALUES)[number]["name"];

export type GgufValue =
  | number
  | boolean
  | string
  | bigint
  | readonly string[]
  | readonly number[]
  | readonly boolean[];

/** A tensor of a file; its shape as Hugging Face has it, the reverse of the file's own order. */
export interface GgufTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: GgmlType;
  /** Position of the first byte in the file. */
  readonly offset: number;
  readonly byteLength: number;
}

/** Metadata by key. A list is read when it is asked for, while the file is open: vocabularies are most of a header. */
export interface GgufValues {
  has(key: string): boolean;
  get(key: string): GgufValue | undefined;
  keys(): Iterable<string>;
}

/** The header of a GGUF file; the tensors stay in it. */
export interface GgufFile {
  readonly source: ByteSource;
  readonly version: number;
  readonly metadata: GgufValues;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

const LARGEST_KEY = 65_535;
const LARGEST_TENSOR_NAME = 1_024;
const WINDOW = 1 << 20;

function bytesOf(source: ByteSource, start: number, length: number): Buffer {
  const bytes = source.read(start, length);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Reads numbers one after the other, and never beyond the end. */
class Cursor {
  position = 0;
  readonly #source: ByteSource;
  #window: Buffer = Buffer.alloc(0);
  #windowStart = 0;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  get left(): number {
    return this.#source.byteLength - this.position;
  }

  fail(problem: string): never {
    throw new ModelError("model.gguf", `${this.#source.name}: ${problem}`, {
      remedy: "The file is damaged or was cut off. Fetch it again.",
    });
  }

  take(byteLength: number, what: string): Buffer {
    if (byteLength > this.left) {
      this.fail(
        `${what} claims ${byteLength} bytes at ${this.position}, the file has ${this.left} left`,
      );
    }
    const start = this.position - this.#windowStart;
    if (start < 0 || start + byteLength > this.#window.length) {
      const length = Math.min(this.left, Math.max(byteLength, WINDOW));
      this.#window = bytesOf(this.#source, this.position, length);
      this.#windowStart = this.position;
    }
    const from = this.position - this.#windowStart;
    this.position += byteLength;
    return this.#window.subarray(from, from + byteLength);
  }

  u32(what: string): number {
    return this.take(4, what).readUInt32LE();
  }

  /** A count or a length; what does not fit into a number cannot be true. */
  u64(what: string): number {
    const value = this.take(8, what).readBigUInt64LE();
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) this.fail(`${what} claims ${value}`);
    return Number(value);
  }

  string(what: string, limit = Infinity): string {
    const length = this.u64(`the length of ${what}`);
    if (length > limit) this.fail(`${what} claims ${length} bytes; ${limit} are possible`);
    return this.take(length, what).toString("utf8");
  }

  scalar({ byteLength, read }: ValueRow, what: string): number | boolean | string | bigint {
    return read === undefined ? this.string(what) : read(this.take(byteLength, what));
  }

  /** Goes past bytes that nobody has to see yet. */
  skip(byteLength: number, what: string): void {
    if (byteLength > this.left) this.take(byteLength, what);
    this.position += byteLength;
  }

  /** Goes past texts, each behind its length, which must end within the file. */
  skipTexts(count: number, what: string): void {
    for (let index = 0; index < count; index++) {
      const start = this.position - this.#windowStart;
      const isInWindow = start >= 0 && start + 8 <= this.#window.length;
      const length =
        isInWindow && this.#window.readUInt32LE(start + 4) === 0
          ? this.#window.readUInt32LE(start)
          : undefined;
      if (length === undefined || length > this.left - 8) {
        // At the end of a window, or a claim that cannot be true.
        this.skip(
          this.u64(`the length of member ${index} of ${what}`),
          `member ${index} of ${what}`,
        );
      } else this.position += 8 + length;
    }
  }
}

function valueType(cursor: Cursor, what: string): ValueRow {
  const number = cursor.u32(`the type of ${what}`);
  return VALUES[number] ?? cursor.fail(`${what} is of the unknown type ${number}`);
}

/** A value, or how to read it: the length of a list is checked, its members are left where they are. */
function readValue(cursor: Cursor, source: ByteSource, key: string): () => GgufValue {
  const what = `metadata "${key}"`;
  const type = valueType(cursor, what);
  if (type.name !== "array") {
    const value = cursor.scalar(type, what);
    return () => value;
  }
  const memberType = valueType(cursor, `members of ${what}`);
  const count = cursor.u64(`the number of members of ${what}`);
  if (count * memberType.byteLength > cursor.left)
    cursor.fail(`${what} claims ${count} members, the file has ${cursor.left} bytes left`);
  if (memberType.name === "array") cursor.fail(`${what} is an array of arrays, which is not read`);
  const start = cursor.position;
  if (memberType.read === undefined) cursor.skipTexts(count, what);
  else cursor.skip(count * memberType.byteLength, what);
  const byteLength = cursor.position - start;
  let list: GgufValue | undefined;
  return () => {
    list ??= listOf(bytesOf(source, start, byteLength), memberType, count);
    return list;
  };
}

/** The members of a list whose lengths are checked. */
function listOf(bytes: Buffer, { byteLength, read }: ValueRow, count: number): GgufValue {
  if (read === undefined) {
    const texts: string[] = [];
    for (let at = 0; texts.length < count;) {
      const end = at + 8 + bytes.readUInt32LE(at);
      texts.push(bytes.toString("utf8", at + 8, end));
      at = end;
    }
    return texts;
  }
  const members: (number | boolean)[] = [];
  for (let at = 0; at < count * byteLength; at += byteLength) {
    const member = read(bytes, at);
    // Wide members are counts and ids, which numbers hold.
    members.push(typeof member === "bigint" ? Number(member) : member);
  }
  return members as readonly number[] | readonly boolean[];
}

/** A tensor as the header has it: where the tensors begin is not known yet. */
interface Entry extends Omit<GgufTensor, "offset"> {
  readonly relativeOffset: number;
}

function readEntry(cursor: Cursor): Entry {
  const name = cursor.string("a tensor's name", LARGEST_TENSOR_NAME);
  const what = `tensor "${name}"`;
  const rank = cursor.u32(`the rank of ${what}`);
  if (rank > 4) cursor.fail(`${what} claims ${rank} axes; 4 are possible`);
  const axes = Array.from({ length: rank }, () => cursor.u64(`an axis of ${what}`));
  const number = cursor.u32(`the type of ${what}`);
  const type = GGML_TYPES.find((candidate) => candidate.number === number);
  if (type === undefined) return cursor.fail(`${what} is of the unknown type ${number}`);
  const relativeOffset = cursor.u64(`the offset of ${what}`);
  const elementCount = axes.reduce((count, axis) => count * axis, 1);
  const [rowLength = 1] = axes;
  if (!Number.isSafeInteger(elementCount))
    cursor.fail(`${what} claims axes ${axes.join(" x ")}, more than a file holds`);
  if (rowLength % type.blockSize !== 0) {
    cursor.fail(
      `rows of ${what} have ${rowLength} numbers, ${type.name} has them in blocks of ${type.blockSize}`,
    );
  }
  const byteLength = (elementCount / type.blockSize) * type.blockBytes;
  return { name, shape: axes.toReversed(), type, relativeOffset, byteLength };
}

/**
 * Reads and checks a header; the tensors stay in the file. Throws `ModelError` `model.gguf` for a file that is cut, of
 * another version, or lies about its sizes.
 */
export function readGguf(source: ByteSource): GgufFile {
  const cursor = new Cursor(source);
  if (cursor.take(Math.min(4, cursor.left), "the file's mark").toString("latin1") !== GGUF_MAGIC)
    cursor.fail("a GGUF file begins with GGUF");
  const version = cursor.u32("the version");
  if (version !== 2 && version !== 3) {
    cursor.fail(
      version === 1 || version > 65_535
        ? `GGUF version 1 and big-endian files are not read (version ${version})`
        : `GGUF version ${version} is not known; 2 and 3 are`,
    );
  }
  const tensorCount = cursor.u64("the number of tensors");
  const pairCount = cursor.u64("the number of metadata values");
  // A tensor's entry takes 24 bytes at least, a value 13.
  if (tensorCount * 24 + pairCount * 13 > cursor.left) {
    cursor.fail(
      `the header claims ${tensorCount} tensors and ${pairCount} metadata values, the file has ${cursor.left} bytes left`,
    );
  }
  const values = new Map<string, () => GgufValue>();
  const metadata: GgufValues = {
    has: (key) => values.has(key),
    get: (key) => values.get(key)?.(),
    keys: () => values.keys(),
  };
  for (let index = 0; index < pairCount; index++) {
    const key = cursor.string(`the name of metadata value ${index}`, LARGEST_KEY);
    if (values.has(key)) cursor.fail(`metadata "${key}" stands twice`);
    values.set(key, readValue(cursor, source, key));
  }
  const entries: Entry[] = [];
  for (let index = 0; index < tensorCount; index++) entries.push(readEntry(cursor));
  const alignment = metadata.get("general.alignment") ?? DEFAULT_ALIGNMENT;
  if (typeof alignment !== "number" || alignment < 1 || alignment % 8 !== 0)
    return cursor.fail(`general.alignment is ${String(alignment)}; a multiple of 8 is needed`);
  const dataStart = Math.ceil(cursor.position / alignment) * alignment;
  const tensors = placed(entries, dataStart, alignment, cursor, source);
  return { source, version, metadata, tensors };
}

/** Tensors with their places, which must lie in the file and apart from each other. */
function placed(
  entries: readonly Entry[],
  dataStart: number,
  alignment: number,
  cursor: Cursor,
  source: ByteSource,
): ReadonlyMap<string, GgufTensor> {
  const tensors = new Map<string, GgufTensor>();
  let position = 0;
  let before = "the header";
  for (const entry of entries.toSorted((a, b) => a.relativeOffset - b.relativeOffset)) {
    const { name, shape, type, relativeOffset, byteLength } = entry;
    if (tensors.has(name)) cursor.fail(`tensor "${name}" stands twice`);
    if (relativeOffset % alignment !== 0)
      cursor.fail(`tensor "${name}" begins at ${relativeOffset}, no multiple of ${alignment}`);
    if (relativeOffset < position)
      cursor.fail(`the bytes of tensor "${name}" overlap those of "${before}"`);
    position = relativeOffset + byteLength;
    before = name;
    if (dataStart + position > source.byteLength) {
      cursor.fail(
        `tensor "${name}" claims bytes ${dataStart + relativeOffset} to ${dataStart + position}, the file has ${source.byteLength}`,
      );
    }
    tensors.set(name, { name, shape, type, offset: dataStart + relativeOffset, byteLength });
  }
  return tensors;
}

/** Whether a path is a GGUF file, by its first bytes. */
export function isGgufSource(source: ByteSource): boolean {
  if (source.byteLength < 4) return false;
  return Buffer.from(source.read(0, 4)).toString("latin1") === GGUF_MAGIC;
}

/** Opens a GGUF file for `use`, and closes it. */
export function withGguf<Result>(path: string, use: (file: GgufFile) => Result): Result {
  return withFileSource(path, (source) => use(readGguf(source)));
}

/** Metadata by key, with what is wanted of it. */
export class GgufMetadata {
  readonly #file: GgufFile;

  constructor(file: GgufFile) {
    this.#file = file;
  }

  has(key: string): boolean {
    return this.#file.metadata.has(key);
  }

  /** A number; absent where the file has none. Throws `ModelError` for another kind of value. */
  number(key: string): number | undefined {
    const value = this.#file.metadata.get(key);
    if (value === undefined) return undefined;
    if (typeof value === "bigint") return Number(value);
    if (typeof value === "number") return value;
    return this.#wrong(key, "a number");
  }

  needed(key: string): number {
    const value = this.number(key);
    if (value !== undefined) return value;
    throw new ModelError(
      "model.gguf.metadata",
      `${this.#file.source.name} has no metadata "${key}".${didYouMean(key, this.#file.metadata.keys())}`,
    );
  }

  text(key: string): string | undefined {
    const value = this.#file.metadata.get(key);
    if (value === undefined || typeof value === "string") return value;
    return this.#wrong(key, "a text");
  }

  flag(key: string): boolean | undefined {
    const value = this.#file.metadata.get(key);
    if (value === undefined || typeof value === "boolean") return value;
    return this.#wrong(key, "true or false");
  }

  texts(key: string): readonly string[] | undefined {
    return this.#list(key, (member): member is string => typeof member === "string");
  }

  numbers(key: string): readonly number[] | undefined {
    return this.#list(key, (member): member is number => typeof member === "number");
  }

  #list<Member>(
    key: string,
    isMember: (member: unknown) => member is Member,
  ): readonly Member[] | undefined {
    const value = this.#file.metadata.get(key);
    if (value === undefined) return undefined;
    const members: readonly unknown[] = Array.isArray(value) ? value : [value];
    if (Array.isArray(value) && members.every(isMember)) return members;
    return this.#wrong(key, "a list of another kind");
  }

  #wrong(key: string, wanted: string): never {
    throw new ModelError(
      "model.gguf.metadata",
      `${this.#file.source.name}: metadata "${key}" is not ${wanted}`,
    );
  }
}
