import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { compiledUrl } from "../../util/source-layout.ts";
import { messageSchema } from "./outcome.ts";
import type { Job, Outcome } from "./outcome.ts";

export interface PoolOptions {
  readonly jobs: readonly Job[];
  readonly processes: number;
  /** For one test on one engine, in milliseconds. */
  readonly limitMs: number;
  readonly onEnd: (job: Job, engine: string, outcome: Outcome) => void;
  readonly signal: AbortSignal;
}

const KEPT_CHARACTERS = 2000;
/** Node itself has to start. */
const START_LIMIT_MS = 60_000;
/** Native libraries keep some memory of every graph: a process is replaced after so many tests. */
const TESTS_PER_PROCESS = 500;

/** Runs jobs in processes; one that dies or hangs is counted as a crash of the test, and another goes on. */
export async function runJobs(options: PoolOptions): Promise<void> {
  const rest = [...options.jobs];
  const take = (): Job | undefined => rest.shift();
  const lane = async (): Promise<void> => {
    while (rest.length > 0 && !options.signal.aborted) await runProcess(take, options);
  };
  await Promise.all(Array.from({ length: options.processes }, lane));
}

function runProcess(
  take: () => Job | undefined,
  { limitMs, onEnd, signal }: PoolOptions,
): Promise<void> {
  const path = fileURLToPath(compiledUrl("measure/conformance/worker.ts"));
  const child = fork(path, [], { stdio: ["ignore", "ignore", "pipe", "ipc"] });
  return new Promise((resolve) => {
    let job: Job | undefined;
    let engines: string[] = [];
    let testCount = 0;
    let stderr = "";
    let expired = false;
    let timer: NodeJS.Timeout | undefined;
    const watch = (ms: number): void => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        expired = true;
        child.kill("SIGKILL");
      }, ms);
    };
    const stop = (): void => void child.kill("SIGKILL");
    signal.addEventListener("abort", stop, { once: true });
    child.stderr?.on("data", (chunk: Buffer) => {
      stderr = (stderr + chunk.toString("utf8")).slice(-KEPT_CHARACTERS);
    });
    watch(START_LIMIT_MS);
    const next = (): void => {
      job = testCount < TESTS_PER_PROCESS ? take() : undefined;
      if (job === undefined) {
        clearTimeout(timer);
        child.disconnect();
        return;
      }
      testCount++;
      engines = [...job.engines];
      stderr = "";
      watch(limitMs);
      child.send(job, () => undefined);
    };
    child.on("message", (raw: unknown) => {
      const parsed = messageSchema.safeParse(raw);
      // What native code may have sent through the channel is none of ours.
      if (!parsed.success) return;
      const message = parsed.data;
      if (message.kind === "ready") next();
      else if (job !== undefined) {
        engines = engines.filter((engine) => engine !== message.engine);
        watch(limitMs);
        onEnd(job, message.engine, message.outcome);
      }
    });
    let isOver = false;
    const over = (how: string): void => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      const [crashed, ...others] = engines;
      if (job !== undefined && crashed !== undefined && !signal.aborted) {
        const reason = expired ? `no end after ${limitMs / 1000} s` : how;
        onEnd(job, crashed, {
          result: "crashed",
          reason: stderr.trim() === "" ? reason : `${reason}: ${stderr.trim()}`,
        });
        // The engines after it go on in another process.
        if (others.length > 0) {
          void runProcess(once({ ...job, engines: others }), {
            jobs: [],
            processes: 1,
            limitMs,
            onEnd,
            signal,
          }).then(resolve);
          return;
        }
      }
      resolve();
    };
    child.on("error", (error) => {
      over(error.message);
    });
    child.on("exit", (code, death) => {
      over(death === null ? `the process ended with ${code ?? "nothing"}` : `killed by ${death}`);
    });
  });
}

function once(job: Job): () => Job | undefined {
  let given = false;
  return () => {
    if (given) return undefined;
    given = true;
    return job;
  };
}
