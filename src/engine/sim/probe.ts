/**
 * What the self-test asks of the simulated arithmetic: single functions, and the rounding, sums and tables that its
 * questions foretell answers by. Beside the engine itself (index.ts) and the names of its modes (numerics.ts) this is the
 * one face of the folder (scripts/check-imports.mjs).
 */
export { narrowSum } from "./arithmetic.ts";
export {
  erf,
  FUNCTION_TABLES,
  sigmoid,
  tabulate,
  tableExp,
  tableLog,
  tableRsqrt,
} from "./fitted-tables.ts";
export {
  gridErf,
  gridExp,
  gridGelu,
  gridInverse,
  gridLog,
  gridRsqrt,
  gridSigmoid,
  gridSilu,
  gridTanh,
} from "./grid-tables.ts";
export { Machine } from "./machine.ts";
export { roundToHalfBy } from "./rounding.ts";
export { SimulatedFunction } from "./simulate.ts";
