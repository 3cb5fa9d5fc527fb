import type { ProductKind } from "./work.ts";

/** Memories that an op may wait for: weights from memory, or activations between the ops of a program. */
export type RoofMemory = "weights" | "activations";

/** Which rate of the engine bounds products: of what kind they are, and what makes them faster. */
export interface RoofKind {
  readonly product: ProductKind;
  readonly isInt8: boolean;
  /** On all engines of the package. */
  readonly isSplit: boolean;
}

/** What an op could reach at most: the rate of its products, and the memory that it waits for longest. */
export interface OpRoof {
  /** TFLOP/s; 0 where it multiplies nothing. */
  readonly tflops: number;
  readonly kind?: RoofKind;
  readonly memory: RoofMemory;
  /** GB/s of that memory, for this op. */
  readonly gbps: number;
  /** Bytes that come from it or go to it. */
  readonly bytes: number;
}

/**
 * The roof of ops together: their best rate, and the memory that they wait for longest with its bytes alone. Their
 * common FLOP/s lies under it: no op takes less time than its bytes of that memory.
 */
export function joinedRoof(roofs: readonly OpRoof[]): OpRoof | undefined {
  if (roofs.length === 0) return undefined;
  const best = roofs.reduce((a, b) => (b.tflops > a.tflops ? b : a));
  const [slowest] = (["weights", "activations"] as const)
    .map((memory) => {
      const own = roofs.filter((roof) => roof.memory === memory);
      const bytes = own.reduce((sum, roof) => sum + roof.bytes, 0);
      const gbps = own.reduce((best, roof) => Math.max(best, roof.gbps), 0);
      return { memory, bytes, gbps, waits: gbps === 0 ? 0 : bytes / gbps };
    })
    .toSorted((a, b) => b.waits - a.waits);
  if (slowest === undefined) return undefined;
  const { memory, bytes, gbps } = slowest;
  const { tflops, kind } = best;
  return { tflops, memory, gbps, bytes, ...(kind !== undefined && { kind }) };
}
