import { compareSettings } from "../runs/compare-settings.ts";
import type { RunRow } from "../runs/run-row.ts";
import type { RunSummary, SeriesPoint } from "../runs/run-summary.ts";
import { formatBytes, formatCount, formatDuration, formatJoules } from "../util/format.ts";
import { titledTable } from "../util/format.ts";
import { printable } from "../util/printable.ts";
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

function stepsOf(step: number, maxSteps: number | null | undefined): string {
  return maxSteps == null ? String(step) : `${step}/${maxSteps}`;
}

/** A run may have more reports than a call takes arguments. */
function leastOf(points: readonly SeriesPoint[]): number {
  return points.reduce((least, { value }) => Math.min(least, value), Number.POSITIVE_INFINITY);
}

/** A column of the list; those with a higher rank go first where there is no room. */
interface ListColumn {
  readonly title: string;
  readonly rank: number;
  readonly of: (row: RunRow) => string;
}

const LIST_COLUMNS: readonly ListColumn[] = [
  { title: "run", rank: 0, of: ({ id }) => nameOf(id) },
  { title: "state", rank: 2, of: ({ state, isPaused }) => (isPaused ? "paused" : state) },
  { title: ">step", rank: 3, of: ({ step, maxSteps }) => stepsOf(step, maxSteps) },
  { title: ">loss", rank: 1, of: ({ trainLoss }) => trainLoss?.toFixed(4) ?? UNKNOWN },
  { title: ">eval", rank: 4, of: ({ evalLoss }) => evalLoss?.toFixed(4) ?? UNKNOWN },
  {
    ...{ title: ">tok/s", rank: 6 },
    of: ({ tokensPerSecond: speed }) => (speed === null ? UNKNOWN : formatCount(Math.round(speed))),
  },
  { title: ">size", rank: 5, of: ({ byteLength }) => formatBytes(byteLength) },
];
const LEAST_NAME_COLUMNS = 12;
/** Longer names than this are cut so that the curves have room. */
const NAME_COLUMNS_BESIDE_CURVE = 20;

/** A table of runs; columns that have no room are left out, and the loss's curve takes what room is left. */
export function listText(rows: readonly RunRow[], root: string, columns: number): string {
  if (rows.length === 0)
    return asTyped(
      `no runs in ${root}; \`anecdote train\` makes one, --runs-dir names another folder\n`,
    );
  const lines = listTable(rows, columns);
  const width = Math.max(...lines.map((line) => line.length));
  const room = columns - width - 3;
  const withCurves = lines.map((line, index) => {
    const row = rows[index - 1];
    return row === undefined || room < SPARK_COLUMNS
      ? line
      : `${line.padEnd(width)}  ${sparkline(row.losses, Math.min(room, 40))}`.trimEnd();
  });
  const problems = rows.flatMap(({ id, problem }) =>
    problem === null ? [] : [`  ${nameOf(id)}: ${problem.split("\n", 1)[0] ?? ""}`],
  );
  return `${[...withCurves, ...problems].join("\n")}\n`;
}

function listTable(rows: readonly RunRow[], columns: number): readonly string[] {
  const names = rows.map(({ id }) => nameOf(id).length);
  for (let most = Math.max(...LIST_COLUMNS.map(({ rank }) => rank)); ; most--) {
    const kept = LIST_COLUMNS.filter(({ rank }) => rank <= most);
    const table = (nameColumns: number): readonly string[] =>
      titledTable(
        kept.map(({ title }) => title),
        rows.map((row) =>
          kept.map(({ of, rank }) => (rank === 0 ? shortened(of(row), nameColumns) : of(row))),
        ),
      );
    const widthOf = (lines: readonly string[]): number =>
      Math.max(...lines.map((line) => line.length));
    const longest = Math.max(...names);
    const whole = table(longest);
    const forCurve = longest - (widthOf(whole) + SPARK_COLUMNS + 3 - columns);
    if (forCurve >= NAME_COLUMNS_BESIDE_CURVE && forCurve < longest) return table(forCurve);
    const surplus = widthOf(whole) - columns;
    if (surplus <= 0) return whole;
    // Long names are cut before a column goes; short ones stay whole.
    const room = longest - surplus;
    if (room >= LEAST_NAME_COLUMNS || most <= 1) return table(Math.max(room, LEAST_NAME_COLUMNS));
  }
}

/** A folder's name may have line ends. */
function nameOf(id: string): string {
  return printable(id).replaceAll(/\s/g, " ");
}

/** A name in at most so many columns: its beginning and its end, where names mostly differ. */
function shortened(name: string, columns: number): string {
  if (name.length <= columns) return name;
  const end = Math.floor((columns - 1) / 2);
  return `${name.slice(0, columns - 1 - end)}…${name.slice(name.length - end)}`;
}

/** Everything of one run. */
export function showText(run: RunSummary, columns: number): string {
  const rows: (readonly [string, string])[] = [
    [
      "run",
      `${run.folder}: ${run.state}, step ${stepsOf(run.step, run.maxSteps)}, ${formatBytes(run.byteLength)}`,
    ],
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
  if (run.configProblem !== undefined) lines.push("", `settings: ${run.configProblem}`);
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
  const date = new Date(startedAt * 1000);
  const began = Number.isNaN(date.getTime()) ? "at no time" : date.toLocaleString("sv-SE");
  return `began ${began}, last heard of ${formatDuration(updatedAt - startedAt)} later`;
}

function curveText(name: string, points: readonly SeriesPoint[], columns: number): string {
  const values = valuesOf(points);
  const least = leastOf(points);
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
      : ["settings that differ", ...fittedTable(["", ...names], differing, columns)];
  const figure = (name: string, text: (run: RunSummary) => string): readonly string[] => [
    name,
    ...runs.map(text),
  ];
  lines.push(
    "",
    ...fittedTable(
      ["", ...names.map((name) => `>${name}`)],
      [
        figure("state", ({ state }) => state),
        figure("step", ({ step, maxSteps }) => stepsOf(step, maxSteps)),
        figure("train loss", ({ trainLosses }) => lossOf(trainLosses)),
        figure("eval loss", ({ evalLosses }) => lossOf(evalLosses)),
        figure("least eval", ({ evalLosses }) =>
          evalLosses.length === 0 ? UNKNOWN : leastOf(evalLosses).toFixed(4),
        ),
        figure("tok/s", ({ tokensPerSecond: speed }) =>
          speed === undefined ? UNKNOWN : formatCount(Math.round(speed)),
        ),
        ...commonStepRows(runs),
      ],
      columns,
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

/** A table where it fits; else each row as lines of its own, one for each column. */
function fittedTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  columns: number,
): readonly string[] {
  const table = titledTable(header, rows);
  if (table.every((line) => line.length <= columns)) return table;
  return rows.flatMap(([name = "", ...values]) => [
    `  ${name}`,
    ...values.map((value, index) => `    ${header[index + 1]?.replace(/^>/, "") ?? ""}: ${value}`),
  ]);
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
