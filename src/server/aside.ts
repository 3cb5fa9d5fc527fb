import { Worker } from "node:worker_threads";
import { AnecdoteError } from "../util/errors.ts";
import { Refusal } from "./errors.ts";

/** What a thread sends back. */
export type AsideAnswer<Value> =
  | { readonly kind: "value"; readonly value: Value }
  | { readonly kind: "error"; readonly code: string | undefined; readonly message: string };

/** What a thread may take. */
export interface AsideLimits {
  /** It is ended after so long. */
  readonly milliseconds: number;
  /** Of JavaScript values; what lies in typed arrays is bounded by what a thread is given to read. */
  readonly mebibytes: number;
}

/** What is wanted of a thread, by its module's URL. */
interface Task extends AsideLimits {
  readonly data: unknown;
}

const DEFAULT_LIMITS: AsideLimits = { milliseconds: 120_000, mebibytes: 2048 };
/** Threads at once: the server, and whoever trains on this machine, go on beside them. */
const MOST_AT_ONCE = 2;
/** Tasks that wait for a thread. */
const MOST_WAITING = 32;

let running = 0;
const waiting: (() => void)[] = [];

/**
 * Runs a module of this server in a thread of its own and gives what it answers: work of seconds, in which the server
 * would not answer, and readers of files that strangers made. However it ends, by an error, by memory or by time, this
 * process goes on. Throws `Refusal` 422 for what the module throws, and for a thread that took too much; 429 where too
 * many wait already.
 */
export async function aside<Value>(
  module: URL,
  data: unknown,
  limits: AsideLimits = DEFAULT_LIMITS,
): Promise<Value> {
  await place();
  try {
    return await runThread<Value>(module, { data, ...limits });
  } finally {
    // Whoever waits takes the place itself, so that nobody comes between.
    const next = waiting.shift();
    if (next === undefined) running--;
    else next();
  }
}

async function place(): Promise<void> {
  if (running < MOST_AT_ONCE) running++;
  else {
    if (waiting.length >= MOST_WAITING)
      throw new Refusal(429, "too much is being worked on; ask again later", {
        code: "server_busy",
        headers: { "Retry-After": "5" },
      });
    await new Promise<void>((resolve) => waiting.push(resolve));
  }
}

async function runThread<Value>(module: URL, task: Task): Promise<Value> {
  const { milliseconds, mebibytes } = task;
  const worker = new Worker(module, {
    workerData: task.data,
    stderr: true,
    resourceLimits: { maxOldGenerationSizeMb: mebibytes },
  });
  let timer: NodeJS.Timeout | undefined;
  try {
    const answer = await new Promise<AsideAnswer<Value>>((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", (error: NodeJS.ErrnoException) =>
        reject(
          error.code === "ERR_WORKER_OUT_OF_MEMORY"
            ? tooMuch(`more than ${mebibytes} MiB of memory`)
            : error,
        ),
      );
      worker.once("exit", () => reject(new Error("a thread of the server ended")));
      timer = setTimeout(() => reject(tooMuch(`more than ${milliseconds / 1000} s`)), milliseconds);
    });
    if (answer.kind === "value") return answer.value;
    throw new Refusal(422, answer.message, {
      code: answer.code?.replaceAll(".", "_") ?? "cannot_be_read",
    });
  } finally {
    clearTimeout(timer);
    void worker.terminate();
  }
}

function tooMuch(what: string): Refusal {
  return new Refusal(422, `this takes ${what}, which is more than the server gives it`, {
    code: "too_much",
  });
}

/** In the thread: what a function gives or throws, as an answer. */
export async function asideAnswer<Value>(
  act: () => Value | Promise<Value>,
): Promise<AsideAnswer<Value>> {
  try {
    return { kind: "value", value: await act() };
  } catch (error) {
    return {
      kind: "error",
      code: error instanceof AnecdoteError ? error.code : undefined,
      message: error instanceof Error ? error.message : String(error),
    };
  }
}
