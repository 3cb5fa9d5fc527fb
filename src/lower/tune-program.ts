import type { MilFunction } from "../mil/program.ts";
import type { Chip, Driver } from "../chip/chip.ts";
import { shareCommonSubexpressions } from "../passes/common-subexpressions.ts";
import { removeDeadCode } from "../passes/dead-code.ts";
import { mergeReshapes } from "../passes/merge-reshapes.ts";
import { mergeTransposes } from "../passes/merge-transposes.ts";
import { constantConvolutions } from "./constant-convolutions.ts";
import { headsOfProducts } from "./heads-of-products.ts";
import type { EngineProgram } from "./ports.ts";
import { mergeRowFactors } from "./row-factors.ts";
import { sharesBehindProducts } from "./shares-behind-products.ts";
import { sinkTransposes } from "./sink-transposes.ts";
import { slicesAsSplits } from "./slices-as-splits.ts";
import { splitNotchedPorts } from "./split-notched-ports.ts";
import { splitNotchedWeights } from "./split-notched-weights.ts";

/** Turns after which transposes that still move are left where they are. */
const TURN_LIMIT = 16;

/** A lowered program in the form that the chip runs fastest, computing the same. */
export function tuneProgram(program: EngineProgram, chip: Chip, driver: Driver): EngineProgram {
  const shared = mergeRowFactors(shareCommonSubexpressions(program.function));
  const moved = slicesAsSplits(sharesBehindProducts(shareCommonSubexpressions(shared)));
  const convolved = convolutionsOf(moved, chip, driver);
  const split = removeDeadCode(splitNotchedWeights(convolved, chip, driver));
  // Last: matrices in the notch come in parts.
  return headsOfProducts(
    splitNotchedPorts({ ...program, function: split }, chip, driver),
    chip,
    driver,
  );
}

/** Constant products as convolutions, without the transposes that cancel between them. */
function convolutionsOf(fn: MilFunction, chip: Chip, driver: Driver): MilFunction {
  let current = constantConvolutions(chip, driver)(fn);
  if (current === fn) return fn;
  for (let turn = 0; turn < TURN_LIMIT; turn++) {
    const next = mergeReshapes(mergeTransposes(sinkTransposes(current)));
    if (next === current) break;
    current = next;
  }
  return current;
}
