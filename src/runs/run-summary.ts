import { existsSync, lstatSync, readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { parse as parseYaml } from "yaml";
import { readSmallFile } from "../util/byte-source.ts";
import { AnecdoteError, messageOf } from "../util/errors.ts";
import { didYouMean } from "../util/nearest.ts";
import { lockHolder } from "../util/process-lock.ts";
import { listCheckpoints } from "./checkpoint.ts";
import { CONFIG_FILE, withoutConfigVersion } from "./config-file.ts";
import { RunError } from "./errors.ts";
import { eventsPath, readEvents } from "./event-log.ts";
import type { NumberedEvent, TrainEvent } from "./events.ts";
import { LOCK_FILE } from "./run-lock.ts";

const CONFIG_BYTES = 1 << 20;

/**
 * "stopped": it can be resumed; "died": it was, without saying so; "empty": it has no step yet; "unreadable": its log is
 * of a later version.
 */
export type RunState = "running" | "finished" | "stopped" | "died" | "empty" | "unreadable";

/** A number of a step. */
export interface SeriesPoint {
  readonly step: number;
  readonly value: number;
}

/** A checkpoint of a run. */
export interface RunCheckpoint {
  readonly folder: string;
  readonly step: number;
  readonly byteLength: number;
  /** Of the last evaluation at this step, where there was one. */
  readonly evalLoss: number | undefined;
}

/** What a run's folder says of it. */
export interface RunSummary {
  readonly name: string;
  readonly folder: string;
  readonly state: RunState;
  readonly step: number;
  readonly maxSteps: number | undefined;
  /** "storyteller", or where the model is from. */
  readonly model: string | undefined;
  readonly parameterCount: number | undefined;
  readonly engine: string | undefined;
  readonly device: string | undefined;
  readonly trainLosses: readonly SeriesPoint[];
  readonly evalLosses: readonly SeriesPoint[];
  readonly tokensPerSecond: number | undefined;
  readonly joulesPerToken: number | undefined;
  /** Seconds since 1970: of the first and of the last event. */
  readonly startedAt: number | undefined;
  readonly updatedAt: number | undefined;
  readonly samples: readonly { readonly step: number; readonly text: string }[];
  readonly checkpoints: readonly RunCheckpoint[];
  /** Of the whole folder. */
  readonly byteLength: number;
  /** Settings as config.yaml has them; empty where there is none. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Why there are none, where there is a file of them that cannot be read. */
  readonly configProblem?: string;
}

/** Whether a folder is a run's. */
export function isRun(folder: string): boolean {
  return existsSync(eventsPath(folder)) || listCheckpoints(folder).length > 0;
}

/** Folders of runs directly in a folder, by name. */
export function listRuns(root: string): readonly string[] {
  if (!existsSync(root) || !statSync(root).isDirectory()) return [];
  return readdirSync(root)
    .sort()
    .map((name) => join(root, name))
    .filter((folder) => statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true)
    .filter(isRun);
}

/** A run by its folder, or by its name in `root`. Throws `RunError` `run.unknown` where there is none. */
export function findRun(name: string, root: string): string {
  for (const folder of [name, join(root, name)]) if (isRun(folder)) return folder;
  const known = listRuns(root).map((folder) => basename(folder));
  const place = existsSync(name)
    ? `${name} is no run`
    : `there is no run ${name} here or in ${root}`;
  throw new RunError("run.unknown", `${place}.${didYouMean(name, known)}`, {
    remedy: "`anecdote runs list` shows them; another folder of runs is --runs-dir.",
  });
}

/** Reads a run's folder, which another process may be writing. Throws `RunError` for a log of a later version. */
export function readRun(folder: string): RunSummary {
  const events = readEvents(eventsPath(folder));
  const start = lastOf(events, "start");
  const step = lastOf(events, "step");
  const end = lastOf(events, "end");
  const costs = end ?? step;
  const evaluations = events.filter((event) => event.kind === "eval");
  return {
    name: basename(folder),
    folder,
    state: stateOf(folder, events),
    step: events.at(-1)?.step ?? listCheckpoints(folder).at(-1)?.step ?? 0,
    maxSteps: start?.max_steps,
    model: start?.preset ?? start?.model,
    parameterCount: start?.parameters,
    engine: start?.engine,
    device: start?.device,
    trainLosses: events.flatMap((event) =>
      event.kind === "step" ? [{ step: event.step, value: event.train_loss }] : [],
    ),
    evalLosses: evaluations.map((event) => ({ step: event.step, value: event.eval_loss })),
    tokensPerSecond: costs?.tokens_per_second,
    joulesPerToken: costs?.joules_per_token,
    startedAt: events[0]?.t,
    updatedAt: events.at(-1)?.t,
    samples: events.flatMap((event) =>
      event.kind === "sample" ? [{ step: event.step, text: `${event.prompt}${event.text}` }] : [],
    ),
    checkpoints: listCheckpoints(folder).map((checkpoint) => ({
      ...checkpoint,
      byteLength: folderByteLength(checkpoint.folder),
      evalLoss: evaluations.findLast((event) => event.step === checkpoint.step)?.eval_loss,
    })),
    byteLength: folderByteLength(folder),
    ...settingsOf(folder),
  };
}

/** A run's settings, or why they cannot be read: what else its folder says is told all the same. */
export function settingsOf(folder: string): Pick<RunSummary, "config" | "configProblem"> {
  try {
    return { config: readConfig(folder) };
  } catch (error) {
    if (!(error instanceof AnecdoteError)) throw error;
    return { config: {}, configProblem: error.message };
  }
}

function lastOf<Kind extends TrainEvent["kind"]>(
  events: readonly NumberedEvent[],
  kind: Kind,
): Extract<NumberedEvent, { readonly kind: Kind }> | undefined {
  return events.findLast(
    (event): event is Extract<NumberedEvent, { readonly kind: Kind }> => event.kind === kind,
  );
}

function stateOf(folder: string, events: readonly NumberedEvent[]): RunState {
  const last = events.findLast(({ kind }) => kind !== "notice");
  return stateAfter(
    folder,
    last?.kind,
    events.some(({ kind }) => kind === "step" || kind === "save"),
  );
}

/** What a run does, by its lock, the last event of its log that is no notice, and whether the log has a report. */
export function stateAfter(
  folder: string,
  last: TrainEvent["kind"] | undefined,
  isReported: boolean,
): RunState {
  if (isRunning(folder)) return "running";
  if (last === "end") return "finished";
  if (last === "interrupted") return "stopped";
  return isReported || listCheckpoints(folder).length > 0 ? "died" : "empty";
}

/** Whether a process trains there now. */
export function isRunning(folder: string): boolean {
  return lockHolder(join(folder, LOCK_FILE)) !== undefined;
}

/**
 * Settings as config.yaml has them; empty where there is none. Throws `RunError` for those of a later version, and for a
 * file that is no YAML; `FileError` for one that is too large.
 */
export function readConfig(folder: string): Readonly<Record<string, unknown>> {
  const path = join(folder, CONFIG_FILE);
  if (!existsSync(path)) return {};
  const text = Buffer.from(readSmallFile(path, CONFIG_BYTES)).toString("utf8");
  let content: unknown;
  try {
    content = parseYaml(text);
  } catch (error) {
    throw new RunError("run.config", `${path} cannot be read: ${messageOf(error).trim()}`, {
      remedy: "Mend it, or remove it: what the run told stands in its log.",
      cause: error,
    });
  }
  return typeof content === "object" && content !== null ? withoutConfigVersion(path, content) : {};
}

/** Bytes of all files below a folder; links are not followed, and what vanishes meanwhile does not count. */
export function folderByteLength(folder: string): number {
  let byteLength = 0;
  for (const name of namesIn(folder)) {
    const path = join(folder, name);
    const status = lstatSync(path, { throwIfNoEntry: false });
    if (status === undefined) continue;
    byteLength += status.isDirectory() ? folderByteLength(path) : status.size;
  }
  return byteLength;
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // gone meanwhile, or of somebody who lets nobody look
  }
}
