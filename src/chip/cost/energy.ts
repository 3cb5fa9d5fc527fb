import type { Chip } from "../chip.ts";
import type { CallPrice, OpPrice } from "./model.ts";

/**
 * Energy of the engine's own rail, in joules. Constants are fitted on 74 calls whose watts were published, of nine
 * machines from M1 to M5 Pro (ANEForge roofline suite and GEMV sweep); `rates.energyScale` carries them to each chip.
 */
export const ENERGY = {
  /** Waking, fencing and completing one call. */
  perCall: 5.6e-5,
  perPointwiseFlop: 0.5e-12,
  perSpatialFlop: 0.5e-12,
  perMatmulFlop: 0.66e-12,
  /** A byte from memory or between ops. */
  perByte: 12.7e-12,
  /** Power while products keep the cores busy; ops that wait for memory need their bytes' energy alone. */
  computingWatts: 1.1,
} as const;

/** Joules of one call on the engine's rail. */
export function callJoules(price: CallPrice, chip: Chip): number {
  let joules = ENERGY.perCall;
  for (const op of price.ops) joules += opJoules(op);
  return joules * chip.rates.energyScale.value;
}

/** Joules of one op without the call around it; not scaled to a chip. */
export function opJoules({ work, ms, boundBy }: OpPrice): number {
  const perFlop =
    work.productKind === "matmul"
      ? ENERGY.perMatmulFlop
      : work.productKind === "spatial"
        ? ENERGY.perSpatialFlop
        : ENERGY.perPointwiseFlop;
  return (
    work.productFlops * perFlop * (work.int8 ? 0.5 : 1) +
    (work.weightBytes + work.trafficBytes) * ENERGY.perByte +
    (boundBy === "compute" ? ENERGY.computingWatts * ms * 1e-3 : 0)
  );
}
