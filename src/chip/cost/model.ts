import { familyIndex } from "../chip.ts";
import type { Chip, Driver } from "../chip.ts";
import type { Figure } from "../figure.ts";
import type { ChipRates } from "../rates.ts";
import type { FunctionWork, OpWork } from "./work.ts";

/** What an op or a call spends its time on. */
export type Bound = "dispatch" | "compute" | "streaming" | "host";

/** The constants all chips share. With `ChipRates` they are the whole model. */
export interface SharedConstants {
  /** A product over P positions costs as much as one over P + this: filling the array. */
  readonly fillPositions: number;
  /** The part of `matmul`'s products that waits for its shared operand grows with its bytes, up to all at this size. */
  readonly missCapacityBytes: number;
  /** TFLOP/s at which the waiting part is fed, on every chip. */
  readonly missFeed: number;
  /** Weights whose share per core is a whole number of MiB come at this rate, GB/s, up to H16. */
  readonly notchStream: number;
  /** The slow window around a whole MiB, per core. */
  readonly notchWindowBytes: number;
}

export const SHARED: SharedConstants = {
  fillPositions: 14,
  missCapacityBytes: 75e6,
  missFeed: 5.4,
  notchStream: 37,
  notchWindowBytes: 16 * 1024,
};

const WEIGHT_CORES = 16;
const MIB = 1024 * 1024;

/** Numbers of a chip's rates in milliseconds and bytes or flops a millisecond. */
export interface PricingRates {
  readonly floorMs: number;
  readonly flopsPerMs: Readonly<Record<"pointwise" | "spatial" | "matmul", number>>;
  readonly int8Factor: number;
  readonly weightBytesPerMs: number;
  readonly activationBytesPerMs: number;
  readonly hostBytesPerMs: number;
  readonly notched: boolean;
}

export function pricingRates(chip: Chip, driver: Driver): PricingRates {
  return ratesToPricing(chip.rates, driver, familyIndex(chip.family) <= familyIndex("H16"));
}

export function ratesToPricing(
  rates: Readonly<Record<keyof ChipRates, Pick<Figure, "value">>>,
  driver: Driver,
  notched: boolean,
): PricingRates {
  return {
    floorMs: driver === "e5rt" ? rates.e5rtFloor.value : rates.inMemoryFloor.value,
    flopsPerMs: {
      pointwise: rates.pointwise.value * 1e9,
      spatial: rates.spatial.value * 1e9,
      matmul: rates.matmul.value * 1e9,
    },
    int8Factor: rates.int8Factor.value,
    weightBytesPerMs: rates.weightStream.value * 1e6,
    activationBytesPerMs: rates.activationStream.value * 1e6,
    hostBytesPerMs: rates.hostCopy.value * 1e6,
    notched,
  };
}

export interface OpPrice {
  readonly work: OpWork;
  readonly ms: number;
  readonly boundBy: Bound;
  readonly computeMs: number;
  readonly streamMs: number;
  readonly trafficMs: number;
}

/** Time of one op inside a running program. */
export function priceOp(
  work: OpWork,
  rates: PricingRates,
  shared: SharedConstants = SHARED,
): OpPrice {
  const computeMs = productMs(work, rates, shared);
  const streamMs = work.weightBytes / weightRate(work.weightBytes, rates, shared);
  const trafficMs = work.trafficBytes / rates.activationBytesPerMs;
  const ms = Math.max(computeMs, streamMs, trafficMs);
  const boundBy = computeMs >= Math.max(streamMs, trafficMs) ? "compute" : "streaming";
  return { work, ms, boundBy, computeMs, streamMs, trafficMs };
}

function productMs(work: OpWork, rates: PricingRates, shared: SharedConstants): number {
  if (work.productKind === undefined || work.productFlops === 0) return 0;
  const ideal =
    work.productFlops / (rates.flopsPerMs[work.productKind] * (work.int8 ? rates.int8Factor : 1));
  const fill = 1 + shared.fillPositions / work.positions;
  const waiting =
    work.productKind === "matmul"
      ? work.productFlops * Math.min(1, work.sharedOperandBytes / shared.missCapacityBytes)
      : 0;
  return ideal * fill + waiting / (shared.missFeed * 1e9);
}

/** Bytes a millisecond for weights of this size: the prefetch counter wraps at whole MiB per core. */
function weightRate(bytes: number, rates: PricingRates, shared: SharedConstants): number {
  const share = bytes / WEIGHT_CORES;
  if (!rates.notched || share < MIB - shared.notchWindowBytes) return rates.weightBytesPerMs;
  const distance = Math.abs(share - Math.round(share / MIB) * MIB);
  const recovery = Math.min(1, distance / shared.notchWindowBytes);
  const notch = Math.min(shared.notchStream * 1e6, rates.weightBytesPerMs);
  return notch + (rates.weightBytesPerMs - notch) * recovery;
}

/** Whether weights of this size fall into the notch on chips that have it. */
export function inStreamNotch(bytes: number, shared: SharedConstants = SHARED): boolean {
  const share = bytes / WEIGHT_CORES;
  if (share < MIB - shared.notchWindowBytes) return false;
  return Math.abs(share - Math.round(share / MIB) * MIB) < shared.notchWindowBytes;
}

export interface CallPrice {
  readonly name: string;
  readonly ms: number;
  readonly boundBy: Bound;
  readonly dispatchMs: number;
  readonly hostMs: number;
  readonly computeMs: number;
  readonly streamingMs: number;
  readonly ops: readonly OpPrice[];
}

export interface CallOptions {
  /** Bytes the host converts and copies in and out each call; none where buffers are shared. */
  readonly hostBytes?: number;
  readonly shared?: SharedConstants;
}

/** Time of one call: dispatch, host copies, then the ops one after the other. */
export function priceCall(
  work: FunctionWork,
  rates: PricingRates,
  options: CallOptions = {},
): CallPrice {
  const ops = work.ops.map((op) => priceOp(op, rates, options.shared));
  const hostMs = (options.hostBytes ?? 0) / rates.hostBytesPerMs;
  let computeMs = 0;
  let streamingMs = 0;
  for (const op of ops) {
    if (op.boundBy === "compute") computeMs += op.ms;
    else streamingMs += op.ms;
  }
  const parts: Readonly<Record<Bound, number>> = {
    dispatch: rates.floorMs,
    compute: computeMs,
    streaming: streamingMs,
    host: hostMs,
  };
  return {
    name: work.name,
    ms: rates.floorMs + hostMs + computeMs + streamingMs,
    boundBy: largest(parts),
    dispatchMs: rates.floorMs,
    hostMs,
    computeMs,
    streamingMs,
    ops,
  };
}

export function largest(parts: Readonly<Record<Bound, number>>): Bound {
  const order: readonly Bound[] = ["dispatch", "compute", "streaming", "host"];
  let best: Bound = "dispatch";
  for (const name of order) if (parts[name] > parts[best]) best = name;
  return best;
}
