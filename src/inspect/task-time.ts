import { findChip } from "../chip/chips.ts";
import { priceOp, pricingRates } from "../chip/cost/model.ts";
import type { OpWork } from "../chip/cost/work.ts";
import type { HwxFile, HwxTask } from "./hwx/model.ts";

/** M-series chips by the target their programs are compiled for. */
const CHIP_OF_TARGET: Readonly<Record<string, string>> = {
  H13: "m1",
  H14: "m2",
  H15: "m3",
  H16: "m4",
  H17: "m5",
  H18: "m6",
  H18g: "m6",
};

/**
 * The cost model's time of a task in microseconds, without the dispatch of the program it is part of.
 * Absent for targets that no known M chip carries.
 */
export function taskTimeOf(file: HwxFile): ((task: HwxTask) => number) | undefined {
  const chip = findChip(CHIP_OF_TARGET[file.target.chip] ?? "");
  if (chip === undefined) return undefined;
  const rates = pricingRates(chip, "in-memory");
  return (task) => 1000 * priceOp(workOf(task), rates).ms;
}

function workOf({ index, meaning }: HwxTask): OpWork {
  const { op, kernel, output, operands } = meaning;
  const positions = (output.width ?? 1) * (output.height ?? 1) * (output.depth ?? 1);
  const bytesOf = (isKernel: boolean): number =>
    operands
      .filter(({ name }) => (name === "kernel") === isKernel)
      .reduce((sum, { dramBytes }) => sum + (dramBytes ?? 0), 0);
  const isSpatial = kernel !== null && kernel.width * kernel.height * kernel.depth > 1;
  const hasProducts = (meaning.multiplyAccumulates ?? 0) > 0;
  const kind = op === "matmul" ? "matmul" : isSpatial ? "spatial" : "pointwise";
  const weightType = operands.find(({ name }) => name === "kernel")?.dtype ?? "";
  return {
    name: `task ${index}`,
    op,
    productFlops: 2 * (meaning.multiplyAccumulates ?? 0),
    ...(hasProducts && { productKind: kind }),
    positions: Math.max(1, positions),
    weightBytes: bytesOf(true),
    sharedOperandBytes: bytesOf(true),
    int8: /^u?int8$/.test(weightType),
    trafficBytes: bytesOf(false),
  };
}
