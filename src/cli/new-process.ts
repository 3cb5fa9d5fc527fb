import { spawn } from "node:child_process";
import { AnecdoteError } from "../util/errors.ts";
import { STOP_SIGNALS } from "./interruptions.ts";
import type { Interruptions } from "./interruptions.ts";

/** How far a run has come: whole steps (or cases), and what is still due after the last of them. */
export interface RunProgress {
  readonly step: number;
  readonly left: number;
}

/** Set in a process that another one started to go on with its run: the token of its lock, or 1. */
const MARK = "ANECDOTE_CONTINUED_RUN";
/** Exit code of such a process when it wants to be followed by another one. */
const FOLLOW_ME = 75;

/** What the new process gets besides this one's command line. */
export interface Handover {
  readonly flags: readonly string[];
  /** Of this process's lock on the run's folder, where it has one; the new one is to hold it as well. */
  readonly lockToken?: string;
}

/** What the two processes tell each other. */
type Message =
  | { readonly kind: "follow"; readonly progress: RunProgress }
  | { readonly kind: "interrupt"; readonly presses: number };

/** How a command ends that went on in new processes. */
export type ContinuedEnd =
  | { readonly kind: "ended"; readonly code: number }
  /** Another process follows this one, which only has to go. */
  | { readonly kind: "followed"; readonly code: number }
  /** It was to be stopped while no process was at work: its last checkpoint is of this step. */
  | { readonly kind: "interrupted"; readonly step: number };

/**
 * Goes on with this command in a new process, and returns what it ends with. Its input, output and
 * terminal are this one's; interruptions of either process reach the other one; it is followed by another one whenever
 * it asks for that. The processes stand side by side, never more than two of them. Throws `AnecdoteError`
 * `engine.ane.budget` when one comes no further than the one before.
 */
export async function goOnInNewProcess(
  reached: RunProgress,
  interruptions: Interruptions,
  handover: Handover,
): Promise<ContinuedEnd> {
  await flushed();
  if (isContinued()) {
    if (interruptions.count === 0) await tell({ kind: "follow", progress: reached });
    return interruptions.count > 0
      ? { kind: "interrupted", step: reached.step }
      : { kind: "followed", code: FOLLOW_ME };
  }
  let before = reached;
  for (;;) {
    if (interruptions.count > 0) return { kind: "interrupted", step: before.step };
    const { code, signal, progress } = await runAgain(interruptions, handover);
    // Such a signal ends it only before it listens: it has done nothing yet.
    if (STOP_SIGNALS.some((name) => name === signal))
      return { kind: "interrupted", step: before.step };
    if (signal !== null) process.kill(process.pid, signal);
    if (progress === undefined) return { kind: "ended", code: code ?? 1 };
    if (!isFurther(progress, before)) throw noProgress(before);
    before = progress;
  }
}

/** In a process that goes on with another one's run: the token of that one's lock. */
export function lockTokenFromBefore(): string | undefined {
  return isContinued() ? process.env[MARK] : undefined;
}

/** Whether this process goes on with another one's run. */
function isContinued(): boolean {
  return process.env[MARK] !== undefined && process.send !== undefined;
}

/** Once it is on its way, or the process before this one has gone. */
async function tell(message: Message): Promise<void> {
  await new Promise<void>((resolve) => {
    process.send?.(message, undefined, undefined, () => resolve());
  });
}

/**
 * Shares interruptions with the process that this one continues, where there is one: a terminal tells both, anybody
 * else one of them. When that process ends, so should this one.
 */
export function shareWithProcessBefore(interruptions: Interruptions): void {
  if (!isContinued()) return;
  process.on("message", (message: Message) => {
    if (message.kind === "interrupt") interruptions.hear(message.presses);
  });
  process.on("disconnect", () => interruptions.hear(1));
  // Listening must not keep the process alive.
  process.channel?.unref();
  if (!process.connected) interruptions.hear(1);
  interruptions.listen((presses) => void tell({ kind: "interrupt", presses }));
}

interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Where it wants to be followed. */
  readonly progress: RunProgress | undefined;
}

async function runAgain(
  interruptions: Interruptions,
  { flags, lockToken = "1" }: Handover,
): Promise<ProcessEnd> {
  const given = process.argv.slice(1);
  const child = spawn(process.execPath, [...process.execArgv, ...given, ...flags], {
    stdio: ["inherit", "inherit", "inherit", "ipc"],
    env: { ...process.env, [MARK]: lockToken },
  });
  let progress: RunProgress | undefined;
  child.on("message", (message: Message) => {
    if (message.kind === "follow") progress = message.progress;
    else interruptions.hear(message.presses);
  });
  // The number of interruptions, not the signals: those of a terminal have reached it already.
  const stopSharing = interruptions.listen((presses) => {
    child.send({ kind: "interrupt", presses } satisfies Message, () => undefined);
  });
  try {
    return await new Promise((resolve, reject) => {
      child.on("error", reject);
      // Later than "exit": what it told is heard by then.
      child.on("close", (code, signal) => {
        resolve({ code, signal, progress: code === FOLLOW_ME ? progress : undefined });
      });
    });
  } finally {
    stopSharing();
  }
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
