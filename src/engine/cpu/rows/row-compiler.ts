import { knownShape } from "../../../mil/match.ts";
import type { Plan, UnpackedWeight } from "../../../plan/plan.ts";
import { bindDispatch, regionKey } from "../../../plan/regions.ts";
import type { BoundDispatch } from "../../../plan/regions.ts";
import type { Address, RowProgram } from "./instructions.ts";
import { RowsInTiles } from "./tiles.ts";
import { findPatterns } from "./patterns.ts";
import { Refusal, refuse } from "./refusal.ts";
import { RowBuilder } from "./row-builder.ts";
import { addOperation } from "./row-operations.ts";
import { patternRows } from "./row-patterns.ts";
import { RowValues } from "./row-values.ts";
import type { SectionState } from "./row-values.ts";
import { storedWeight, StoredProducts, unsuited } from "./stored.ts";

/**
 * A section that continues few rows as one program: embedding, blocks and head of a decoding step, whatever the family,
 * as long as it is made of the ops below. Gives the reason where it is not.
 */
export function compileRows(plan: Plan, section: string): RowProgram | string {
  const builder = new RowBuilder();
  const tiles = new RowsInTiles(builder);
  const state: SectionState = {
    ...{ plan, builder, held: new Map(), stored: new Map(), tiles },
    products: new StoredProducts(builder, tiles),
  };
  try {
    for (const dispatch of plan.sections.get(section) ?? []) {
      if (plan.programs.get(dispatch.program)?.asWritten === true)
        refuse(`${dispatch.label} is to run as it is written`);
      const bound = bindDispatch(plan, dispatch);
      const kernel = plan.programs.get(dispatch.program)?.hostKernel;
      if (kernel?.kind === "unpack") holdStored(state, bound, kernel.weights);
      else addDispatch(state, bound);
    }
  } catch (error) {
    if (error instanceof Refusal) return error.message;
    throw error;
  }
  return builder.finish();
}

/** Weights that a dispatch would unpack: whoever reads them takes them as they are stored. */
function holdStored(
  { stored }: SectionState,
  { inputs, outputs }: BoundDispatch,
  weights: readonly UnpackedWeight[],
): void {
  for (const weight of weights) {
    const addressOf = (name: string | undefined): Address | undefined => {
      const port = inputs.find(({ value }) => value.name === name);
      if (port === undefined) return undefined;
      const { buffer, offset } = port.region;
      if (offset !== 0) refuse(`a part of "${buffer}"`);
      return { space: "buffer", buffer, byteOffset: 0 };
    };
    const result = outputs.find(({ value }) => value.name === weight.numbers);
    const codes = addressOf(weight.codes);
    const shape = knownShape(result?.value);
    const unsuitable = unsuited(weight.storage);
    if (unsuitable !== undefined) refuse(unsuitable);
    if (result === undefined || codes === undefined || shape === undefined)
      return refuse(`the storage of "${weight.numbers}"`);
    const addresses = {
      codes,
      scales: addressOf(weight.scales),
      biases: addressOf(weight.biases),
    };
    stored.set(regionKey(result.region), storedWeight(weight, shape, addresses));
  }
}

/** Writes the instructions of one dispatch. */
function addDispatch(state: SectionState, dispatch: BoundDispatch): void {
  const { fn } = dispatch;
  const values = new RowValues(state, dispatch);
  const { byLast, covered } = findPatterns(fn);
  for (const operation of fn.operations) {
    const pattern = byLast.get(operation);
    if (pattern !== undefined) values.set(pattern.result, patternRows(values, pattern));
    else if (!covered.has(operation)) addOperation(values, operation);
  }
  values.deliver();
}
