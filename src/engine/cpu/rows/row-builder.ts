import { alignUp } from "../../../plan/packing.ts";
import type {
  Address,
  InstructionWord,
  RowCode,
  RowConstant,
  RowInstruction,
  RowProgram,
} from "./instructions.ts";
import { countOf, dense } from "./strided.ts";
import type { Strided } from "./strided.ts";

/** Bytes of weights in a chunk of a product: long enough to be worth taking, short enough to share. */
const LONGEST_CHUNK_BYTES = 1 << 16;
const SHORTEST_CHUNK_BYTES = 1 << 14;
/** So many at least, where that makes none too short: threads of different speed then end at the same time. */
const CHUNKS_OF_PRODUCT = 16;

/** Where a result is to stand: in memory of the thread, in that of all, or in a buffer. */
export type Target = "own" | "shared" | Address;

/** Writes instructions in order and knows what each must wait for. No memory is used twice in a run. */
export class RowBuilder {
  readonly #instructions: RowInstruction[] = [];
  readonly #constants: RowConstant[] = [];
  readonly #lookups: string[] = [];
  #chunkCount = 0;
  /** Chunks that are known to be done here. */
  #awaited = 0;
  #sharedBytes = 0;
  #ownBytes = 0;
  #multiplyAdds = 0;

  shared(byteLength: number): Address {
    const byteOffset = this.#sharedBytes;
    this.#sharedBytes = alignUp(byteOffset + byteLength);
    return { space: "shared", byteOffset };
  }

  own(byteLength: number): Address {
    const byteOffset = this.#ownBytes;
    this.#ownBytes = alignUp(byteOffset + byteLength);
    return { space: "own", byteOffset };
  }

  constant(numbers: Float32Array): Address {
    const address = this.shared(numbers.byteLength);
    this.#constants.push({ byteOffset: address.byteOffset, numbers });
    return address;
  }

  /** The error of a lookup that goes outside its table, by the label of its dispatch. */
  lookup(label: string): number {
    return this.#lookups.push(label);
  }

  /** An instruction whose result is small: every thread computes its own, or one does where all see it. */
  small(
    code: RowCode,
    shape: readonly number[],
    reads: readonly Strided[],
    target: Target,
    words: (result: Address) => readonly InstructionWord[],
  ): Strided {
    this.#await(reads);
    const byteLength = 4 * countOf(shape);
    if (target === "own") {
      const address = this.own(byteLength);
      this.#instructions.push({ code, words: words(address) });
      return dense(address, shape, 0);
    }
    const address = target === "shared" ? this.shared(byteLength) : target;
    return dense(address, shape, this.#chunked(code, 1, words(address)));
  }

  /** An instruction that threads share, cut into chunks; all see its result. */
  large(
    code: RowCode,
    shape: readonly number[],
    reads: readonly Strided[],
    target: Target,
    chunkCount: number,
    words: (result: Address) => readonly InstructionWord[],
  ): Strided {
    this.#await(reads);
    const isPlaced = target !== "own" && target !== "shared";
    const address = isPlaced ? target : this.shared(4 * countOf(shape));
    return dense(address, shape, this.#chunked(code, chunkCount, words(address)));
  }

  /** Columns of a product in one chunk, a multiple of `step`; `rowBytes`: of the weights of a column. */
  static columnsOfChunk(rowBytes: number, columns: number, step: number): number {
    const share = Math.max(SHORTEST_CHUNK_BYTES, (rowBytes * columns) / CHUNKS_OF_PRODUCT);
    const byteLength = Math.min(LONGEST_CHUNK_BYTES, share);
    const wanted = Math.ceil(byteLength / rowBytes / step) * step;
    return Math.min(Math.max(step, wanted), columns);
  }

  countWork(multiplyAdds: number): void {
    this.#multiplyAdds += multiplyAdds;
  }

  finish(): RowProgram {
    if (this.#awaited < this.#chunkCount) this.#wait(this.#chunkCount);
    return {
      instructions: this.#instructions,
      chunkCount: this.#chunkCount,
      constants: this.#constants,
      sharedBytes: this.#sharedBytes,
      ownBytes: this.#ownBytes,
      multiplyAdds: this.#multiplyAdds,
      lookups: this.#lookups,
    };
  }

  #chunked(code: RowCode, count: number, words: readonly InstructionWord[]): number {
    const first = this.#chunkCount;
    const end = first + count;
    this.#instructions.push({ code, chunks: { first, end }, words });
    this.#chunkCount = end;
    return end;
  }

  /**
   * Threads count the chunks that are done, in whatever order: only once all that were given out are done is it known that
   * certain ones are. A later product's chunk would stand for one of these that its thread still works on.
   */
  #await(reads: readonly Strided[]): void {
    const needed = Math.max(0, ...reads.map(({ ready }) => ready));
    if (needed > this.#awaited) this.#wait(this.#chunkCount);
  }

  #wait(chunkCount: number): void {
    this.#instructions.push({ code: "wait", words: [chunkCount] });
    this.#awaited = chunkCount;
  }
}
