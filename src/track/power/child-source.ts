import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import type { Socket } from "node:net";
import { cleanLine, commandEnvironment, hasCommand } from "../../util/command.ts";
import { messageOf } from "../../util/errors.ts";
import type { MeterName, PowerSink, PowerSource } from "./meter.ts";

/** A command that prints readings until it is ended. */
export interface ChildCommand {
  readonly name: MeterName;
  readonly command: (intervalMs: number) => readonly [string, ...string[]];
  /** What ends a reading. */
  readonly separator: "\n" | "\0";
  /** Reads one; keeps what it must know of the last one in itself. Throws for garbage. */
  readonly reader: (intervalMs: number) => (text: string, sink: PowerSink) => void;
  /** A process group of its own: Ctrl-C does not reach it, and what it started ends with it. */
  readonly ownGroup: boolean;
  /** How long it may be silent. Default 5 s, and at least ten intervals. */
  readonly silenceMs?: number;
}

/** A reading of powermetrics is some 10 kB. */
const MAXIMUM_READING = 1 << 20;
const KEPT_ERROR_TEXT = 2000;
const DEFAULT_SILENCE_MS = 5000;

export function childSource(child: ChildCommand): PowerSource {
  return { name: child.name, open: (sink, intervalMs) => watch(child, sink, intervalMs) };
}

/** Children that still run, ended with the process whatever ends it by way of `exit`. */
const running = new Set<() => void>();
function endAll(): void {
  for (const end of running) end();
}

function watch(spec: ChildCommand, sink: PowerSink, intervalMs: number): () => void {
  const [command, ...operands] = spec.command(intervalMs);
  if (!hasCommand(command)) {
    let isWanted = true;
    // Not before whoever opens it knows that it is open.
    process.nextTick(() => {
      if (isWanted) sink.fail(`there is no ${command} on this machine`);
    });
    return () => {
      isWanted = false;
    };
  }
  const child = spawn(command, operands, {
    stdio: ["ignore", "pipe", "pipe"],
    detached: spec.ownGroup,
    env: commandEnvironment(),
  });
  const read = spec.reader(intervalMs);
  let pending = "";
  let said = "";
  let silentTicks = 0;
  let isOver = false;
  const silenceMs = spec.silenceMs ?? Math.max(DEFAULT_SILENCE_MS, 10 * intervalMs);
  // Two ticks without a word: one may come late, after the machine slept.
  const watchdog = setInterval(() => {
    if (++silentTicks > 2) fail(`it has told nothing for ${silenceMs / 1000} s`);
  }, silenceMs / 2);
  watchdog.unref();
  const close = (): void => {
    if (isOver) return;
    isOver = true;
    clearInterval(watchdog);
    running.delete(close);
    if (running.size === 0) process.off("exit", endAll);
    end(child, spec.ownGroup);
  };
  const fail = (reason: string): void => {
    if (isOver) return;
    close();
    sink.fail(reason);
  };
  child.on("error", (error: NodeJS.ErrnoException) => {
    fail(error.code === "ENOENT" ? `there is no ${command} on this machine` : messageOf(error));
  });
  child.on("close", (code, signal) => {
    const why = cleanLine(said);
    fail(
      `${command} ended ${signal === null ? `with code ${code}` : `by ${signal}`}${why && `: ${why}`}`,
    );
  });
  child.stdout.setEncoding("utf8");
  child.stdout.on("data", (chunk: string) => {
    const parts = (pending + chunk).split(spec.separator);
    pending = parts.pop() ?? "";
    if (pending.length > MAXIMUM_READING) fail("it prints no readings but garbage");
    for (const part of parts) {
      if (isOver) return;
      if (part.trim() === "") continue;
      silentTicks = 0;
      try {
        read(part, sink);
      } catch (error) {
        fail(`it printed what is no reading: ${messageOf(error)}`);
      }
    }
  });
  child.stderr.setEncoding("utf8");
  child.stderr.on("data", (chunk: string) => {
    said = (said + chunk).slice(0, KEPT_ERROR_TEXT);
  });
  // Nothing of it keeps this process alive.
  child.unref();
  for (const stream of [child.stdout, child.stderr]) (stream as unknown as Socket).unref();
  if (running.size === 0) process.on("exit", endAll);
  running.add(close);
  return close;
}

/** Its pipes closed, even a process that may not be signalled ends with its next word. */
function end(child: ChildProcess, ownGroup: boolean): void {
  child.stdout?.destroy();
  child.stderr?.destroy();
  if (child.pid === undefined) return;
  try {
    if (ownGroup) process.kill(-child.pid, "SIGKILL");
    else child.kill("SIGTERM");
  } catch {
    // It is gone already, or belongs to root.
  }
}
