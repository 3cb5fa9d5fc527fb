import * as z from "zod";
import { writeFileAtomically } from "../util/atomic-file.ts";
import type { ByteSource } from "../util/byte-source.ts";
import { messageOf } from "../util/errors.ts";
import { didYouMean } from "../util/nearest.ts";
import { ModelError } from "./errors.ts";

/**
 * The safetensors format: u64 little-endian header length, a JSON header, then the tensors' bytes.
 * Bytes an element takes, by the names the header uses.
 */
export const SAFETENSORS_BYTES = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
} as const;
/** Element types of safetensors files. */
export type SafetensorsType = keyof typeof SAFETENSORS_BYTES;

/** The format's own limit on the header. */
const HEADER_BYTE_LIMIT = 100_000_000;
const HEADER_ALIGNMENT = 8;

/** A tensor of a safetensors file: type, shape, place in bytes. */
export interface SafetensorsEntry {
  readonly name: string;
  readonly dataType: SafetensorsType;
  readonly shape: readonly number[];
  /** Position of the first byte in the file. */
  readonly offset: number;
  readonly byteLength: number;
}

/** The header of a safetensors file. */
export interface SafetensorsFile {
  readonly source: ByteSource;
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  readonly metadata: Readonly<Record<string, string>>;
}

const entrySchema = z.strictObject({
  dtype: z.string(),
  shape: z.array(z.int().nonnegative()).max(32),
  data_offsets: z.tuple([z.int().nonnegative(), z.int().nonnegative()]),
});
const metadataSchema = z.record(z.string(), z.string());

function isSafetensorsType(name: string): name is SafetensorsType {
  return Object.hasOwn(SAFETENSORS_BYTES, name);
}

/**
 * Reads and checks a header; the tensors stay in the file.
 * Throws `ModelError` for a file that is cut, lies about its sizes, names a tensor twice or lets two overlap.
 */
export function openSafetensors(source: ByteSource): SafetensorsFile {
  const headerLength = readHeaderLength(source);
  const text = decodeText(source.read(8, headerLength), source.name);
  const json = parseHeader(text, source.name);
  const dataStart = 8 + headerLength;
  const dataLength = source.byteLength - dataStart;
  const entries = new Map<string, SafetensorsEntry>();
  let metadata: Readonly<Record<string, string>> = {};
  for (const [name, value] of Object.entries(json)) {
    if (name === "__metadata__") {
      const parsed = metadataSchema.safeParse(value);
      if (!parsed.success)
        throw new ModelError(
          "model.safetensors.header",
          `${source.name}: "__metadata__" must hold texts only`,
        );
      metadata = parsed.data;
    } else entries.set(name, readEntry(source.name, name, value, dataStart, dataLength));
  }
  checkLayout(source.name, entries, dataStart, dataLength);
  return Object.freeze({ source, entries, metadata });
}

function readHeaderLength(source: ByteSource): number {
  if (source.byteLength < 8)
    throw new ModelError(
      "model.safetensors.header",
      `${source.name} has ${source.byteLength} bytes; a safetensors file begins with 8 bytes of header length`,
    );
  const length = Buffer.from(source.read(0, 8)).readBigUInt64LE();
  if (length > BigInt(HEADER_BYTE_LIMIT) || length < 2n)
    throw new ModelError(
      "model.safetensors.header",
      `${source.name}: the header claims ${length} bytes; 2 to ${HEADER_BYTE_LIMIT} are possible`,
      { remedy: "This is not a safetensors file, or it is damaged. Fetch it again." },
    );
  if (8n + length > BigInt(source.byteLength))
    throw new ModelError(
      "model.safetensors.header",
      `${source.name}: the header claims ${length} bytes, the file has ${source.byteLength - 8} after its length`,
      { remedy: "The file is cut off. Fetch it again." },
    );
  return Number(length);
}

function decodeText(bytes: Uint8Array, where: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new ModelError("model.safetensors.header", `${where}: the header is not UTF-8 text`, {
      cause: error,
    });
  }
}

function parseHeader(text: string, where: string): Readonly<Record<string, unknown>> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new ModelError(
      "model.safetensors.header",
      `${where}: the header is not JSON: ${messageOf(error)}`,
      { cause: error },
    );
  }
  if (typeof json !== "object" || json === null || Array.isArray(json))
    throw new ModelError(
      "model.safetensors.header",
      `${where}: the header must be a JSON object of tensors`,
    );
  const repeated = repeatedKey(text);
  if (repeated !== undefined)
    throw new ModelError(
      "model.safetensors.duplicate",
      `${where}: the header names "${repeated}" twice`,
    );
  return json as Readonly<Record<string, unknown>>;
}

/** A key that stands twice in one object of valid JSON: JSON.parse keeps the last one silently. */
function repeatedKey(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = [];
  const token = /"(?:[^"\\]|\\.)*"|[{}[\]]/g;
  for (const match of text.matchAll(token)) {
    const [lexeme] = match;
    if (lexeme === "{") open.push(new Set());
    else if (lexeme === "[") open.push(undefined);
    else if (lexeme === "}" || lexeme === "]") open.pop();
    else if (
      /^\s*:/.test(text.slice(match.index + lexeme.length, match.index + lexeme.length + 64))
    ) {
      const keys = open.at(-1);
      const key: unknown = JSON.parse(lexeme);
      if (typeof key !== "string" || keys === undefined) continue;
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return undefined;
}

function readEntry(
  where: string,
  name: string,
  value: unknown,
  dataStart: number,
  dataLength: number,
): SafetensorsEntry {
  const what = `${where}: tensor "${name}"`;
  const parsed = entrySchema.safeParse(value);
  if (!parsed.success)
    throw new ModelError(
      "model.safetensors.header",
      `${what}: ${parsed.error.issues.map((issue) => `${issue.path.join(".")} ${issue.message}`).join("; ")}`,
    );
  const {
    dtype,
    shape,
    data_offsets: [begin, end],
  } = parsed.data;
  if (!isSafetensorsType(dtype))
    throw new ModelError(
      "model.safetensors.type",
      `${what} has the unknown element type "${dtype}".${didYouMean(dtype, Object.keys(SAFETENSORS_BYTES))}`,
    );
  if (begin > end || end > dataLength)
    throw new ModelError(
      "model.safetensors.offsets",
      `${what} claims bytes ${begin} to ${end} of ${dataLength}`,
      { remedy: "The file is cut off or its header lies. Fetch it again." },
    );
  const byteLength = shape.reduce((count, axis) => count * axis, SAFETENSORS_BYTES[dtype]);
  if (byteLength !== end - begin)
    throw new ModelError(
      "model.safetensors.offsets",
      `${what} of type ${dtype} and shape [${shape.join(", ")}] takes ${byteLength} bytes, its offsets leave ${end - begin}`,
    );
  return { name, dataType: dtype, shape, offset: dataStart + begin, byteLength };
}

/** Tensors must cover the data without gaps and overlaps, as the format demands. */
function checkLayout(
  where: string,
  entries: ReadonlyMap<string, SafetensorsEntry>,
  dataStart: number,
  dataLength: number,
): void {
  let position = dataStart;
  let before = "the header";
  const ordered = [...entries.values()].toSorted(
    (a, b) => a.offset - b.offset || a.byteLength - b.byteLength,
  );
  for (const entry of ordered) {
    if (entry.offset < position)
      throw new ModelError(
        "model.safetensors.overlap",
        `${where}: the bytes of "${entry.name}" overlap those of "${before}"`,
      );
    if (entry.offset > position)
      throw new ModelError(
        "model.safetensors.gap",
        `${where}: ${entry.offset - position} bytes between "${before}" and "${entry.name}" belong to no tensor`,
      );
    position = entry.offset + entry.byteLength;
    before = entry.name;
  }
  if (position !== dataStart + dataLength)
    throw new ModelError(
      "model.safetensors.gap",
      `${where}: ${dataStart + dataLength - position} bytes after the last tensor belong to none`,
    );
}

/** A tensor to be written; `chunks` yields its bytes piece by piece, in order. */
export interface SafetensorsOutput {
  readonly name: string;
  readonly dataType: SafetensorsType;
  readonly shape: readonly number[];
  /** Its bytes, piece by piece, in order. */
  readonly chunks: () => Iterable<Uint8Array>;
}

/** Header bytes, their length in front, padded so that the data begins aligned. */
function headerBytes(
  tensors: readonly SafetensorsOutput[],
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let position = 0;
  for (const { name, dataType, shape } of tensors) {
    if (Object.hasOwn(header, name))
      throw new ModelError("model.safetensors.duplicate", `tensor "${name}" is written twice`);
    const end = shape.reduce((count, axis) => count * axis, SAFETENSORS_BYTES[dataType]) + position;
    header[name] = { dtype: dataType, shape, data_offsets: [position, end] };
    position = end;
  }
  const text = Buffer.from(JSON.stringify(header));
  const padded = Math.ceil(text.byteLength / HEADER_ALIGNMENT) * HEADER_ALIGNMENT;
  const bytes = Buffer.alloc(8 + padded, " ");
  bytes.writeBigUInt64LE(BigInt(padded));
  text.copy(bytes, 8);
  return bytes;
}

/**
 * Writes a file atomically. Larger element types come first, so that every tensor is aligned to its own size.
 * Throws `ModelError` where a tensor's chunks do not add up to its shape, `FileError` where the disk refuses.
 */
export function writeSafetensors(
  path: string,
  tensors: readonly SafetensorsOutput[],
  metadata: Readonly<Record<string, string>> = { format: "pt" },
): void {
  const ordered = tensors.toSorted(
    (a, b) => SAFETENSORS_BYTES[b.dataType] - SAFETENSORS_BYTES[a.dataType],
  );
  writeFileAtomically(path, (write) => {
    write(headerBytes(ordered, metadata));
    for (const tensor of ordered) {
      const expected = tensor.shape.reduce(
        (count, axis) => count * axis,
        SAFETENSORS_BYTES[tensor.dataType],
      );
      let done = 0;
      for (const chunk of tensor.chunks()) {
        write(chunk);
        done += chunk.byteLength;
      }
      if (done !== expected)
        throw new ModelError(
          "model.safetensors.length",
          `tensor "${tensor.name}" of shape [${tensor.shape.join(", ")}] needs ${expected} bytes, ${done} were given`,
        );
    }
  });
}
