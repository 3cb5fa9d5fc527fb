import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { AnecdoteError } from "../util/errors.ts";
import { EXIT_CODES } from "./errors.ts";

/** How far a run has come: whole steps, and what is still due after the last of them. */
export interface RunProgress {
  readonly step: number;
  readonly left: number;
}

/** Set in a process that another one started to go on with its run. */
const MARK = "ANECDOTE_CONTINUED_RUN";
/** Exit code of such a process when it wants to be followed by another one. */
const FOLLOW_ME = 75;

/** What the two processes tell each other. */
type Message =
  | { readonly kind: "follow"; readonly progress: RunProgress }
  | { readonly kind: "interrupt"; readonly presses: number };

/**
 * Goes on with this command in a new process, with `--resume`, and returns what it ends with. Its input, output and
 * terminal are this one's; signals to this process reach it; it is followed by another one whenever it asks for
 * that. The processes stand side by side, never more than two of them. Throws `AnecdoteError` `engine.ane.budget`
 * when one comes no further than the one before.
 */
export async function goOnInNewProcess(reached: RunProgress): Promise<number> {
  await flushed();
  if (isContinued()) {
    await new Promise<void>((resolve) => {
      process.send?.({ kind: "follow", progress: reached } satisfies Message, () => resolve());
    });
    return FOLLOW_ME;
  }
  let before = reached;
  for (;;) {
    const end = await runAgain();
    if (end.signal !== null) process.kill(process.pid, end.signal);
    if (end.progress === undefined) return end.code ?? 1;
    // It ended just when it was to be stopped: nothing is to follow.
    if (end.presses > 0) return EXIT_CODES.interrupted;
    if (!isFurther(end.progress, before)) throw noProgress(before);
    before = end.progress;
  }
}

/** Whether this process goes on with another one's run. */
function isContinued(): boolean {
  return process.env[MARK] !== undefined && process.send !== undefined;
}

/**
 * Hears of interruptions that the process this one continues has received: how many there were so far. A terminal
 * tells both processes, anybody else that one alone; when it ends, so should this one. Returns what ends this.
 */
export function onInterruptFromBefore(hear: (presses: number) => void): () => void {
  if (!isContinued()) return () => undefined;
  const onMessage = (message: Message): void => {
    if (message.kind === "interrupt") hear(message.presses);
  };
  const onDisconnect = (): void => hear(1);
  process.on("message", onMessage);
  process.on("disconnect", onDisconnect);
  // Listening must not keep the process alive.
  process.channel?.unref();
  return () => {
    process.off("message", onMessage);
    process.off("disconnect", onDisconnect);
  };
}

interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly progress: RunProgress | undefined;
  /** Interruptions of this process while that one ran. */
  readonly presses: number;
}

async function runAgain(): Promise<ProcessEnd> {
  const [script = "", ...args] = process.argv.slice(1);
  const flags = args.includes("--resume") ? args : [...args, "--resume"];
  const child = spawn(process.execPath, [...process.execArgv, script, ...flags], {
    stdio: ["inherit", "inherit", "inherit", "ipc"],
    env: { ...process.env, [MARK]: "1" },
  });
  const relay = relayInterrupts(child);
  let progress: RunProgress | undefined;
  child.on("message", (message: Message) => {
    if (message.kind === "follow") progress = message.progress;
  });
  try {
    return await new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("exit", (code, signal) => {
        resolve({
          code,
          signal,
          progress: code === FOLLOW_ME ? progress : undefined,
          presses: relay.presses(),
        });
      });
    });
  } finally {
    relay.stop();
  }
}

/** The number of interruptions, not the signals: those of a terminal have reached the child already. */
function relayInterrupts(child: ChildProcess): {
  readonly presses: () => number;
  readonly stop: () => void;
} {
  let presses = 0;
  const relay = (): void => {
    presses++;
    if (child.connected) child.send({ kind: "interrupt", presses } satisfies Message);
  };
  process.on("SIGINT", relay);
  process.on("SIGTERM", relay);
  return {
    presses: () => presses,
    stop: () => {
      process.off("SIGINT", relay);
      process.off("SIGTERM", relay);
    },
  };
}

function isFurther(now: RunProgress, before: RunProgress): boolean {
  return now.step > before.step || (now.step === before.step && now.left < before.left);
}

function noProgress({ step, left }: RunProgress): AnecdoteError {
  return new AnecdoteError(
    "engine.ane.budget",
    `a new process came no further than step ${step}${left > 0 ? ` with ${left} things due after it` : ""}: what follows needs more programs than one process may compile`,
    {
      remedy:
        "The last checkpoint is intact. Raise ANECDOTE_ANE_COMPILE_BUDGET, or use --ane-driver e5rt, which has no such limit.",
    },
  );
}

/** What was written must stand before what the new process writes. */
async function flushed(): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) {
    await new Promise<void>((resolve) => {
      stream.write("", () => resolve());
    });
  }
}
