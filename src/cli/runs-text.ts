import { compareSettings } from "../runs/compare-settings.ts";
import type { RunSummary, SeriesPoint } from "../runs/run-summary.ts";
import { formatBytes, formatCount, formatDuration, formatJoules } from "../util/format.ts";
import { titledTable } from "../util/format.ts";
import { sparkline } from "../util/plot/sparkline.ts";
import { asTyped } from "./typed-command.ts";

/** Fewer columns than this tell nothing of a curve. */
const SPARK_COLUMNS = 10;

const UNKNOWN = "-";

function lossOf(points: readonly SeriesPoint[]): string {
  return points.at(-1)?.value.toFixed(4) ?? UNKNOWN;
}

function valuesOf(points: readonly SeriesPoint[]): readonly number[] {
  return points.map(({ value }) => value);
}

function stepsOf({ step, maxSteps }: RunSummary): string {
  return maxSteps === undefined ? String(step) : `${step}/${maxSteps}`;
}

/** A table of runs; the loss's curve takes what room is left. */
export function listText(runs: readonly RunSummary[], root: string, columns: number): string {
  if (runs.length === 0)
    return asTyped(
      `no runs in ${root}; \`anecdote train\` makes one, --runs-dir names another folder\n`,
    );
  const header = ["run", "state", ">step", ">loss", ">eval", ">tok/s", ">size"];
  const rows = runs.map((run) => [
    run.name,
    run.state,
    stepsOf(run),
    lossOf(run.trainLosses),
    lossOf(run.evalLosses),
    run.tokensPerSecond === undefined ? UNKNOWN : formatCount(Math.round(run.tokensPerSecond)),
    formatBytes(run.byteLength),
  ]);
  const lines = titledTable(header, rows);
  const width = Math.max(...lines.map((line) => line.length));
  const room = columns - width - 3;
  if (room < SPARK_COLUMNS) return `${lines.join("\n")}\n`;
  return `${lines
    .map((line, index) => {
      const run = runs[index - 1];
      return run === undefined
        ? line
        : `${line.padEnd(width)}  ${sparkline(valuesOf(run.trainLosses), Math.min(room, 40))}`.trimEnd();
    })
    .join("\n")}\n`;
}

/** Everything of one run. */
export function showText(run: RunSummary, columns: number): string {
  const rows: (readonly [string, string])[] = [
    ["run", `${run.folder}: ${run.state}, step ${stepsOf(run)}, ${formatBytes(run.byteLength)}`],
    ["model", modelText(run)],
    ["engine", `${run.engine ?? UNKNOWN}${run.device === undefined ? "" : ` on ${run.device}`}`],
    ["time", timeText(run)],
  ];
  const speed = [
    ...(run.tokensPerSecond === undefined
      ? []
      : [`${formatCount(Math.round(run.tokensPerSecond))} tok/s`]),
    ...(run.joulesPerToken === undefined ? [] : [`${formatJoules(run.joulesPerToken)} a token`]),
  ];
  if (speed.length > 0) rows.push(["speed", speed.join(", ")]);
  const lines = rows.map(([name, text]) => `${name.padEnd(8)}${text}`);
  for (const [name, points] of [
    ["train", run.trainLosses],
    ["eval", run.evalLosses],
  ] as const) {
    if (points.length > 0) lines.push(curveText(name, points, columns));
  }
  if (run.checkpoints.length > 0) {
    const table = titledTable(
      ["checkpoint", ">step", ">size", ">eval loss"],
      run.checkpoints.map(({ folder, step, byteLength, evalLoss }) => [
        folder,
        String(step),
        formatBytes(byteLength),
        evalLoss?.toFixed(4) ?? UNKNOWN,
      ]),
    );
    lines.push("", ...table);
  }
  const sample = run.samples.at(-1);
  if (sample !== undefined)
    lines.push("", `sample at step ${sample.step}:`, ...indented(sample.text, columns));
  const settings = Object.entries(run.config).map(([key, value]) => `  ${key}: ${textOf(value)}`);
  if (settings.length > 0) lines.push("", "settings:", ...settings);
  return `${lines.join("\n")}\n`;
}

function modelText({ model, parameterCount }: RunSummary): string {
  const count = parameterCount === undefined ? [] : [`${formatCount(parameterCount)} parameters`];
  return [model ?? UNKNOWN, ...count].join(", ");
}

function timeText({ startedAt, updatedAt }: RunSummary): string {
  if (startedAt === undefined || updatedAt === undefined) return UNKNOWN;
  const began = new Date(startedAt * 1000).toLocaleString("sv-SE");
  return `began ${began}, last heard of ${formatDuration(updatedAt - startedAt)} later`;
}

function curveText(name: string, points: readonly SeriesPoint[], columns: number): string {
  const values = valuesOf(points);
  const least = Math.min(...values);
  const told = ` ${values[0]?.toFixed(4) ?? ""} to ${lossOf(points)}, least ${least.toFixed(4)}`;
  return `${name.padEnd(8)}${sparkline(values, Math.max(SPARK_COLUMNS, columns - 8 - told.length - 1))}${told}`;
}

/** What differs in the settings of runs, and the losses side by side. */
export function comparisonText(runs: readonly RunSummary[], columns: number): string {
  const names = runs.map(({ name }) => name);
  const differing = compareSettings(runs.map(({ config }) => config))
    .filter(({ isDifferent }) => isDifferent)
    .map(({ name, values }) => [name, ...values.map(textOf)]);
  const lines =
    differing.length === 0
      ? ["settings: all the same"]
      : ["settings that differ", ...titledTable(["", ...names], differing)];
  const figure = (name: string, text: (run: RunSummary) => string): readonly string[] => [
    name,
    ...runs.map(text),
  ];
  lines.push(
    "",
    ...titledTable(
      ["", ...names.map((name) => `>${name}`)],
      [
        figure("state", ({ state }) => state),
        figure("step", stepsOf),
        figure("train loss", ({ trainLosses }) => lossOf(trainLosses)),
        figure("eval loss", ({ evalLosses }) => lossOf(evalLosses)),
        figure("least eval", ({ evalLosses }) =>
          evalLosses.length === 0 ? UNKNOWN : Math.min(...valuesOf(evalLosses)).toFixed(4),
        ),
        figure("tok/s", ({ tokensPerSecond: speed }) =>
          speed === undefined ? UNKNOWN : formatCount(Math.round(speed)),
        ),
        ...commonStepRows(runs),
      ],
    ),
    "",
  );
  const label = Math.max(...names.map((name) => name.length));
  for (const { name, trainLosses } of runs)
    lines.push(
      `  ${name.padEnd(label)}  ${sparkline(valuesOf(trainLosses), Math.max(SPARK_COLUMNS, columns - label - 5))}`,
    );
  return `${lines.join("\n")}\n`;
}

/** Losses at the last step that all runs have reported: what may be compared. */
function commonStepRows(runs: readonly RunSummary[]): readonly (readonly string[])[] {
  const [first, ...others] = runs.map(
    ({ trainLosses }) => new Map(trainLosses.map(({ step, value }) => [step, value])),
  );
  const common = [...(first?.keys() ?? [])].filter((step) =>
    others.every((losses) => losses.has(step)),
  );
  const step = common.at(-1);
  if (first === undefined || step === undefined) return [];
  return [
    [`loss at step ${step}`, ...[first, ...others].map((map) => map.get(step)?.toFixed(4) ?? "")],
  ];
}

function textOf(value: unknown): string {
  if (value === undefined) return UNKNOWN;
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** Lines of a text behind two spaces, without what a terminal would obey. */
function indented(text: string, columns: number): readonly string[] {
  const clean = text.replaceAll(/[^\P{Cc}\n]/gu, " ");
  return clean.split("\n").flatMap((line) => {
    const pieces = line.match(new RegExp(`.{1,${columns - 3}}`, "gu")) ?? [""];
    return pieces.map((piece) => `  ${piece}`);
  });
}
