import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { ComparisonView, SettingsView } from "../../src/server/runs/views.ts";
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
import type { Line } from "../parts/chart.tsx";
import { curveLines } from "../parts/curve-lines.ts";
import { CurveTools } from "../parts/curve-tools.tsx";
import { Problem, TableBox, loss } from "../parts/kit.tsx";
import { SettingsTable } from "../parts/settings-table.tsx";
import { linkTo } from "../router.ts";
import { colourVersion } from "../theme.ts";

const NUMBERS = [
  ["train_loss", "training loss"],
  ["eval_loss", "validation loss"],
  ["gradient_norm", "gradient norm"],
  ["tokens_per_second", "tokens a second"],
] as const;
const POINTS = 800;
const POLL_MS = 3000;
/** While logs are still being read. */
const FIRST_POLL_MS = 500;

/** Some runs side by side: curves, losses at the last step that all have, and settings that differ. */
export function CompareView({ ids }: { readonly ids: readonly string[] }) {
  const views = useSignal<readonly ComparisonView[]>([]);
  const settings = useSignal<SettingsView | null>(null);
  const problem = useSignal<string | null>(null);
  const showsAll = useSignal(false);
  const name = axis.value;
  const range = shownRange.value;
  const key = ids.join("\n");
  useEffect(() => {
    let isOpen = true;
    let timer = 0;
    const turn = async (): Promise<void> => {
      try {
        const found = await Promise.all(
          NUMBERS.map(([number]) =>
            ask<ComparisonView>(
              withQuery("/api/comparison", {
                ...{ run: ids, name: number, axis: name, points: POINTS },
                ...{ from: range?.from, to: range?.to },
              }),
            ),
          ),
        );
        if (!isOpen) return;
        views.value = found;
        settings.value = await ask<SettingsView>(withQuery("/api/settings", { run: ids }));
        problem.value = null;
      } catch (error) {
        problem.value = messageOf(error);
      }
      const isWhole = views.value.every((view) => view.runs.every((run) => run.isWhole));
      if (isOpen) timer = window.setTimeout(() => void turn(), isWhole ? POLL_MS : FIRST_POLL_MS);
    };
    timer = window.setTimeout(() => void turn(), range === null ? 0 : 120);
    return () => {
      isOpen = false;
      clearTimeout(timer);
    };
  }, [key, name, range]);
  const formatX = formatAxis(name);
  const rows = settings.value?.rows.filter((row) => showsAll.value || row.isDifferent) ?? [];
  return (
    <>
      <h1>Comparison</h1>
      {problem.value !== null && <Problem text={problem.value} />}
      <div class="panel">
        <CurveTools />
      </div>
      <div class="charts">
        {views.value.map((view, index) => {
          const lines = linesOf(view, ids);
          if (lines.length === 0) return null;
          return (
            <div class={`panel ${index === 0 ? "first" : ""}`} key={view.name}>
              <Chart
                title={NUMBERS[index]?.[1] ?? view.name}
                lines={lines}
                xLabel={AXIS_NAMES.find(([one]) => one === name)?.[1] ?? ""}
                {...(formatX && { formatX })}
                isLog={isLogScale.value && index < 3}
                range={shownRange}
                height={index === 0 ? 320 : 190}
              />
            </div>
          );
        })}
      </div>
      <Losses views={views.value} ids={ids} />
      <section class="panel">
        <h2>settings {showsAll.value ? "" : "that differ"}</h2>
        <label class="choice">
          <input
            type="checkbox"
            checked={showsAll.value}
            onChange={(event) => (showsAll.value = event.currentTarget.checked)}
          />
          <span>show all</span>
        </label>
        {rows.length === 0 ? (
          <p>All settings are the same.</p>
        ) : (
          <SettingsTable ids={ids} rows={rows} />
        )}
      </section>
    </>
  );
}

function linesOf(view: ComparisonView, ids: readonly string[]): readonly Line[] {
  void colourVersion.value;
  // Evaluations are few, and means already.
  const isRaw = view.name === "eval_loss";
  return view.runs.flatMap(({ id, x, y }) =>
    curveLines({
      ...{ label: id, place: ids.indexOf(id), x, y },
      smoothing: isRaw ? 0 : smoothing.value,
      marksBelow: isRaw ? Infinity : 0,
    }),
  );
}

/** Losses of each run at its end, and at the last place that all have reached: what may be compared. */
function Losses({
  views,
  ids,
}: {
  readonly views: readonly ComparisonView[];
  readonly ids: readonly string[];
}) {
  const [train, evaluation] = views;
  if (train === undefined) return null;
  const ends = train.runs.flatMap(({ x }) => (x.length === 0 ? [] : [x.at(-1) ?? 0]));
  const common = Math.min(...ends);
  return (
    <section class="panel">
      <h2>losses</h2>
      <TableBox label="Losses of these runs">
        <table>
          <thead>
            <tr>
              <th scope="col">run</th>
              <th scope="col" class="number">
                training
              </th>
              <th scope="col" class="number">
                training at {axis.value}{" "}
                {Number.isFinite(common) ? Math.round(common).toLocaleString("en") : "–"}
              </th>
              <th scope="col" class="number">
                validation
              </th>
              <th scope="col" class="number">
                least validation
              </th>
            </tr>
          </thead>
          <tbody>
            {ids.map((id) => {
              const curve = train.runs.find((run) => run.id === id);
              const evals = (evaluation?.runs.find((run) => run.id === id)?.y ?? []).filter(
                (value) => value !== null,
              );
              const at = curve?.x.findLastIndex((x) => x <= common) ?? -1;
              return (
                <tr key={id}>
                  <th scope="row">
                    <a href={linkTo("run", id)}>{id}</a>
                  </th>
                  <td class="number">{loss(curve?.y.at(-1))}</td>
                  <td class="number">{loss(curve?.y[at])}</td>
                  <td class="number">{loss(evals.at(-1))}</td>
                  <td class="number">{loss(evals.length === 0 ? null : Math.min(...evals))}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </TableBox>
    </section>
  );
}
