import type { KernelPlace } from "../host/host-kernels.ts";
import type { KernelMemory } from "../host/kernel-job.ts";

interface Gap {
  readonly byteOffset: number;
  readonly byteLength: number;
}

/** A part of a memory that plans take stretches of, for as long as they are loaded. */
export class GuestRoom {
  readonly #memory: KernelMemory;
  /** By their offset; no two touch. */
  #gaps: readonly Gap[];
  /** Where the part ends that somebody has had. */
  #usedEnd: number;

  constructor(memory: KernelMemory, byteOffset: number, byteLength: number) {
    this.#memory = memory;
    this.#usedEnd = byteOffset;
    this.#gaps = [{ byteOffset, byteLength }];
  }

  /** Zeros, or nothing where no gap is large enough. `byteLength` is a multiple of the buffers' alignment. */
  take(byteLength: number): KernelPlace | undefined {
    const gap = this.#gaps.find((one) => one.byteLength >= byteLength);
    if (gap === undefined) return undefined;
    const { byteOffset } = gap;
    const rest = { byteOffset: byteOffset + byteLength, byteLength: gap.byteLength - byteLength };
    this.#gaps = this.#gaps.flatMap((one) => {
      if (one !== gap) return [one];
      return rest.byteLength > 0 ? [rest] : [];
    });
    // What nobody has had yet is zeros, and stays untouched: a large cache takes memory as it fills.
    const end = Math.min(this.#usedEnd, byteOffset + byteLength);
    if (end > byteOffset) new Uint8Array(this.#memory.shared, byteOffset, end - byteOffset).fill(0);
    this.#usedEnd = Math.max(this.#usedEnd, byteOffset + byteLength);
    return { memory: this.#memory, byteOffset };
  }

  giveBack(byteOffset: number, byteLength: number): void {
    const gaps = [...this.#gaps, { byteOffset, byteLength }].toSorted(
      (a, b) => a.byteOffset - b.byteOffset,
    );
    const joined: Gap[] = [];
    for (const gap of gaps) {
      const last = joined.at(-1);
      if (last !== undefined && last.byteOffset + last.byteLength === gap.byteOffset)
        joined[joined.length - 1] = {
          byteOffset: last.byteOffset,
          byteLength: last.byteLength + gap.byteLength,
        };
      else joined.push(gap);
    }
    this.#gaps = joined;
  }
}
