import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compiledUrl } from "../../util/source-layout.ts";
import { STDERR_FOLDER_VARIABLE } from "../../engine/ane/probe.ts";
import type { Outcome } from "./outcome.ts";
import { messageSchema } from "./task.ts";
import type { Job, Task } from "./task.ts";

/** How one task ended. */
export type TaskEnd =
  | { readonly ended: "told"; readonly outcome: Outcome }
  | { readonly ended: "error"; readonly code: string | undefined; readonly message: string }
  | { readonly ended: "signal"; readonly signal: string }
  | { readonly ended: "exit"; readonly code: number }
  | { readonly ended: "time limit"; readonly limitMs: number };

export interface EndedTask {
  readonly task: Task;
  readonly end: TaskEnd;
  /** The last of what the process wrote to stderr while the task ran. */
  readonly stderr: string;
  readonly elapsedMs: number;
}

export interface ChildOptions {
  readonly job: Job;
  /** For one task. */
  readonly limitOf: (task: Task) => number;
  readonly onEnd: (ended: EndedTask) => void;
  readonly signal: AbortSignal;
}

const KEPT_CHARACTERS = 2000;
/** Of a file with last words. */
const MAXIMUM_BYTES = 1 << 20;
/** Node itself has to start. */
const START_LIMIT_MS = 60_000;
/** A process that is done and does not go. */
const EXIT_LIMIT_MS = 5000;

/**
 * Runs the tasks of a job, each told of as it ends. Where the process dies or hangs at one, the next process goes on
 * with the rest. Ends early when `signal` aborts. Never throws for what a child does.
 */
export async function runTasks(options: ChildOptions): Promise<void> {
  let rest = options.job.tasks;
  while (rest.length > 0 && !options.signal.aborted) {
    const done = await runChild({ ...options, job: { ...options.job, tasks: rest } });
    rest = rest.slice(Math.max(1, done));
  }
}

/** One process; resolves to the number of tasks that ended, the one at which it died included. */
function runChild({ job, limitOf, onEnd, signal }: ChildOptions): Promise<number> {
  const child = spawn(
    process.execPath,
    [fileURLToPath(compiledUrl("measure/self-test/probe-process.ts"))],
    {
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      env: { ...process.env, [STDERR_FOLDER_VARIABLE]: job.scratch },
    },
  );
  return new Promise((resolve) => {
    let doneCount = 0;
    let startedMs = performance.now();
    let stderr = "";
    let expired: number | undefined;
    let timer: NodeJS.Timeout | undefined;
    const watch = (limitMs: number): void => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        expired = limitMs;
        child.kill("SIGKILL");
      }, limitMs);
    };
    const current = (): Task | undefined => job.tasks[doneCount];
    const end = (how: TaskEnd): void => {
      const task = current();
      if (task === undefined) return;
      doneCount++;
      onEnd({ task, end: how, stderr: stderr.trim(), elapsedMs: performance.now() - startedMs });
      startedMs = performance.now();
      stderr = "";
    };
    const stop = (): void => void child.kill("SIGKILL");
    signal.addEventListener("abort", stop, { once: true });
    collect(child, (text) => {
      stderr = (stderr + text).slice(-KEPT_CHARACTERS);
    });
    watch(START_LIMIT_MS);
    child.on("message", (raw: unknown) => {
      const parsed = messageSchema.safeParse(raw);
      // What native code may have sent through the channel is none of ours.
      if (!parsed.success) return;
      const message = parsed.data;
      switch (message.kind) {
        case "ready":
          child.send(job, () => undefined);
          return;
        case "begin": {
          const task = current();
          if (task !== undefined) watch(limitOf(task));
          startedMs = performance.now();
          return;
        }
        case "end":
          end({ ended: "told", outcome: withoutUndefined(message.outcome) });
          break;
        case "error":
          end({ ended: "error", code: message.code, message: message.message });
          break;
      }
      watch(current() === undefined ? EXIT_LIMIT_MS : START_LIMIT_MS);
    });
    let isOver = false;
    const over = (code: number | null, death: NodeJS.Signals | null): void => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      if (!signal.aborted && current() !== undefined) {
        stderr = `${stderr}\n${lastWords(job.scratch, child.pid)}`.slice(-KEPT_CHARACTERS);
        if (expired !== undefined) end({ ended: "time limit", limitMs: expired });
        else if (death !== null) end({ ended: "signal", signal: death });
        else end({ ended: "exit", code: code ?? -1 });
      }
      resolve(doneCount);
    };
    child.on("error", (error) => {
      stderr += error.message;
      over(-1, null);
    });
    child.on("close", over);
  });
}

/** What the driver had caught of stderr when the process died inside a call. */
function lastWords(folder: string, process: number | undefined): string {
  const own = `anecdote-stderr-${process}-`;
  return readdirSync(folder)
    .filter((name) => name.startsWith(own))
    .map((name) => {
      const path = join(folder, name);
      return statSync(path).size > MAXIMUM_BYTES ? "" : readFileSync(path, "utf8").trim();
    })
    .join("\n");
}

/** Both streams are read, so that a flood blocks nobody; of stdout nothing is wanted. */
function collect(child: ChildProcess, use: (text: string) => void): void {
  child.stdout?.resume();
  child.stderr?.setEncoding("utf8").on("data", use);
}

function withoutUndefined(outcome: {
  readonly verdict: Outcome["verdict"];
  readonly detail: string;
  readonly measured?: Outcome["measured"] | undefined;
}): Outcome {
  const { verdict, detail, measured } = outcome;
  return { verdict, detail, ...(measured !== undefined && { measured }) };
}

/** "ended by SIGSEGV", for people. */
export function tellEnd(end: TaskEnd): string {
  switch (end.ended) {
    case "told":
      return end.outcome.detail;
    case "error":
      return end.message.replaceAll(/\s*\n\s*/g, " ");
    case "signal":
      return `the process was ended by ${end.signal}`;
    case "exit":
      return `the process ended with code ${end.code}`;
    case "time limit":
      return `the process gave no answer for ${end.limitMs / 1000} s and was ended`;
  }
}
