import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { AnecdoteError } from "../../util/errors.ts";
import type { EnergyReading } from "../../util/energy.ts";
import { compiledUrl } from "../../util/source-layout.ts";
import type { TrainEvent } from "../../runs/events.ts";
import type { TrainConfig } from "../config/config.ts";
import type { PowerState } from "../costs/energy-block.ts";
import type { TrainProgress } from "./run-context.ts";
import { revived } from "./session-options.ts";
import type { SessionOptions, ToldError } from "./session-options.ts";

/** What the process that trains is told. */
export type ToChild =
  | {
      readonly kind: "train";
      readonly config: TrainConfig;
      readonly stuckAfterMs?: number;
      readonly isMetered: boolean;
    }
  | { readonly kind: "stop" }
  | { readonly kind: "energy"; readonly state: PowerState; readonly energy: EnergyReading };

/** What it tells; `end` and `error` are its last words. */
export type FromChild =
  | { readonly kind: "ready" }
  | { readonly kind: "event"; readonly event: TrainEvent }
  | { readonly kind: "progress"; readonly text: string; readonly at?: TrainProgress }
  | { readonly kind: "stop"; readonly how: "save" | "leave" }
  | { readonly kind: "end"; readonly event: TrainEvent }
  | ({ readonly kind: "error" } & ToldError);

/** How often the energy that was read here is told there. */
const ENERGY_EVERY_MS = 200;
/** A process that has said its last words and does not go: a thread of it may hang in native code. */
const LEAVES_WITHIN_MS = 5000;
/** Signals that somebody outside sends; every other one is a crash. */
const FROM_OUTSIDE: readonly string[] = ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"];

/**
 * Trains in a process of its own, whose native libraries may crash: then it rejects with `engine.ane.crash`. Otherwise
 * as `trainInWorker`, for whoever holds the lock of the run's folder. The process outlives nobody: where this one
 * goes, it saves and ends.
 */
export async function trainApart(
  config: TrainConfig,
  { onEvent, onProgress, onStop, signal, energy, stuckAfterMs }: SessionOptions,
): Promise<TrainEvent> {
  const child = spawn(
    process.execPath,
    [fileURLToPath(compiledUrl("train/run/apart-process.ts"))],
    {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    },
  );
  const tell = (message: ToChild): void => {
    if (child.connected) child.send(message, () => undefined);
  };
  const stop = (): void => tell({ kind: "stop" });
  const energyTimer = setInterval(() => {
    if (energy !== undefined) tell({ kind: "energy", state: energy.state, energy: energy.energy });
  }, ENERGY_EVERY_MS);
  let leaveTimer: NodeJS.Timeout | undefined;
  let last: TrainEvent | undefined;
  let failure: Error | undefined;
  const closed = new Promise<{ code: number | null; death: NodeJS.Signals | null }>((resolve) => {
    child.on("error", (error) => {
      failure = new AnecdoteError("train.worker", `no process to train in: ${error.message}`);
      resolve({ code: 1, death: null });
    });
    child.on("exit", (code, death) => resolve({ code, death }));
  });
  const leave = (): void => {
    leaveTimer ??= setTimeout(() => child.kill("SIGKILL"), LEAVES_WITHIN_MS);
  };
  child.on("message", (message: FromChild) => {
    switch (message.kind) {
      case "ready":
        tell({
          ...{ kind: "train", config, isMetered: energy !== undefined },
          ...(stuckAfterMs !== undefined && { stuckAfterMs }),
        });
        if (signal?.aborted === true) stop();
        break;
      case "event":
        onEvent?.(message.event);
        break;
      case "progress":
        onProgress?.(message.text, message.at);
        break;
      case "stop":
        onStop?.(message.how);
        break;
      case "end":
        last = message.event;
        leave();
        break;
      case "error":
        failure = revived(message);
        leave();
        break;
    }
  });
  signal?.addEventListener("abort", stop);
  const { code, death } = await closed.finally(() => {
    clearInterval(energyTimer);
    clearTimeout(leaveTimer);
    signal?.removeEventListener("abort", stop);
  });
  if (failure !== undefined) throw failure;
  if (last !== undefined) return last;
  if (death !== null && FROM_OUTSIDE.includes(death)) {
    throw new AnecdoteError("train.worker", `the process that trained was ended by ${death}`, {
      remedy: "Go on from its last checkpoint: --resume.",
    });
  }
  throw new AnecdoteError(
    "engine.ane.crash",
    `the Neural Engine's library crashed: the process that used it ${death === null ? `ended with code ${code ?? 1}` : `was ended by ${death}`}`,
    { remedy: "Go on from its last checkpoint: --resume --engine cpu." },
  );
}
