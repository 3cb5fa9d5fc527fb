// The thread that makes a run's report: it makes the run's step, and reads all of its log.
import { parentPort, workerData } from "node:worker_threads";
import { asideAnswer } from "../aside.ts";
import { runReport } from "./run-report.ts";

const { folder, chip } = workerData as { readonly folder: string; readonly chip?: string };

parentPort?.postMessage(await asideAnswer(() => runReport(folder, chip)));
