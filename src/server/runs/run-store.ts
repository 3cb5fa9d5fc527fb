import { existsSync, lstatSync, readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { listCheckpoints } from "../../runs/checkpoint.ts";
import { CONFIG_FILE } from "../../runs/config-file.ts";
import { RunError } from "../../runs/errors.ts";
import { eventsPath } from "../../runs/event-log.ts";
import { logName } from "../../runs/log-head.ts";
import { glimpseRun, isPausedAfter } from "../../runs/run-glimpse.ts";
import type { RunGlimpse } from "../../runs/run-glimpse.ts";
import { RunRecord } from "../../runs/run-record.ts";
import type { RunAxis } from "../../runs/run-record.ts";
import { GLIMPSE_COUNT, runRow } from "../../runs/run-row.ts";
import {
  folderByteLength,
  isRun,
  isRunning,
  listRuns,
  settingsOf,
} from "../../runs/run-summary.ts";
import { defined } from "../../util/defined.ts";
import { downSample } from "../../util/plot/down-sample.ts";
import type { Curve } from "../../util/plot/down-sample.ts";
import { nearestName } from "../../util/nearest.ts";
import { belowOf } from "../below.ts";
import { Refusal } from "../errors.ts";
import type { CheckpointView, ComparisonView, RunDetail, RunRow, SeriesView } from "./views.ts";

/** Bytes of columns that are kept for runs that were looked at. */
const RECORD_BYTES = 192 * 2 ** 20;
/** Curves of runs that are kept when their columns are gone. */
const CURVE_LIMIT = 4000;
const SIZE_FOR_MS = 10_000;
const NOTICE_COUNT = 100;
/** Of a tokenizer_config.json that is looked into. */
const CONFIG_BYTES = 4 << 20;

/** Part of an axis, and about how many points of it. */
export interface CurveRequest {
  readonly axis: RunAxis;
  readonly from?: number | undefined;
  readonly to?: number | undefined;
  readonly limit: number;
}

interface KnownCurve {
  /** Of the log that it was made of. */
  readonly byteLength: number;
  readonly curve: Curve;
}

/**
 * The runs of a folder, read as they are asked for. What a list needs comes from glimpses at their logs; the logs that
 * curves need are read whole, one after another, without blocking, and kept as columns as long as there is room.
 */
export class RunStore {
  readonly root: string;
  /** In the order of their last use. */
  readonly #records = new Map<string, RunRecord>();
  readonly #glimpses = new Map<string, { readonly mark: string; readonly glimpse: RunGlimpse }>();
  readonly #sizes = new Map<string, { readonly readMs: number; readonly byteLength: number }>();
  readonly #curves = new Map<string, KnownCurve>();
  readonly #wanted = new Map<string, () => Promise<void>>();
  #isReading = false;

  constructor(root: string) {
    this.root = root;
  }

  get ids(): readonly string[] {
    const isInside = belowOf(this.root);
    return listRuns(this.root)
      .filter((folder) => staysBelow(folder, isInside))
      .map((folder) => basename(folder));
  }

  /** The folder of a run. Throws `Refusal` 404 for names that are none of this folder's runs. */
  folder(id: string): string {
    const folder = join(this.root, id);
    const isName = id !== "" && id === basename(id) && id !== "." && id !== "..";
    if (isName && existsSync(folder) && staysBelow(folder, belowOf(this.root)) && isRun(folder))
      return folder;
    const near = nearestName(id, this.ids);
    throw new Refusal(
      404,
      `there is no run ${JSON.stringify(id.slice(0, 100))} here${near === undefined ? "" : `; did you mean ${near}?`}`,
      { code: "unknown_run" },
    );
  }

  list(): readonly RunRow[] {
    return this.ids
      .map((id) => this.row(id))
      .sort((a, b) => (b.updatedAt ?? 0) - (a.updatedAt ?? 0) || (a.id < b.id ? -1 : 1));
  }

  row(id: string): RunRow {
    const folder = join(this.root, id);
    return runRow(folder, {
      glimpse: () => this.#glimpse(id),
      byteLength: () => this.#byteLength(folder),
    });
  }

  /** A run's log, read to its end. */
  async record(id: string): Promise<RunRecord> {
    const folder = this.folder(id);
    const record = this.#records.get(id) ?? new RunRecord(folder);
    this.#records.delete(id);
    this.#records.set(id, record);
    await record.refresh();
    this.#forgetRecords();
    return record;
  }

  async detail(id: string): Promise<RunDetail> {
    const record = await this.record(id);
    const { folder } = record;
    const end = record.last("end") ?? null;
    const row = this.row(id);
    const start = record.last("start") ?? null;
    const lastReport = record.series("train_loss", "step");
    const { config, configProblem } = settingsOf(folder);
    return {
      run: {
        ...row,
        isPaused: isRunning(folder) && isPausedAfter(record.events),
        evalLoss: lastOf(record.series("eval_loss", "step")?.y) ?? row.evalLoss,
        trainLoss: lastOf(lastReport?.y) ?? row.trainLoss,
      },
      log: logName(eventsPath(folder)),
      sequence: record.sequence,
      names: record.names,
      start,
      end,
      power: record.last("power") ?? null,
      timings: record.timings ?? null,
      progress: record.progress ?? null,
      failure: row.state === "running" ? null : failureOf(record),
      notices: record.events
        .filter((event) => event.kind === "notice")
        .slice(-NOTICE_COUNT)
        .map(({ step, message }) => ({ step, message })),
      checkpoints: this.#checkpoints(record),
      isChat: hasChatFile(listCheckpoints(folder).at(-1)?.folder),
      config,
      configProblem: configProblem ?? null,
      sampleCount: record.events.filter(({ kind }) => kind === "sample").length,
      predicted: end?.predicted ?? null,
    };
  }

  #checkpoints(record: RunRecord): readonly CheckpointView[] {
    const evaluations = record.series("eval_loss", "step");
    const losses = new Map<number, number>();
    for (let row = 0; row < (evaluations?.x.length ?? 0); row++)
      losses.set(evaluations?.x[row] ?? -1, evaluations?.y[row] ?? Number.NaN);
    return listCheckpoints(record.folder).map(({ folder, step }) => ({
      name: basename(folder),
      step,
      byteLength: this.#byteLength(folder),
      evalLoss: losses.get(step) ?? null,
    }));
  }

  /** Numbers of a run, sampled down. Those that it does not tell are left out. */
  async series(id: string, names: readonly string[], request: CurveRequest): Promise<SeriesView> {
    const record = await this.record(id);
    return {
      axis: request.axis,
      sequence: record.sequence,
      clock: record.clock,
      tokens: record.tokens,
      curves: names.flatMap((name) => {
        const curve = curveOf(record, name, request);
        return curve === undefined ? [] : [{ name, ...curve }];
      }),
    };
  }

  /**
   * One number of several runs. Logs that were not read are glimpsed, and read for the next time that the same is asked.
   */
  comparison(ids: readonly string[], name: string, request: CurveRequest): ComparisonView {
    const runs = ids.map((id) => {
      this.folder(id);
      const key = JSON.stringify([id, name, request]);
      const glimpse = this.#readable(id);
      if (glimpse === undefined) return { id, x: [], y: [], isWhole: true };
      const { byteLength, isWhole } = glimpse;
      const glimpsed = curveOfGlimpse(glimpse, name, request);
      if (isWhole && (glimpsed.x.length > 0 || byteLength === 0))
        return { id, ...glimpsed, isWhole };
      const known = this.#curves.get(key);
      if (known?.byteLength !== byteLength) this.#want(key, id, name, request);
      if (known !== undefined) return { id, ...known.curve, isWhole: true };
      return { id, ...glimpsed, isWhole: false };
    });
    return { axis: request.axis, name, runs };
  }

  /** Nothing for a log that cannot be read: the list says why, and a chart of the others goes on without it. */
  #readable(id: string): RunGlimpse | undefined {
    try {
      return this.#glimpse(id);
    } catch (error) {
      if (!(error instanceof RunError)) throw error;
      return undefined;
    }
  }

  /** Reads a log in the background, one at a time. */
  #want(key: string, id: string, name: string, request: CurveRequest): void {
    this.#wanted.set(key, async () => {
      const { byteLength } = this.#glimpse(id);
      let curve: Curve = { x: [], y: [] };
      try {
        curve = curveOf(await this.record(id), name, request) ?? curve;
      } catch (error) {
        // Of a later version from some resume on: whoever asks for that run is told.
        if (!(error instanceof RunError)) throw error;
      }
      this.#curves.delete(key);
      this.#curves.set(key, { byteLength, curve });
      for (const old of this.#curves.keys()) {
        if (this.#curves.size <= CURVE_LIMIT) break;
        this.#curves.delete(old);
      }
    });
    if (!this.#isReading) void this.#readWanted();
  }

  async #readWanted(): Promise<void> {
    this.#isReading = true;
    for (;;) {
      const [next] = this.#wanted;
      if (next === undefined) break;
      const [key, read] = next;
      try {
        await read();
      } catch {
        // A folder that is gone: whoever asks for that run is told.
      }
      this.#wanted.delete(key);
    }
    this.#isReading = false;
  }

  #glimpse(id: string): RunGlimpse {
    const folder = join(this.root, id);
    const status = statSync(eventsPath(folder), { throwIfNoEntry: false });
    const mark = `${status?.ino}:${status?.size}:${status?.mtimeMs}`;
    const known = this.#glimpses.get(id);
    if (known?.mark === mark) return known.glimpse;
    const glimpse = glimpseRun(folder, GLIMPSE_COUNT);
    this.#glimpses.set(id, { mark, glimpse });
    return glimpse;
  }

  #byteLength(folder: string): number {
    const known = this.#sizes.get(folder);
    if (known !== undefined && Date.now() - known.readMs < SIZE_FOR_MS) return known.byteLength;
    const byteLength = folderByteLength(folder);
    this.#sizes.set(folder, { readMs: Date.now(), byteLength });
    return byteLength;
  }

  /** The ones that were not used for longest, until the rest fits. */
  #forgetRecords(): void {
    let total = 0;
    for (const [id, record] of [...this.#records].toReversed()) {
      total += record.byteLength;
      if (total > RECORD_BYTES && total > record.byteLength) this.#records.delete(id);
    }
  }
}

/** What a glimpse tells of a number: of reports alone, and over steps and tokens. */
function curveOfGlimpse(
  { reports }: RunGlimpse,
  name: string,
  { axis, from, to, limit }: CurveRequest,
): Curve {
  if (axis === "seconds") return { x: [], y: [] };
  const points = reports.flatMap((event) => {
    const value = (event as Record<string, unknown>)[name];
    const x = axis === "step" ? event.step : event.trained_tokens;
    return typeof value === "number" ? [{ x, value }] : [];
  });
  return downSample(
    points.map(({ x }) => x),
    points.map(({ value }) => value),
    { limit, ...defined({ from, to }) },
  );
}

function curveOf(record: RunRecord, name: string, request: CurveRequest): Curve | undefined {
  const { axis, from, to, limit } = request;
  const series = record.series(name, axis);
  if (series === undefined) return undefined;
  return downSample(series.x, series.y, { limit, ...defined({ from, to }) });
}

/** The error by which a run's last process ended. */
function failureOf(record: RunRecord): string | null {
  const last = record.events.at(-1);
  return last?.kind === "notice" && last.failure === true ? last.message : null;
}

function lastOf(list: { readonly length: number; readonly [index: number]: number } | undefined) {
  return list === undefined ? undefined : list[list.length - 1];
}

/** Whether a run's folder and what is told of it stand below another folder, links followed. */
function staysBelow(folder: string, isInside: (path: string) => boolean): boolean {
  return [folder, eventsPath(folder), join(folder, CONFIG_FILE)].every(
    (path) => isInside(path) || (path !== folder && !isThere(path)),
  );
}

/** Whether there is anything of this name, a link that leads nowhere included. */
function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** Whether a model's folder has a chat template, by its files alone: a tokenizer takes long to read. */
function hasChatFile(folder: string | undefined): boolean {
  if (folder === undefined) return false;
  if (existsSync(join(folder, "chat_template.jinja"))) return true;
  const path = join(folder, "tokenizer_config.json");
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? Infinity;
  return size <= CONFIG_BYTES && readFileSync(path, "utf8").includes('"chat_template"');
}
