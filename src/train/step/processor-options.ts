import { optimize, PROCESSOR_PIPELINE } from "../../passes/pipeline.ts";
import type { TrainingPlanOptions } from "./step-plan-options.ts";

/** Below this many rows a block's copies and extra ops cost what it saves. */
const SHORTEST_CUT_ROWS = 256;
const CUT_BLOCKS = 8;
const BLOCK_MULTIPLE = 64;

/** Rows of a block of causal attention; nothing where the whole square is as good. */
function attentionBlockRows(rows: number): number | undefined {
  if (rows < SHORTEST_CUT_ROWS) return undefined;
  return BLOCK_MULTIPLE * Math.ceil(rows / CUT_BLOCKS / BLOCK_MULTIPLE);
}

/**
 * How a step is planned for a processor: attention leaves out most of what the mask hides (0.94 of the time and 0.82 of
 * the memory of a llama of 3 x 768 at 1,024 tokens), and rewrites are made that need a wide range of exponents. A Neural
 * Engine and what stands for one take whole squares: there more ops cost more than they save, by the cost model.
 */
export function processorOptions(
  sequenceLength: number,
): Pick<TrainingPlanOptions, "attentionBlockRows" | "optimize"> {
  const blockRows = attentionBlockRows(sequenceLength);
  return {
    ...(blockRows !== undefined && { attentionBlockRows: blockRows }),
    optimize: (fn) => optimize(fn, { passes: PROCESSOR_PIPELINE }),
  };
}
