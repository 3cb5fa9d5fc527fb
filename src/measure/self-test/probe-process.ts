// A child process of the self-test: runs the tasks it is sent, one after the other, and tells of each what came
// out. Whatever the runtime does to a process, it does to this one.
import { chipByName } from "../../chip/chips.ts";
import { lendEvaluator, openDriver } from "../../engine/ane/probe.ts";
import type { AneDriver } from "../../engine/ane/probe.ts";
import { AnecdoteError, messageOf } from "../../util/errors.ts";
import { runOp } from "./op-probe.ts";
import type { Outcome } from "./outcome.ts";
import { PROBES } from "./probes.ts";
import type { ProbeContext } from "./probe.ts";
import { jobSchema } from "./task.ts";
import type { ChildMessage, Job, Task } from "./task.ts";

function tell(message: ChildMessage): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined) resolve();
    else process.send(message, () => resolve());
  });
}

async function runTask(task: Task, job: Job): Promise<Outcome> {
  const drivers: AneDriver[] = [];
  const chip = chipByName(job.chip);
  const context: ProbeContext = {
    driver: job.driver,
    library: job.library,
    chip,
    scratch: job.scratch,
    round: task.kind === "probe" ? task.round : 0,
    open: (settings) => {
      lend(job);
      const driver = openDriver(job.driver, job.library, {
        settings: settings ?? {},
        cacheFolder: job.scratch,
        machinePrograms: "uncounted",
      });
      drivers.push(driver);
      return driver;
    },
  };
  try {
    if (task.kind === "op") return await runOp(task, context);
    const probe = PROBES.find(
      ({ id, driver }) => id === task.id && (driver === "both" || driver === job.driver),
    );
    if (probe === undefined) throw new Error(`there is no probe "${task.id}"`);
    return await probe.run(context);
  } finally {
    for (const driver of drivers) await driver.close();
  }
}

/** A library without an engine is lent the simulator's arithmetic, once. */
function lend(job: Job): void {
  if (isLent || !job.library.isNamed) return;
  lendEvaluator(job.library.path, chipByName(job.chip));
  isLent = true;
}
let isLent = false;

async function runJob(job: Job): Promise<void> {
  for (const task of job.tasks) {
    await tell({ kind: "begin", id: task.id });
    try {
      const outcome = await runTask(task, job);
      await tell({ kind: "end", id: task.id, outcome });
    } catch (error) {
      await tell({
        kind: "error",
        id: task.id,
        ...(error instanceof AnecdoteError && { code: error.code }),
        message: messageOf(error),
      });
    }
  }
}

process.once("message", (job: unknown) => {
  // The parent reads the end of the process; nothing native may hold it up.
  void runJob(jobSchema.parse(job)).finally(() => process.exit(0));
});
process.once("disconnect", () => process.exit(1));
await tell({ kind: "ready" });
