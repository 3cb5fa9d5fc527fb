// The training thread of every process of a group but rank 0.
import { writeSync } from "node:fs";
import { workerData } from "node:worker_threads";
import { launchedProcess } from "../../cluster/index.ts";
import { messageOf } from "../../util/errors.ts";
import { followTraining } from "./group-member.ts";
import type { MemberWorkerData } from "./member-session.ts";

const { config } = workerData as MemberWorkerData;
const launched = launchedProcess();
try {
  if (launched !== undefined) await followTraining(config, launched);
} catch (error) {
  writeSync(2, `anecdote: rank ${launched?.rank ?? "?"}: ${messageOf(error)}\n`);
  process.exit(1);
}
