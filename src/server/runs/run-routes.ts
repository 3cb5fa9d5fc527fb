import { existsSync } from "node:fs";
import type { Context } from "hono";
import { streamSSE } from "hono/streaming";
import { z } from "zod";
import { compareSettings } from "../../runs/compare-settings.ts";
import { RunError } from "../../runs/errors.ts";
import { eventsPath, logEnd } from "../../runs/event-log.ts";
import { COMMANDS } from "../../runs/events.ts";
import { followEvents } from "../../runs/follow-events.ts";
import { logName } from "../../runs/log-head.ts";
import { askRun, runToken } from "../../runs/run-control.ts";
import { AXES } from "../../runs/run-record.ts";
import { settingsOf } from "../../runs/run-summary.ts";
import { jsonBody } from "../application.ts";
import type { Application, ApplicationContext } from "../application.ts";
import { Refusal } from "../errors.ts";
import type { PageKey } from "../page-key.ts";
import type { CurveRequest, RunStore } from "./run-store.ts";
import type { RunList, SampleView, SettingsView } from "./views.ts";

/** What keeps a connection that has nothing to tell from being taken for a dead one. */
const HEARTBEAT_MS = 10_000;
const POLL_MS = 250;
const MOST_RUNS = 500;
const MOST_POINTS = 20_000;

const number = z.coerce.number().refine(Number.isFinite, "is a finite number");
const curveSchema = z.object({
  axis: z.enum(AXES).default("step"),
  from: number.optional(),
  to: number.optional(),
  points: z.coerce.number().int().min(10).max(MOST_POINTS).default(1000),
});
const commaSeparated = (text: string): readonly string[] =>
  text.split(",").filter((name) => name !== "");
const names = z.string().transform(commaSeparated);
const seriesSchema = curveSchema.extend({ names });
const comparisonSchema = curveSchema.extend({ name: z.string().default("train_loss") });
const samplesSchema = z.object({ limit: z.coerce.number().int().min(1).max(10_000).default(200) });
const eventsSchema = z.object({ after: z.coerce.number().int().nonnegative().optional() });
const actionSchema = z.strictObject({ command: z.enum(COMMANDS) });

/** What the routes of runs stand on. */
export interface RunRoutesOptions {
  readonly store: RunStore;
  /** Wanted of whoever asks for a run's token. */
  readonly key: PageKey;
}

/**
 * Adds the routes of runs, all below `/api`: the list, a run, its numbers sampled down, its samples and settings, its
 * events as they come, and what it can be asked for. Reading is free for whoever may ask the application; to pause, save
 * or stop a run takes the run's token, which is told to those who have the page's key.
 */
export function addRunRoutes(application: Application, { store, key }: RunRoutesOptions): void {
  application.get("/api/runs", (context) =>
    json(context, { root: store.root, runs: store.list() } satisfies RunList),
  );
  application.get("/api/comparison", (context) => {
    const { name, ...request } = queryOf(context, comparisonSchema);
    const runs = runsOf(context);
    if (runs.length > MOST_RUNS)
      throw new Refusal(400, `at most ${MOST_RUNS} runs are compared at once`);
    return json(context, store.comparison(runs, name, requestOf(request)));
  });
  application.get("/api/settings", (context) => {
    const runs = runsOf(context);
    const rows = compareSettings(
      runs.map((id) => {
        const { config, configProblem } = settingsOf(store.folder(id));
        if (configProblem === undefined) return config;
        throw new Refusal(422, configProblem, { param: "run", code: "run_config" });
      }),
    );
    return json(context, { ids: runs, rows } satisfies SettingsView);
  });
  application.get("/api/runs/:id", async (context) =>
    json(context, await known(async () => store.detail(context.req.param("id")))),
  );
  application.get("/api/runs/:id/series", async (context) => {
    const { names: wanted, ...request } = queryOf(context, seriesSchema);
    const id = context.req.param("id");
    return json(context, await known(async () => store.series(id, wanted, requestOf(request))));
  });
  application.get("/api/runs/:id/samples", async (context) => {
    const { limit } = queryOf(context, samplesSchema);
    const record = await known(async () => store.record(context.req.param("id")));
    const samples: SampleView[] = record.events
      .filter((event) => event.kind === "sample")
      .slice(-limit)
      .map(({ step, prompt, text }) => ({ step, prompt, text }));
    return json(context, samples);
  });
  application.get("/api/runs/:id/events", (context) => eventStream(context, store));
  application.get("/api/runs/:id/token", (context) => {
    const folder = store.folder(context.req.param("id"));
    key.require(context.req.header("authorization"));
    const token = runToken(folder);
    if (token === undefined)
      throw new Refusal(409, `nobody trains in ${folder} now`, { code: "run_not_running" });
    return json(context, { token });
  });
  application.post("/api/runs/:id/actions", (context) => {
    const folder = store.folder(context.req.param("id"));
    const action = actionSchema.safeParse(jsonBody(context));
    if (!action.success)
      throw new Refusal(400, `an action is {"command": one of ${COMMANDS.join(", ")}}`, {
        param: "command",
      });
    const token = context.req.header("x-run-token");
    if (token === undefined)
      throw new Refusal(403, "an action takes the run's token, as the header X-Run-Token", {
        code: "run_token_missing",
      });
    try {
      askRun(folder, token, action.data.command);
    } catch (error) {
      if (!(error instanceof RunError)) throw error;
      const isOther = error.code === "run.control.token";
      throw new Refusal(isOther ? 403 : 409, error.message, {
        code: isOther ? "run_token_wrong" : "run_not_running",
      });
    }
    return context.json({ asked: action.data.command }, 202);
  });
}

/** Numbers change from one second to the next: nobody keeps an answer. */
function json(context: Context, value: unknown): Response {
  return context.json(value as object, 200, { "Cache-Control": "no-store" });
}

function requestOf({ points, axis, from, to }: z.infer<typeof curveSchema>): CurveRequest {
  return { axis, limit: points, from, to };
}

/** The runs that are meant: `run=A&run=B`, or `runs=A,B` where no name has a comma. */
function runsOf(context: Context): readonly string[] {
  return [
    ...(context.req.queries("run") ?? []),
    ...commaSeparated(context.req.query("runs") ?? ""),
  ];
}

function queryOf<Schema extends z.ZodType>(context: Context, schema: Schema): z.output<Schema> {
  const query = schema.safeParse(context.req.query());
  if (query.success) return query.data;
  const [issue] = query.error.issues;
  const name = issue?.path.join(".") ?? "";
  throw new Refusal(400, `${name}: ${issue?.message ?? "cannot be read"}`, { param: name });
}

/** What is wrong with a run's files is told to whoever asks for that run. */
async function known<Result>(read: () => Promise<Result>): Promise<Result> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof RunError)
      throw new Refusal(422, error.message, { code: error.code.replaceAll(".", "_") });
    throw error;
  }
}

/**
 * A run's events as server-sent events, each with its number as `id`: from the number after `Last-Event-ID` or `after`
 * on, else all. A reader that knows more than the log holds is told that everything is taken back. Before them an event
 * of the type `log` names the log, as the run's detail does: with another name it is another one's, and numbers begin anew.
 */
function eventStream(context: ApplicationContext, store: RunStore): Response {
  const folder = store.folder(context.req.param("id") ?? "");
  const query = queryOf(context, eventsSchema);
  const last = Number(context.req.header("last-event-id") ?? Number.NaN);
  const given = Number.isInteger(last) && last >= 0 ? last : (query.after ?? 0);
  const isAhead = given > logEnd(eventsPath(folder)).sequence;
  return streamSSE(context, async (stream) => {
    const abort = new AbortController();
    const heartbeat = setInterval(() => void stream.write(": \n\n"), HEARTBEAT_MS);
    stream.onAbort(() => abort.abort());
    try {
      await stream.write("retry: 1000\n\n");
      await stream.writeSSE({ event: "log", data: logName(eventsPath(folder)) });
      if (isAhead)
        await stream.writeSSE({
          id: "0",
          data: JSON.stringify({ kind: "rewind", sequence: 0, t: 0, step: 0, anew: true }),
        });
      const options = {
        ...{ after: isAhead ? 0 : given, signal: abort.signal, pollMs: POLL_MS },
        // Whoever comes back is told that there is no such run any more.
        isOver: () => !existsSync(folder),
      };
      for await (const event of followEvents(folder, options))
        await stream.writeSSE({ id: String(event.sequence), data: JSON.stringify(event) });
    } finally {
      clearInterval(heartbeat);
    }
  });
}
