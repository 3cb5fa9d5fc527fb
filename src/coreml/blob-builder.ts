import { createHash } from "node:crypto";
import type { NumericData } from "../mil/program.ts";
import { DATA_TYPE_BITS } from "../mil/types.ts";
import { writeFileAtomically } from "../util/atomic-file.ts";
import type { WriteChunk } from "../util/atomic-file.ts";
import { BLOB_ALIGNMENT, BLOB_SENTINEL, BLOB_TYPE_CODES, BLOB_VERSION } from "./blob-file.ts";
import type { BlobDataType, BlobFile, BlobRecord } from "./blob-file.ts";
import { encodeElements, packedByteLength, paddingBits } from "./element-bytes.ts";

/** Bytes copied or numbers encoded at a time; a multiple of 8, so that packed elements end on a byte. */
const CHUNK = 1 << 20;

interface Entry {
  readonly dataType: BlobDataType;
  readonly offset: number;
  readonly byteLength: number;
  readonly padding: number;
  readonly produce: (write: WriteChunk) => void;
}

/**
 * Collects tensors for a weight file. Each gets its offset at once, so that a program can name it; the bytes are
 * made only when the file is written. Equal tensors are stored once.
 */
export class BlobBuilder {
  readonly #entries: Entry[] = [];
  readonly #offsets = new Map<string, number>();
  #end = BLOB_ALIGNMENT;

  get blobCount(): number {
    return this.#entries.length;
  }

  /** Adds numbers in the array class of their type and returns the offset that `BLOBFILE` names. */
  addNumbers(dataType: BlobDataType, numbers: NumericData): number {
    const produce = (write: WriteChunk): void => {
      for (let from = 0; from < numbers.length; from += CHUNK) {
        write(encodeElements(dataType, numbers.subarray(from, from + CHUNK)));
      }
    };
    const hash = createHash("sha256");
    produce((bytes) => hash.update(bytes));
    return this.#add(`${dataType} ${numbers.length} ${hash.digest("hex")}`, {
      dataType,
      byteLength: packedByteLength(dataType, numbers.length),
      padding: paddingBits(dataType, numbers.length),
      produce,
    });
  }

  /** Adds a tensor of another weight file, which must stay open until this one is written. */
  addRecord(file: BlobFile, record: BlobRecord): number {
    return this.#add(`${file.source.name} ${record.offset}`, {
      dataType: record.dataType,
      byteLength: record.byteLength,
      padding: record.byteLength * 8 - record.elementCount * DATA_TYPE_BITS[record.dataType],
      produce: (write) => {
        for (let from = 0; from < record.byteLength; from += CHUNK) {
          write(file.readBytes(record, from, Math.min(CHUNK, record.byteLength - from)));
        }
      },
    });
  }

  /** Writes the file aside and renames it. Returns the SHA-256 of its bytes. Throws `FileError`. */
  write(path: string): string {
    const hash = createHash("sha256");
    writeFileAtomically(path, (write) => {
      this.produce((bytes) => {
        hash.update(bytes);
        write(bytes);
      });
    });
    return hash.digest("hex");
  }

  /** The bytes of the file, piece by piece. */
  produce(write: WriteChunk): void {
    const header = new DataView(new ArrayBuffer(BLOB_ALIGNMENT));
    header.setUint32(0, this.#entries.length, true);
    header.setUint32(4, BLOB_VERSION, true);
    write(new Uint8Array(header.buffer));
    let position = BLOB_ALIGNMENT;
    for (const entry of this.#entries) {
      if (entry.offset > position) write(new Uint8Array(entry.offset - position));
      const metadata = new DataView(new ArrayBuffer(BLOB_ALIGNMENT));
      metadata.setUint32(0, BLOB_SENTINEL, true);
      metadata.setUint32(4, BLOB_TYPE_CODES[entry.dataType], true);
      metadata.setBigUint64(8, BigInt(entry.byteLength), true);
      metadata.setBigUint64(16, BigInt(entry.offset + BLOB_ALIGNMENT), true);
      metadata.setBigUint64(24, BigInt(entry.padding), true);
      write(new Uint8Array(metadata.buffer));
      entry.produce(write);
      position = entry.offset + BLOB_ALIGNMENT + entry.byteLength;
    }
  }

  #add(key: string, entry: Omit<Entry, "offset">): number {
    const known = this.#offsets.get(key);
    if (known !== undefined) return known;
    const offset = Math.ceil(this.#end / BLOB_ALIGNMENT) * BLOB_ALIGNMENT;
    this.#entries.push({ ...entry, offset });
    this.#offsets.set(key, offset);
    this.#end = offset + BLOB_ALIGNMENT + entry.byteLength;
    return offset;
  }
}
