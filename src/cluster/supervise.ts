import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { GET_OPEN_MPI } from "./mpi/library.ts";
import { ClusterError } from "./errors.ts";

/** mpirun hands this one on to all it has started; the first makes a run save and stop. */
const ASK_TO_SAVE = "SIGUSR2";
const LONGEST_PAUSE_SECONDS = 60;

/** What is run again and again until it is done. */
export interface SupervisedRun {
  /** mpirun's words and the program's. `isAgain`: the run is to go on from where its folder stands. */
  readonly words: (isAgain: boolean) => readonly string[];
  /** How far the run is on disk: the step of its newest checkpoint. */
  readonly progress: () => number;
  /** Starts in a row that got no further after which nobody tries any more. */
  readonly restarts: number;
  /** Seconds before the second start; each further one that got no further waits twice as long. */
  readonly pauseSeconds: number;
  /** Exit codes of a program that would end the same way again. */
  readonly finalCodes: ReadonlySet<number>;
  readonly tell: (text: string) => void;
  /** Each abort asks once more: to save and stop, to end, to end at once. */
  readonly stops: { listen(listener: (count: number) => void): () => void };
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

/**
 * Runs mpirun, and again from the newest checkpoint as often as a process or a machine fails, until the run is done.
 * Returns the exit code. Throws `ClusterError` where there is no mpirun.
 */
export async function supervise(run: SupervisedRun): Promise<number> {
  let failures = 0;
  let stopCount = 0;
  let child: ChildProcess | undefined;
  const wake = new AbortController();
  const stopListening = run.stops.listen((count) => {
    stopCount = count;
    wake.abort();
    child?.kill(count === 1 ? ASK_TO_SAVE : count === 2 ? "SIGTERM" : "SIGKILL");
  });
  try {
    for (let isAgain = false; ; isAgain = true) {
      const before = run.progress();
      // A group of its own: a terminal's Ctrl-C comes here alone, and mpirun does not end what is to save.
      child = spawn("mpirun", run.words(isAgain), {
        detached: true,
        stdio: ["ignore", "inherit", "inherit"],
        env: { ...process.env, ...run.environment },
      });
      const code = await exitCodeOf(child);
      child = undefined;
      if (code === 0 || stopCount > 0 || run.finalCodes.has(code)) return code;
      const after = run.progress();
      failures = after > before ? 1 : failures + 1;
      if (failures > run.restarts) {
        run.tell(`${failures} starts in a row got no further than step ${after}; giving up`);
        return code;
      }
      const pause = Math.min(LONGEST_PAUSE_SECONDS, run.pauseSeconds * 2 ** (failures - 1));
      const from = after > 0 ? `from step ${after}` : "from the beginning";
      run.tell(`the run ended with code ${code}; it goes on ${from} in ${pause} s`);
      await delay(1000 * pause, undefined, { signal: wake.signal }).catch(() => undefined);
      if (stopCount > 0) return code;
    }
  } finally {
    stopListening();
  }
}

async function exitCodeOf(child: ChildProcess): Promise<number> {
  return await new Promise<number>((resolve, reject) => {
    child.on("error", (error) =>
      reject(
        new ClusterError("cluster.mpirun", `mpirun cannot be started: ${error.message}`, {
          remedy: GET_OPEN_MPI,
          cause: error,
        }),
      ),
    );
    child.on("exit", (code) => resolve(code ?? 1));
  });
}
