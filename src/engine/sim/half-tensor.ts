import type { HostTensor } from "../../mil/host-tensor.ts";
import type { DataType } from "../../mil/types.ts";
import type { Arena } from "./arena.ts";

/** A block of the arena that several tensors may stand for. */
interface Storage {
  readonly arena: Arena;
  readonly address: number;
  users: number;
}

/** Integers that a tensor's numbers stand for, and their scales: one, or one for each element of axis 0. */
export interface QuantizedNumbers {
  readonly integers: HalfTensor;
  readonly scales: Float64Array;
}

/**
 * A value on the engine: fp16 numbers as fp32 in the arena, row-major. To everyone else it is a host tensor whose
 * doubles are made when asked for.
 */
export class HalfTensor implements HostTensor {
  readonly dataType: DataType;
  readonly shape: readonly number[];
  readonly count: number;
  readonly #storage: Storage;
  #data: Float64Array | undefined;
  /** Where the numbers come from int8 ones; released with the tensor, lost when it is shared. */
  quantized: QuantizedNumbers | undefined;

  private constructor(dataType: DataType, shape: readonly number[], storage: Storage) {
    this.dataType = dataType;
    this.shape = shape;
    this.count = shape.reduce((count, size) => count * size, 1);
    this.#storage = storage;
  }

  /** A tensor with whatever stands in its memory; `isKept` ones outlive the arena's reset. */
  static allocate(
    arena: Arena,
    dataType: DataType,
    shape: readonly number[],
    isKept = false,
  ): HalfTensor {
    const byteLength = 4 * shape.reduce((count, size) => count * size, 1);
    const address = isKept ? arena.keep(byteLength) : arena.allocate(byteLength);
    return new HalfTensor(dataType, shape, { arena, address, users: 1 });
  }

  get address(): number {
    return this.#storage.address;
  }

  /** A copy; changing it changes nothing here. */
  get data(): Float64Array {
    this.#data ??= Float64Array.from(this.numbers());
    return this.#data;
  }

  /** The numbers themselves, until the arena grows. */
  numbers(): Float32Array {
    return this.#storage.arena.floats(this.address, this.count);
  }

  /** The same numbers in another shape. */
  share(shape: readonly number[] = this.shape): HalfTensor {
    this.#storage.users++;
    return new HalfTensor(this.dataType, shape, this.#storage);
  }

  /** The numbers times a power of two, beyond fp16, for the host. */
  times(factor: number, arena: Arena): HalfTensor {
    const scaled = HalfTensor.allocate(arena, "fp32", this.shape);
    const numbers = scaled.numbers();
    const own = this.numbers();
    for (let i = 0; i < numbers.length; i++) numbers[i] = (own[i] ?? 0) * factor;
    return scaled;
  }

  /** One tensor less stands for these numbers; the last one frees their memory. */
  release(): void {
    this.quantized?.integers.release();
    this.quantized = undefined;
    if (--this.#storage.users === 0) this.#storage.arena.release(this.address);
  }
}
