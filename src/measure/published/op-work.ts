import { passTraffic } from "../../chip/cost/op-traffic.ts";
import type { OpWork, ProductKind } from "../../chip/cost/work.ts";

/** How constant weights are stored, and whether both operands are integers. */
export interface Storage {
  /** Bytes of a weight, those of zeros and of the mask that tells where they are counted in. */
  readonly weightBytes: number;
  readonly density: number;
  readonly isInt8: boolean;
}

const DENSE: Storage = { weightBytes: 2, density: 1, isInt8: false };

/** A product by its sizes in numbers. `fromMemory` is false where its weights are on the chip already. */
export function productWork({
  kind,
  flops,
  positions,
  weights,
  activations,
  storage = DENSE,
  fromMemory = true,
}: {
  readonly kind: ProductKind;
  readonly flops: number;
  readonly positions: number;
  readonly weights: number;
  readonly activations: number;
  readonly storage?: Storage;
  readonly fromMemory?: boolean;
}): OpWork {
  const { isInt8, density } = storage;
  const weightBytes = weights * storage.weightBytes;
  return {
    name: kind,
    op: kind === "matmul" ? "matmul" : "conv",
    productFlops: flops,
    productKind: kind,
    positions,
    weightBytes: fromMemory ? weightBytes : 0,
    sharedOperandBytes: weightBytes,
    int8: isInt8,
    ...(density < 1 && { density }),
    trafficBytes: activations * (isInt8 ? 1 : 2),
  };
}

/** A product of [rows, inner] by [inner, outer] numbers; the second are the weights. */
export function matrixWork(
  kind: ProductKind,
  [rows, inner, outer]: readonly [number, number, number],
  { storage = DENSE, fromMemory = true }: { storage?: Storage; fromMemory?: boolean } = {},
): OpWork {
  return productWork({
    ...{ kind, storage, fromMemory, positions: rows },
    flops: 2 * rows * inner * outer,
    weights: inner * outer,
    activations: rows * (inner + outer),
  });
}

/** What has no product and moves so many bytes. */
export function movingWork(op: string, trafficBytes: number): OpWork {
  return {
    name: op,
    op,
    productFlops: 0,
    positions: 1,
    weightBytes: 0,
    sharedOperandBytes: 0,
    int8: false,
    trafficBytes,
  };
}

/** An op that reads and writes so many fp16 numbers, once for each of its passes. */
export function passWork(op: string, read: number, written: number): OpWork {
  return movingWork(op, passTraffic(op, 2 * read, 2 * written));
}
