// The thread that makes a run's step and prices it: seconds for a large model, in which the server would not answer.
import { parentPort, workerData } from "node:worker_threads";
import { asideAnswer } from "../aside.ts";
import { runPlan } from "./run-plan.ts";

const { folder, chip } = workerData as { readonly folder: string; readonly chip?: string };

parentPort?.postMessage(await asideAnswer(() => runPlan(folder, chip)));
