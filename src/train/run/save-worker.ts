// A thread that writes checkpoints from a copy of the weights while the training thread goes on.
import { parentPort, workerData } from "node:worker_threads";
import { ControlBlock } from "./control.ts";
import type { SaveAnswer, SaveWorkerData } from "./saves-beside.ts";
import { saveCheckpoint } from "./save-checkpoint.ts";
import type { SaveOrder } from "./save-checkpoint.ts";
import { toldError } from "./session-options.ts";
import { TrainError } from "../errors.ts";

const { files, copies, control } = workerData as SaveWorkerData;
const block = new ControlBlock(control);

function answerTo(order: SaveOrder): SaveAnswer {
  try {
    const saved = saveCheckpoint(order, files, (name) => {
      const copy = copies.get(name);
      if (copy === undefined)
        throw new TrainError("train.save.copy", `buffer ${name} was not copied for its checkpoint`);
      return copy;
    });
    return { kind: "saved", saved };
  } catch (error) {
    return { kind: "failed", error: toldError(error) };
  } finally {
    block.endSaveBeside();
  }
}

parentPort?.on("message", (order: SaveOrder) => parentPort?.postMessage(answerTo(order)));
