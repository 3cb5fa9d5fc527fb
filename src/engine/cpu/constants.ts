import { operandsIn } from "../../mil/program.ts";
import type { MilFunction, Operation, Value } from "../../mil/program.ts";
import { valuesReadBy } from "../../mil/traverse.ts";
import { elementCount, sameType, staticShape } from "../../mil/types.ts";
import type { Plan } from "../../plan/plan.ts";
import type { Region } from "../../plan/regions.ts";
import type { GraphStep } from "./section.ts";

/**
 * A section whose weights are frozen and whose matrices have so many numbers runs as one graph with its matrices as constants,
 * and not as a row program: ONNX Runtime packs a constant once, and its products of packed matrices give a row the same bits
 * whatever number of rows stands beside it. Measured with bench/decode-frozen.mjs; above, the packed copy takes more memory
 * than most have to spare.
 */
export const FROZEN_NUMBERS = { from: 1e6, to: 5e8 } as const;

/** Ops whose operand may be a constant that is told when a graph is opened, and not before. */
const TAKEN_BY: Readonly<Record<string, string>> = { matmul: "y", linear: "weight", gather: "x" };

/**
 * Sections that take their matrices as constants: large ones, where nothing is unpacked first. A section's matrices are the
 * same for every number of rows, and so is the answer.
 */
export function sectionsWithConstants(plan: Plan, from: number): ReadonlySet<string> {
  for (const { hostKernel } of plan.programs.values())
    if (hostKernel?.kind === "unpack") return new Set();
  const suits = (section: string): boolean => {
    const count = matrixNumbers(plan, section);
    return count >= from && count <= FROZEN_NUMBERS.to;
  };
  return new Set([...plan.sections.keys()].filter(suits));
}

/** Numbers of the matrices that a section reads as weights, each counted once. */
function matrixNumbers(plan: Plan, section: string): number {
  const seen = new Set<string>();
  let count = 0;
  for (const { inputs } of plan.sections.get(section) ?? []) {
    for (const { buffer } of inputs.values()) {
      const spec = plan.buffers.get(buffer);
      if (spec?.role !== "weight" || seen.has(buffer) || spec.type.dataType !== "fp32") continue;
      seen.add(buffer);
      const shape = staticShape(spec.type);
      if (shape.length === 2) count += elementCount(shape);
    }
  }
  return count;
}

/** Inputs of a graph, by their places, that are whole fp32 matrices of weights which only products and lookups read. */
export function constantInputs(plan: Plan, { joined }: GraphStep): ReadonlySet<number> {
  const { fn, inputs, outputs } = joined;
  const found = new Set<number>();
  for (const [index, value] of fn.inputs.entries()) {
    const region = inputs[index];
    if (region === undefined || !isWholeMatrix(plan, region, value)) continue;
    const isWritten = outputs.some(({ buffer }) => buffer === region.buffer);
    if (!isWritten && isTaken(fn, value)) found.add(index);
  }
  return found;
}

function isWholeMatrix(plan: Plan, region: Region, value: Value): boolean {
  const spec = plan.buffers.get(region.buffer);
  return (
    spec?.role === "weight" &&
    spec.isInFile !== true &&
    spec.type.dataType === "fp32" &&
    region.offset === 0 &&
    sameType(spec.type, value.type) &&
    staticShape(spec.type).length === 2
  );
}

function isTaken(fn: MilFunction, value: Value): boolean {
  const readers = fn.operations.filter((operation) => [...valuesReadBy(operation)].includes(value));
  const takes = (operation: Operation): boolean =>
    operation.blocks.length === 0 &&
    [...operation.inputs].every(
      ([name, argument]) =>
        !operandsIn(argument).includes(value) || TAKEN_BY[operation.type] === name,
    );
  return readers.length > 0 && !fn.outputs.includes(value) && readers.every(takes);
}
