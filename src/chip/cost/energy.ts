import type { Chip } from "../chip.ts";
import type { CallPrice } from "./model.ts";

/**
 * Energy of the engine's own rail, in joules. Constants are fitted on M4, M4 Max and M5 Pro
 * (ANEForge roofline suite and GEMV sweep); `rates.energyScale` carries them to the other chips.
 */
export const ENERGY = {
  /** Waking, fencing and completing one call. */
  perCall: 1e-4,
  perPointwiseFlop: 0.5e-12,
  perSpatialFlop: 0.5e-12,
  perMatmulFlop: 0.7e-12,
  /** A byte from memory or between ops. */
  perByte: 12.8e-12,
  /** Power while ops run, whatever they do. */
  runningWatts: 1.2,
} as const;

/** Joules of one call on the engine's rail. */
export function callJoules(price: CallPrice, chip: Chip): number {
  let joules = ENERGY.perCall;
  for (const op of price.ops) {
    joules += opJoules(op.work, op.ms);
  }
  return joules * chip.rates.energyScale.value;
}

/** Joules of one op without the call around it; not scaled to a chip. */
export function opJoules(work: CallPrice["ops"][number]["work"], elapsedMs: number): number {
  const perFlop =
    work.productKind === "matmul"
      ? ENERGY.perMatmulFlop
      : work.productKind === "spatial"
        ? ENERGY.perSpatialFlop
        : ENERGY.perPointwiseFlop;
  return (
    work.productFlops * perFlop * (work.int8 ? 0.5 : 1) +
    (work.weightBytes + work.trafficBytes) * ENERGY.perByte +
    ENERGY.runningWatts * elapsedMs * 1e-3
  );
}
