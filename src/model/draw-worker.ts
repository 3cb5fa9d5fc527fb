// One of several threads that draw the weights of a new model.
import { workerData } from "node:worker_threads";
import { drawInTurn } from "./draw-weights.ts";
import type { DrawWorkerData } from "./draw-weights.ts";
import { NormalNumbers } from "./normal-numbers.ts";

const data = workerData as DrawWorkerData;
drawInTurn(data, new NormalNumbers(data.module));
