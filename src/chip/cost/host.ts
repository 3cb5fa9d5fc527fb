import { flopsOf, opRow } from "../../mil/ops/index.ts";
import { operandsOf, tensorTypeOf } from "../../mil/program.ts";
import type { MilFunction } from "../../mil/program.ts";
import { byteLengthOf, elementCount, staticShape } from "../../mil/types.ts";
import type { MomentType, PlanProgram } from "../../plan/plan.ts";
import type { Chip } from "../chip.ts";

/** Share of the package's bandwidth that kernels on the CPU's cores reach, and their ceiling in GB/s. */
const HOST_SHARE = 0.7;
const HOST_CEILING = 120;
/** Power of the package while the CPU works for the engine, W: the roofline suite's CPU rail, M4. */
export const HOST_WATTS = 4;

/** Bytes a millisecond that the CPU moves. */
export function hostBytesPerMs(chip: Chip): number {
  return Math.min(chip.memoryBandwidth.value * HOST_SHARE, HOST_CEILING) * 1e6;
}

/**
 * Bytes that AdamW moves for a number: the weight, m and v read and written, a gradient of fp32 read, and the engine's fp16
 * copy written.
 */
export function adamwBytes(momentType: MomentType): number {
  return 8 + 4 + 2 + 4 * (momentType === "bf16" ? 2 : 4);
}

/** Milliseconds of a program that stays on the CPU: its traffic, or its products at the CPU's rate. */
export function hostProgramMs(program: PlanProgram, chip: Chip): number {
  const { hostKernel, function: fn } = program;
  const perMs = hostBytesPerMs(chip);
  if (hostKernel === undefined) return hostFunctionMs(fn, chip);
  switch (hostKernel.kind) {
    case "adamw": {
      const weights = new Set(hostKernel.parameters.map(({ weight }) => weight));
      const gradients = new Set(hostKernel.parameters.map(({ gradient }) => gradient));
      const elements = elementsOf(fn, (name) => weights.has(name));
      const own = fn.inputs.filter(({ name }) => gradients.has(name));
      const gradientBytes = own.reduce((sum, input) => sum + bytesOf(input), 0);
      const bytes = elements * (adamwBytes(hostKernel.momentType) - 4) + gradientBytes;
      return bytes / perMs;
    }
    case "muon":
    case "adapter_norms":
    case "preference":
      return hostFunctionMs(fn, chip);
    case "sum_of_squares":
      return fn.inputs.reduce((sum, input) => sum + bytesOf(input), 0) / perMs;
    case "embedding_gradient":
      // Rows are added in place: the gradient read, the touched rows read and written.
      return (12 * elementsOf(fn, (name) => name === hostKernel.gradient)) / perMs;
    case "stream":
    case "unpack": {
      // What is stored is read, fp32 written; of a file as if it stood in memory.
      const read = fn.inputs.reduce((sum, input) => sum + bytesOf(input), 0);
      const written = fn.outputs.reduce((sum, output) => sum + bytesOf(output), 0);
      return (read + written) / perMs;
    }
  }
}

function hostFunctionMs(fn: MilFunction, chip: Chip): number {
  const perMs = hostBytesPerMs(chip);
  const flopsPerMs = chip.rates.hostProducts.value * 1e9;
  let total = 0;
  for (const operation of fn.operations) {
    if (operation.type === "const") continue;
    const flops = opRow(operation.type)?.product === undefined ? 0 : flopsOf(operation);
    // A gather reads the rows it returns, not the table.
    const reads = operation.type.startsWith("gather")
      ? 0
      : [...operandsOf(operation)].reduce((sum, operand) => sum + bytesOf(operand), 0);
    const writes = operation.outputs.reduce((sum, output) => sum + bytesOf(output), 0);
    total += Math.max(flops / flopsPerMs, (reads + writes) / perMs);
  }
  return total;
}

function bytesOf(operand: Parameters<typeof tensorTypeOf>[0]): number {
  const type = tensorTypeOf(operand);
  return type === undefined || type.dataType === "string" ? 0 : byteLengthOf(type);
}

function elementsOf(fn: MilFunction, wanted: (name: string) => boolean): number {
  return fn.inputs.reduce(
    (sum, { name, type }) =>
      wanted(name) && type.kind === "tensor" ? sum + elementCount(staticShape(type)) : sum,
    0,
  );
}
