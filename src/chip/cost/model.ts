import { familyIndex } from "../chip.ts";
import type { Chip, Driver } from "../chip.ts";
import type { Figure } from "../figure.ts";
import type { ChipRates } from "../rates.ts";
import type { OpRoof } from "./roof.ts";
import type { FunctionWork, OpWork } from "./work.ts";

/** What an op or a call spends its time on. */
export type Bound = "dispatch" | "compute" | "streaming" | "host";

/** Who calls the engine: one of this project's drivers, or Core ML and its successor in published measurements. */
export type Harness = Driver | "coreml" | "coreai";

/** The constants all chips share. With `ChipRates` they are the whole model. */
export interface SharedConstants {
  /** The part of `matmul`'s products that waits for its shared operand grows with its bytes, up to all at this size. */
  readonly missCapacityBytes: number;
  /** TFLOP/s at which the waiting part is fed, on every chip. */
  readonly missFeed: number;
  /** Weights whose share per core is a whole number of MiB come at this rate, GB/s, up to H16. */
  readonly notchStream: number;
  /** The slow window around a whole MiB, per core. */
  readonly notchWindowBytes: number;
  /** Operands of products that stay on chip come so much faster than those of other ops. */
  readonly chainFactor: number;
  /** A program splits over a package's engines from so many positions on. */
  readonly splitPositions: number;
  /**
   * Share of a product's time that zeros in sparsely stored weights do not save. With 50, 75 and 90 % of zeros M6 takes
   * 0.66, 0.42 and 0.36 of the time a layer, M4 0.69, 0.45 and 0.33, this line 0.64, 0.45 and 0.34. Zeros in dense
   * constants save nothing.
   */
  readonly sparseFloor: number;
}

export const SHARED: SharedConstants = {
  missCapacityBytes: 75e6,
  missFeed: 5.4,
  notchStream: 37,
  notchWindowBytes: 16 * 1024,
  chainFactor: 2,
  splitPositions: 256,
  sparseFloor: 0.27,
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
  readonly edgeBytesPerMs: number;
  readonly splitSpeed: number;
  readonly fillPositions: number;
  readonly hostBytesPerMs: number;
  readonly notched: boolean;
}

const FLOORS = {
  e5rt: "e5rtFloor",
  "in-memory": "inMemoryFloor",
  coreml: "coremlFloor",
  coreai: "coremlFloor",
} as const satisfies Readonly<Record<Harness, keyof ChipRates>>;

export function pricingRates(chip: Chip, driver: Harness): PricingRates {
  return ratesToPricing(chip.rates, driver, familyIndex(chip.family) <= familyIndex("H16"));
}

export function ratesToPricing(
  rates: Readonly<Record<keyof ChipRates, Pick<Figure, "value">>>,
  driver: Harness,
  notched: boolean,
): PricingRates {
  return {
    floorMs: rates[FLOORS[driver]].value,
    flopsPerMs: {
      pointwise: rates.pointwise.value * 1e9,
      spatial: rates.spatial.value * 1e9,
      matmul: rates.matmul.value * 1e9,
    },
    int8Factor: rates.int8Factor.value,
    weightBytesPerMs: rates.weightStream.value * 1e6,
    activationBytesPerMs: rates.activationStream.value * 1e6,
    edgeBytesPerMs: rates.edgeStream.value * 1e6,
    splitSpeed: rates.splitSpeed.value,
    fillPositions: rates.fillPositions.value,
    hostBytesPerMs: rates.hostCopy.value * 1e6,
    notched,
  };
}

export interface OpPrice {
  readonly work: OpWork;
  readonly roof: OpRoof;
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
  const speed = splitOf(work, rates, shared);
  const computeMs = productMs(work, rates, shared) / speed;
  const streamMs = work.weightBytes / weightRate(work.weightBytes, rates, shared);
  const near = work.productKind === undefined ? 1 : shared.chainFactor;
  const trafficRate = rates.activationBytesPerMs * near * speed;
  const trafficMs = work.trafficBytes / trafficRate;
  const ms = Math.max(computeMs, streamMs, trafficMs);
  const boundBy = computeMs >= Math.max(streamMs, trafficMs) ? "compute" : "streaming";
  const roof: OpRoof = {
    tflops: (productRate(work, rates) * speed) / 1e9,
    ...(work.productKind !== undefined && {
      kind: { product: work.productKind, isInt8: work.int8, isSplit: speed > 1 },
    }),
    ...(streamMs >= trafficMs
      ? { memory: "weights", gbps: rates.weightBytesPerMs / 1e6, bytes: work.weightBytes }
      : { memory: "activations", gbps: trafficRate / 1e6, bytes: work.trafficBytes }),
  };
  return { work, roof, ms, boundBy, computeMs, streamMs, trafficMs };
}

/** FLOP a millisecond of one engine's products of this kind. */
function productRate(work: OpWork, rates: PricingRates): number {
  if (work.productKind === undefined) return 0;
  const { pointwise, spatial, matmul } = rates.flopsPerMs;
  // Sparse weights take no Winograd: wider convolutions run at the direct rate.
  const direct = { pointwise, spatial: Math.min(spatial, pointwise), matmul };
  const flops = (work.density ?? 1) < 1 ? direct : rates.flopsPerMs;
  return flops[work.productKind] * (work.int8 ? rates.int8Factor : 1);
}

/** How many engines' worth of speed an op gets. */
function splitOf(work: OpWork, rates: PricingRates, shared: SharedConstants): number {
  const isSplit = work.isSplit ?? work.positions >= shared.splitPositions;
  return isSplit ? rates.splitSpeed : 1;
}

function productMs(work: OpWork, rates: PricingRates, shared: SharedConstants): number {
  if (work.productKind === undefined || work.productFlops === 0) return 0;
  const ideal = work.productFlops / productRate(work, rates);
  const fill = 1 + rates.fillPositions / work.positions;
  const waiting =
    work.productKind === "matmul"
      ? work.productFlops * Math.min(1, work.sharedOperandBytes / shared.missCapacityBytes)
      : 0;
  const kept = shared.sparseFloor + (1 - shared.sparseFloor) * (work.density ?? 1);
  return ideal * fill * kept + waiting / (shared.missFeed * 1e9);
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
export function inStreamNotch(bytes: number): boolean {
  const share = bytes / WEIGHT_CORES;
  if (share < MIB - SHARED.notchWindowBytes) return false;
  return Math.abs(share - Math.round(share / MIB) * MIB) < SHARED.notchWindowBytes;
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
  /** Bytes of inputs and outputs that cross the program's edge in shared buffers; a host's copies hold theirs. */
  readonly edgeBytes?: number;
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
  const isSplit = ops.length > 0 && ops.every(({ work: op }) => op.isSplit === true);
  const edgeSpeed = isSplit ? rates.splitSpeed : 1;
  let streamingMs = (options.edgeBytes ?? 0) / (rates.edgeBytesPerMs * edgeSpeed);
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
