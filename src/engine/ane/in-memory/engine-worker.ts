// The thread on which programs are compiled, loaded and run, so that the training thread can notice a hang and
// work meanwhile. Addresses of objects mean the same in all threads of a process.
import { parentPort, workerData } from "node:worker_threads";
import { makeAttempts } from "./attempt.ts";
import type { EngineJob, EngineJobAnswer, EngineWorkerData } from "./engine-thread.ts";
import { ObjcRuntime } from "./objc.ts";

const { library } = workerData as EngineWorkerData;
const runtime = new ObjcRuntime(library);

parentPort?.on("message", ({ id, attempts }: EngineJob) => {
  const answer: EngineJobAnswer = { id, ...makeAttempts(runtime, attempts) };
  parentPort?.postMessage(answer);
});
