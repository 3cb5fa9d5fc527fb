import { Memory } from "../../util/webassembly.ts";
import type { WasmMemory } from "../../util/webassembly.ts";
import { EngineError } from "../errors.ts";

const PAGE_BYTES = 65536;
/** 4 GiB, what addresses of 32 bits reach. */
const MAXIMUM_PAGES = 65536;
/** Kernels may read so far beyond a block's end. */
const GUARD_BYTES = 128;
const ALIGNMENT = 64;

interface Gap {
  address: number;
  byteLength: number;
}

/**
 * The shared memory that kernels compute in, handed out in blocks. None stands at 0.
 * Addresses and lengths are in bytes.
 */
export class Arena {
  readonly memory: WasmMemory & { grow(pages: number): number };
  /** Free stretches in order of address, none touching the next. */
  #gaps: Gap[] = [];
  readonly #lengths = new Map<number, number>();
  readonly #kept = new Set<number>();
  #pages = 64;
  #floats: Float32Array;

  constructor() {
    const size = { initial: this.#pages, maximum: MAXIMUM_PAGES, shared: true } as const;
    this.memory = new Memory(size) as WasmMemory & { grow(pages: number): number };
    this.#floats = new Float32Array(this.memory.buffer);
    this.#gaps.push({ address: ALIGNMENT, byteLength: this.#pages * PAGE_BYTES - ALIGNMENT });
  }

  get shared(): SharedArrayBuffer {
    return this.memory.buffer;
  }

  /** A block with whatever stands in it. Throws `EngineError` beyond 4 GiB. */
  allocate(byteLength: number): number {
    const needed = Math.ceil((byteLength + GUARD_BYTES) / ALIGNMENT) * ALIGNMENT;
    let index = this.#gaps.findIndex((gap) => gap.byteLength >= needed);
    if (index < 0) {
      this.#grow(needed);
      index = this.#gaps.length - 1;
    }
    const gap = this.#gaps[index];
    if (gap === undefined) throw new RangeError("an arena that grew has a gap");
    const { address } = gap;
    gap.address += needed;
    gap.byteLength -= needed;
    if (gap.byteLength === 0) this.#gaps.splice(index, 1);
    this.#lengths.set(address, needed);
    return address;
  }

  /** A block that `reset` leaves alone. */
  keep(byteLength: number): number {
    const address = this.allocate(byteLength);
    this.#kept.add(address);
    return address;
  }

  release(address: number): void {
    const byteLength = this.#lengths.get(address);
    if (byteLength === undefined) return;
    this.#lengths.delete(address);
    this.#kept.delete(address);
    let index = this.#gaps.findIndex((gap) => gap.address > address);
    if (index < 0) index = this.#gaps.length;
    const before = this.#gaps[index - 1];
    const after = this.#gaps[index];
    const joinsBefore = before !== undefined && before.address + before.byteLength === address;
    const joinsAfter = after !== undefined && address + byteLength === after.address;
    if (joinsBefore) {
      before.byteLength += byteLength + (joinsAfter ? after.byteLength : 0);
      if (joinsAfter) this.#gaps.splice(index, 1);
    } else if (joinsAfter) {
      after.address = address;
      after.byteLength += byteLength;
    } else this.#gaps.splice(index, 0, { address, byteLength });
  }

  /** Releases every block that is not kept. */
  reset(): void {
    for (const address of [...this.#lengths.keys()]) {
      if (!this.#kept.has(address)) this.release(address);
    }
  }

  /** Bytes that are not free, the threads' part included. */
  get usedBytes(): number {
    let used = PAGE_BYTES;
    for (const byteLength of this.#lengths.values()) used += byteLength;
    return used;
  }

  floats(address: number, count: number): Float32Array {
    const start = address / 4;
    return this.#floats.subarray(start, start + count);
  }

  doubles(address: number, count: number): Float64Array {
    return new Float64Array(this.memory.buffer, address, count);
  }

  #grow(byteLength: number): void {
    const last = this.#gaps.at(-1);
    const end = this.#pages * PAGE_BYTES;
    const isOpen = last !== undefined && last.address + last.byteLength === end;
    const missing = byteLength - (isOpen ? last.byteLength : 0);
    // In steps of at least an eighth, so that growing stays rare.
    const pages = Math.max(Math.ceil(missing / PAGE_BYTES), this.#pages >> 3);
    const grown = Math.min(pages, MAXIMUM_PAGES - this.#pages);
    if (grown * PAGE_BYTES < missing) throw outOfMemory(byteLength, this.usedBytes);
    try {
      this.memory.grow(grown);
    } catch (error) {
      throw outOfMemory(byteLength, this.usedBytes, error);
    }
    this.#pages += grown;
    this.#floats = new Float32Array(this.memory.buffer);
    if (isOpen) last.byteLength += grown * PAGE_BYTES;
    else this.#gaps.push({ address: end, byteLength: grown * PAGE_BYTES });
  }
}

function outOfMemory(byteLength: number, usedBytes: number, cause?: unknown): EngineError {
  return new EngineError(
    "engine.sim.memory",
    `a value needs ${byteLength} bytes, ${usedBytes} are in use, the simulator's memory holds ${MAXIMUM_PAGES * PAGE_BYTES} or what the system gives`,
    { remedy: "Use a smaller batch or a shorter sequence.", cause },
  );
}
