import { effect, signal, useComputed } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { formatBytes, formatCount, formatDuration } from "../../src/util/format.ts";
import type { ComparisonView, RunList, RunRow } from "../../src/server/runs/views.ts";
import { ask, messageOf, withQuery } from "../api.ts";
import {
  AXIS_NAMES,
  axis,
  formatAxis,
  isLogScale,
  shownRange,
  smoothing,
} from "../chart-settings.ts";
import { Chart } from "../parts/chart.tsx";
import type { Line, Range } from "../parts/chart.tsx";
import { curveLines } from "../parts/curve-lines.ts";
import { CurveTools } from "../parts/curve-tools.tsx";
import {
  Choice,
  Problem,
  Progress,
  Sparkline,
  StateBadge,
  TableBox,
  ago,
  loss,
} from "../parts/kit.tsx";
import { linkTo, linkToComparison } from "../router.ts";
import { colourVersion, curveColour } from "../theme.ts";

const POLL_MS = 2000;
const HIDDEN_POLL_MS = 15_000;
/** Points of a curve where there are few curves, and at least. */
const POINTS = 1200;
const FEWEST_POINTS = 160;
/** Characters of names in one request. */
const LONGEST_QUERY = 4000;

export const runList = signal<RunList | null>(null);
const problem = signal<string | null>(null);
/** Runs that are drawn: all but these. */
const hidden = signal<ReadonlySet<string>>(new Set());
const search = signal("");
const compared = signal<"train_loss" | "eval_loss" | "gradient_norm" | "tokens_per_second">(
  "train_loss",
);
const comparison = signal<ComparisonView | null>(null);

const COMPARED: readonly (readonly [typeof compared.value, string])[] = [
  ["train_loss", "training loss"],
  ["eval_loss", "validation loss"],
  ["gradient_norm", "gradient norm"],
  ["tokens_per_second", "tokens a second"],
];

/** A run's place among all, by which its colour stays the same. */
const places = new Map<string, number>();

export function placeOfRun(id: string): number {
  let index = places.get(id);
  if (index === undefined) {
    index = places.size;
    places.set(id, index);
  }
  return index;
}

export async function loadRuns(): Promise<void> {
  try {
    const list = await ask<RunList>("/api/runs");
    for (const { id } of list.runs) placeOfRun(id);
    if (JSON.stringify(list) !== JSON.stringify(runList.peek())) {
      const known = new Map(runList.peek()?.runs.map((run) => [run.id, run]));
      // A row that is as it was keeps its identity, and is not drawn again.
      const runs = list.runs.map((run) => {
        const before = known.get(run.id);
        return before !== undefined && JSON.stringify(before) === JSON.stringify(run)
          ? before
          : run;
      });
      runList.value = { ...list, runs };
    }
    problem.value = null;
  } catch (error) {
    problem.value = messageOf(error);
  }
}

function shownRuns(): readonly RunRow[] {
  const wanted = search.value.toLowerCase();
  return (runList.value?.runs ?? []).filter(({ id, model, engine }) =>
    `${id} ${model ?? ""} ${engine ?? ""}`.toLowerCase().includes(wanted),
  );
}

async function loadComparison(range: Range | null): Promise<void> {
  const ids = shownRuns()
    .map(({ id }) => id)
    .filter((id) => !hidden.value.has(id));
  if (ids.length === 0) {
    comparison.value = null;
    return;
  }
  const points = Math.max(FEWEST_POINTS, Math.round(POINTS / Math.max(1, ids.length / 2)));
  const settings = { name: compared.value, axis: axis.value };
  const parts = await Promise.all(
    inParts(ids).map(async (run) =>
      ask<ComparisonView>(
        withQuery("/api/comparison", {
          ...{ run, points, ...settings },
          ...{ from: range?.from, to: range?.to },
        }),
      ),
    ),
  );
  const view = { ...settings, runs: parts.flatMap(({ runs }) => runs) };
  // A later zoom has its own answer under way.
  const isNew = JSON.stringify(view) !== JSON.stringify(comparison.peek());
  if (shownRange.peek() === range && isNew) comparison.value = view;
}

/** Names that fit into an address together. */
function inParts(ids: readonly string[]): readonly (readonly string[])[] {
  const parts: string[][] = [];
  let length = LONGEST_QUERY;
  for (const id of ids) {
    length += encodeURIComponent(id).length + 5;
    if (length > LONGEST_QUERY) {
      parts.push([]);
      length = 0;
    }
    parts.at(-1)?.push(id);
  }
  return parts;
}

export function RunsView() {
  useEffect(() => {
    shownRange.value = null;
    let isOpen = true;
    let timer = 0;
    const turn = async (): Promise<void> => {
      clearTimeout(timer);
      await loadRuns();
      await loadComparison(shownRange.peek()).catch(() => undefined);
      if (isOpen)
        timer = window.setTimeout(() => void turn(), document.hidden ? HIDDEN_POLL_MS : POLL_MS);
    };
    void turn();
    let wait = 0;
    const end = effect(() => {
      void [compared.value, axis.value, hidden.value, search.value];
      const range = shownRange.value;
      clearTimeout(wait);
      wait = window.setTimeout(() => void loadComparison(range).catch(() => undefined), 80);
    });
    return () => {
      isOpen = false;
      clearTimeout(timer);
      clearTimeout(wait);
      end();
    };
  }, []);
  const lines = useComputed(() => linesOf(comparison.value));
  const list = runList.value;
  if (list === null)
    return problem.value === null ? (
      <p class="waiting">looking at the runs …</p>
    ) : (
      <Problem text={problem.value} />
    );
  const runs = shownRuns();
  const unread = comparison.value?.runs.filter(({ isWhole }) => !isWhole).length ?? 0;
  return (
    <>
      <h1 class="hidden-title">Runs</h1>
      {problem.value !== null && <Problem text={problem.value} />}
      {list.runs.length === 0 ? (
        <p class="empty">
          There are no runs in <code>{list.root}</code> yet. <code>anecdote train</code> makes one,
          and it appears here as it begins.
        </p>
      ) : (
        <>
          <section class="panel" aria-label="Curves of all runs">
            <div class="row">
              <Choice
                label="show"
                value={compared.value}
                choices={COMPARED}
                onChoose={(name) => (compared.value = name)}
              />
              <CurveTools />
            </div>
            <Chart
              title={COMPARED.find(([name]) => name === compared.value)?.[1] ?? ""}
              lines={lines.value}
              xLabel={AXIS_NAMES.find(([name]) => name === axis.value)?.[1] ?? ""}
              {...withFormat()}
              isLog={isLogScale.value}
              range={shownRange}
              height={300}
            />
            <p class="hint" aria-live="polite">
              {unread === 0
                ? " "
                : `${unread} of these runs ${unread === 1 ? "has a long log and is" : "have long logs and are"} drawn by some points, until all have been read`}
            </p>
          </section>
          <RunTable runs={runs} />
        </>
      )}
    </>
  );
}

function withFormat() {
  const formatX = formatAxis(axis.value);
  return formatX === undefined ? {} : { formatX };
}

/** Behind more curves than this nothing else is drawn. */
const MOST_WITH_TOLD = 6;

function linesOf(view: ComparisonView | null): readonly Line[] {
  void colourVersion.value;
  if (view === null) return [];
  return view.runs.flatMap(({ id, x, y }) =>
    curveLines({
      ...{ label: id, place: placeOfRun(id), x, y, smoothing: smoothing.value },
      showsTold: view.runs.length <= MOST_WITH_TOLD,
    }),
  );
}

function RunTable({ runs }: { readonly runs: readonly RunRow[] }) {
  const shown = runs.filter(({ id }) => !hidden.value.has(id));
  return (
    <section class="panel" aria-label="All runs">
      <div class="row">
        <label class="choice">
          <span>find</span>
          <input
            type="search"
            placeholder="name, model, engine"
            value={search.value}
            onInput={(event) => (search.value = event.currentTarget.value)}
          />
        </label>
        <button type="button" onClick={() => (hidden.value = new Set())}>
          draw all
        </button>
        <button
          type="button"
          onClick={() => (hidden.value = new Set(runList.value?.runs.map(({ id }) => id)))}
        >
          draw none
        </button>
        {shown.length >= 2 && shown.length <= 12 && (
          <a class="button" href={linkToComparison(shown.map(({ id }) => id))}>
            compare {shown.length} runs
          </a>
        )}
        <span class="hint">{runs.length} runs</span>
      </div>
      <TableBox label="Runs">
        <table class="runs">
          <thead>
            <tr>
              <th scope="col">draw</th>
              <th scope="col">run</th>
              <th scope="col">state</th>
              <th scope="col">step</th>
              <th scope="col" class="number">
                loss
              </th>
              <th scope="col" class="number">
                validation
              </th>
              <th scope="col" class="curve">
                curve
              </th>
              <th scope="col" class="number">
                tokens/s
              </th>
              <th scope="col">model</th>
              <th scope="col">engine</th>
              <th scope="col" class="number">
                size
              </th>
              <th scope="col">last heard of</th>
            </tr>
          </thead>
          <tbody>
            {runs.map((run) => (
              <RunLine key={run.id} run={run} />
            ))}
          </tbody>
        </table>
      </TableBox>
    </section>
  );
}

function RunLine({ run }: { readonly run: RunRow }) {
  const isDrawn = !hidden.value.has(run.id);
  const colours = colourVersion.value;
  return useMemo(() => lineOf(run, isDrawn), [run, isDrawn, colours]);
}

function lineOf(run: RunRow, isDrawn: boolean) {
  const { id } = run;
  return (
    <tr>
      <td>
        <input
          type="checkbox"
          aria-label={`draw ${id}`}
          checked={isDrawn}
          style={{ accentColor: curveColour(placeOfRun(id)) }}
          onChange={() => {
            const next = new Set(hidden.value);
            if (isDrawn) next.add(id);
            else next.delete(id);
            hidden.value = next;
          }}
        />
      </td>
      <th scope="row">
        <a href={linkTo("run", id)} title={id}>
          {id}
        </a>
      </th>
      <td>
        <StateBadge run={run} />
        {run.problem !== null && <small> {run.problem.split("\n", 1)[0]}</small>}
        {run.etaSeconds !== null && run.state === "running" && !run.isPaused && (
          <small> {formatDuration(run.etaSeconds)} left</small>
        )}
      </td>
      <td>
        <Progress run={run} />
      </td>
      <td class="number" data-label="loss">
        {loss(run.trainLoss)}
      </td>
      <td class="number" data-label="validation">
        {loss(run.evalLoss)}
      </td>
      <td class="curve">
        <Sparkline values={run.losses} />
      </td>
      <td class="number" data-label="tokens/s">
        {run.tokensPerSecond === null ? "–" : formatCount(Math.round(run.tokensPerSecond))}
      </td>
      <td data-label="model">
        {run.model ?? "–"}
        {run.parameterCount !== null && <small> {formatCount(run.parameterCount)}</small>}
      </td>
      <td data-label="engine">{run.engine ?? "–"}</td>
      <td class="number" data-label="size">
        {formatBytes(run.byteLength)}
      </td>
      <td class="heard" data-label="heard">
        {ago(run.updatedAt)}
      </td>
    </tr>
  );
}
