import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { writeWholeFile } from "../util/atomic-file.ts";
import { readSmallFile } from "../util/byte-source.ts";
import { checkpointPath, checkpointProblem } from "./checkpoint.ts";

const FILE = "best.json";
const schema = z.object({
  version: z.literal(1),
  step: z.int().nonnegative(),
  eval_loss: z.number(),
});

/** The checkpoint of a run with the lowest loss on the data it is judged on. */
export interface BestCheckpoint {
  readonly folder: string;
  readonly step: number;
  readonly evalLoss: number;
}

/** Notes in a run's folder which checkpoint is the best. */
export function writeBest(runFolder: string, step: number, evalLoss: number): void {
  const content = { version: 1, step, eval_loss: evalLoss };
  writeWholeFile(join(runFolder, FILE), `${JSON.stringify(content)}\n`);
}

export function clearBest(runFolder: string): void {
  rmSync(join(runFolder, FILE), { force: true });
}

/** The best checkpoint, where a run notes one that is whole. */
export function bestCheckpoint(runFolder: string): BestCheckpoint | undefined {
  const path = join(runFolder, FILE);
  if (!existsSync(path)) return undefined;
  try {
    const text = Buffer.from(readSmallFile(path, 1 << 16)).toString("utf8");
    const { step, eval_loss: evalLoss } = schema.parse(JSON.parse(text));
    const folder = checkpointPath(runFolder, step);
    return checkpointProblem(folder) === undefined ? { folder, step, evalLoss } : undefined;
  } catch {
    return undefined;
  }
}
