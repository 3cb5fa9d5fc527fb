import { basename } from "node:path";
import { RunError } from "../../runs/errors.ts";
import { RunRecord } from "../../runs/run-record.ts";
import { readRun } from "../../runs/run-summary.ts";
import type { RunSummary } from "../../runs/run-summary.ts";
import { AnecdoteError } from "../../util/errors.ts";
import { formatBytes, formatCount, formatDuration, formatJoules } from "../../util/format.ts";
import { downSample, smoothed } from "../../util/plot/down-sample.ts";
import { documentTable, htmlDocument, textCell } from "../../util/plot/document.ts";
import { linePlot } from "../../util/plot/line-plot.ts";
import type { PlotLine } from "../../util/plot/line-plot.ts";
import { escapeText } from "../../util/plot/svg.ts";
import { VERSION } from "../../util/version.ts";
import {
  briefMs,
  costBars,
  howOf,
  measuredTimeline,
  pairedTable,
  programsTable,
  sectionFlow,
  stepTimeline,
} from "../plan/pictures.ts";
import { runPlan } from "../plan/run-plan.ts";
import type { PlanView } from "../plan/views.ts";
import { pairs, section, wide } from "../files/parts.ts";
import { PANELS } from "../runs/panels.ts";
import type { Panel } from "../runs/panels.ts";

const POINTS = 1000;
const SMOOTHING = 0.6;
/** The newest, and some of all the run before. */
const SAMPLES = 12;
const NOTICES = 40;

/**
 * A run as one HTML file that needs nothing else: curves, what its step would be on a chip against what was measured,
 * samples, checkpoints, settings, hardware. Throws `RunError` `run.report.empty` for a run that has told nothing yet,
 * `ChipError` for an unknown chip.
 */
export async function runReport(folder: string, chip?: string): Promise<string> {
  const record = new RunRecord(folder);
  await record.refresh();
  if (record.sequence === 0)
    throw new RunError("run.report.empty", `${folder} has told nothing yet`);
  const run = readRun(folder);
  const plan = planOf(folder, chip);
  const title = `Run ${basename(folder)}`;
  const sections = [
    factsSection(run, record),
    curvesSection(record),
    costsSection(run, record, plan),
    planSection(record, plan),
    samplesSection(run),
    checkpointsSection(run),
    hardwareSection(record),
    settingsSection(run),
    noticesSection(record),
  ];
  return htmlDocument(
    title,
    `<header>
<h1>${escapeText(title)}</h1>
<p>${escapeText(subtitle(run))}</p>
</header>
<main>
${sections.filter((section) => section !== "").join("\n")}
</main>`,
  );
}

type MaybePlan =
  | { readonly kind: "plan"; readonly view: PlanView }
  | { readonly kind: "none"; readonly reason: string };

/** A report is no less a report where the step cannot be made again; an unknown chip is the caller's mistake. */
function planOf(folder: string, chip: string | undefined): MaybePlan {
  try {
    return { kind: "plan", view: runPlan(folder, chip).view };
  } catch (error) {
    if (!(error instanceof AnecdoteError) || error.code === "chip.unknown") throw error;
    return { kind: "none", reason: error.message };
  }
}

function subtitle({ state, step, maxSteps, startedAt, updatedAt }: RunSummary): string {
  const steps = maxSteps === undefined ? `step ${step}` : `step ${step} of ${maxSteps}`;
  const from = startedAt === undefined ? "" : `, begun ${dateOf(startedAt)}`;
  const to = updatedAt === undefined ? "" : `, last heard of ${dateOf(updatedAt)}`;
  return `${state}, ${steps}${from}${to}; made by Anecdote ${VERSION}`;
}

function dateOf(seconds: number): string {
  const date = new Date(seconds * 1000);
  // A log may hold any number.
  if (Number.isNaN(date.getTime())) return "at no time";
  return `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

function factsSection(run: RunSummary, record: RunRecord): string {
  const end = record.last("end");
  const { trainLosses, evalLosses } = run;
  const least = evalLosses.reduce((low, { value }) => Math.min(low, value), Infinity);
  const start = record.last("start");
  const rows: (readonly [string, string])[] = [
    ["model", [run.model, start?.family].filter((text) => text !== undefined).join(", ") || "–"],
    ["parameters", run.parameterCount === undefined ? "–" : formatCount(run.parameterCount)],
    ["training loss", trainLosses.at(-1)?.value.toFixed(4) ?? "–"],
    ["validation loss", evalLosses.at(-1)?.value.toFixed(4) ?? "–"],
  ];
  if (evalLosses.length > 1) rows.push(["least validation loss", least.toFixed(4)]);
  if (start !== undefined) rows.push(["tokens an update", formatCount(start.tokens_per_step)]);
  if (run.tokensPerSecond !== undefined)
    rows.push(["tokens a second", formatCount(Math.round(run.tokensPerSecond))]);
  if (run.joulesPerToken !== undefined)
    rows.push(["energy a token", formatJoules(run.joulesPerToken)]);
  if (end !== undefined) {
    rows.push(["took", formatDuration(end.elapsed_seconds)]);
    rows.push(["memory at most", formatBytes(end.peak_memory_bytes)]);
  }
  return section("In short", pairs("In short", rows));
}

function curvesSection(record: RunRecord): string {
  const figures = PANELS.flatMap((panel) => {
    const lines = linesOf(panel, record);
    if (lines.length === 0) return [];
    const picture = linePlot({
      title: panel.title,
      description: `${panel.title} over steps`,
      xLabel: "steps",
      formatY: panel.format,
      lines,
    });
    return [`<figure><figcaption>${escapeText(panel.title)}</figcaption>${picture}</figure>`];
  });
  return figures.length === 0
    ? ""
    : section("Curves", `<div class="plots">${figures.join("\n")}</div>`);
}

function linesOf(panel: Panel, record: RunRecord): readonly PlotLine[] {
  return panel.names.flatMap(([name, label], hue): PlotLine[] => {
    const series = record.series(name, "step");
    if (series === undefined) return [];
    const { x, y } = downSample(series.x, series.y, { limit: POINTS });
    if (name === "eval_loss" || panel.isSmoothed !== true) return [{ name: label, hue, x, y }];
    return [
      { name: label, hue, x, y, isFaint: true },
      { name: label, hue, x, y: smoothed(y, SMOOTHING) },
    ];
  });
}

/** What a step takes: measured here, and predicted for a chip. */
function costsSection(run: RunSummary, record: RunRecord, plan: MaybePlan): string {
  const end = record.last("end");
  const engine = run.engine ?? "unknown";
  const rows: string[][] = [];
  const speed = run.tokensPerSecond;
  const tokens = record.last("start")?.tokens_per_step;
  const measuredMs =
    end?.step_ms ??
    (speed === undefined || tokens === undefined ? undefined : (1000 * tokens) / speed);
  if (measuredMs !== undefined)
    rows.push([
      `<th scope="row">measured, ${escapeText(engine)}</th>`,
      textCell(briefMs(measuredMs)),
      textCell(speed === undefined ? "–" : formatCount(Math.round(speed))),
      textCell(run.joulesPerToken === undefined ? "–" : formatJoules(run.joulesPerToken)),
      textCell(end?.watts === undefined ? "–" : `${end.watts.toFixed(1)} W`),
    ]);
  if (plan.kind === "plan") {
    const { asRun, chip } = plan.view;
    const { ms: predictedMs, overlappedMs, joules } = asRun;
    const perToken = tokens === undefined ? undefined : joules / tokens;
    const row = (name: string, ms: number): string[] => [
      `<th scope="row">${escapeText(name)}</th>`,
      textCell(briefMs(ms)),
      textCell(tokens === undefined ? "–" : formatCount(Math.round((1000 * tokens) / ms))),
      textCell(perToken === undefined ? "–" : formatJoules(perToken)),
      textCell(`${(joules / (ms * 1e-3)).toFixed(1)} W`),
    ];
    rows.push(row(`predicted, ${chip}`, predictedMs));
    rows.push(row(`predicted, ${chip}, engine and host at once`, overlappedMs));
  }
  if (rows.length === 0) return "";
  return section(
    "What an update takes",
    `<p>Predictions are those of a cost model of the Neural Engine and were not measured; what was measured was measured where the run was.</p>${documentTable("What an update takes", ["", "time", "tokens a second", "energy a token", "power"], rows)}`,
  );
}

function planSection(record: RunRecord, plan: MaybePlan): string {
  if (plan.kind === "none")
    return section(
      "The step",
      `<p>Its plan could not be made again: ${escapeText(plan.reason)}</p>`,
    );
  const { view } = plan;
  const engine = record.last("start")?.engine ?? view.engine;
  const dispatches = record.timings?.dispatches ?? [];
  const measured = measuredTimeline(view, dispatches, engine);
  const paired = pairedTable(view, dispatches, engine);
  const [first] = view.sections;
  return section(
    "The step",
    `${wide("Timeline, predicted", stepTimeline(view))}${measured === undefined ? "" : wide(`Timeline, ${howOf(engine)}`, measured)}
${paired === undefined ? "" : `<details><summary>Each dispatch, ${howOf(engine)} and predicted</summary>${paired}</details>`}
<h3>Where it runs on ${escapeText(view.chip)}</h3>${programsTable(view)}
<div class="plots"><figure><figcaption>Cost</figcaption>${costBars(view)}</figure><figure><figcaption>Roofline of ${escapeText(view.chip)}</figcaption>${view.roofline}</figure></div>
${first === undefined ? "" : `<details><summary>Data flow of ${escapeText(first.name)}</summary>${wide("Data flow", sectionFlow(view, first))}</details>`}`,
  );
}

function samplesSection({ samples }: RunSummary): string {
  if (samples.length === 0) return "";
  const chosen =
    samples.length <= SAMPLES
      ? samples
      : Array.from({ length: SAMPLES }, (_, index) =>
          samples.at(Math.round((index * (samples.length - 1)) / (SAMPLES - 1))),
        ).filter((sample) => sample !== undefined);
  const texts = chosen
    .toReversed()
    .map(
      ({ step, text }) =>
        `<h3>step ${step}</h3><p class="sample">${escapeText(text.replaceAll(/\n{3,}/g, "\n\n"))}</p>`,
    );
  return section("Samples", texts.join("\n"));
}

function checkpointsSection({ checkpoints }: RunSummary): string {
  if (checkpoints.length === 0) return "";
  const rows = checkpoints.map(({ folder, step, byteLength, evalLoss }) => [
    `<th scope="row">${escapeText(basename(folder))}</th>`,
    textCell(String(step)),
    textCell(formatBytes(byteLength)),
    textCell(evalLoss?.toFixed(4) ?? "–"),
  ]);
  return section(
    "Checkpoints",
    documentTable("Checkpoints", ["checkpoint", "step", "size", "validation loss"], rows),
  );
}

function hardwareSection(record: RunRecord): string {
  const start = record.last("start");
  if (start === undefined) return "";
  const power = record.last("power");
  return section(
    "Hardware",
    pairs("Hardware", [
      ["engine", start.engine],
      ["device", start.device],
      ["runtime", start.runtime],
      ["threads", String(start.threads)],
      ["product and sum of samples", start.row_sums ?? "–"],
      ["buffers", formatBytes(start.plan_bytes)],
      ["power meter", power === undefined ? "–" : (power.meter ?? `none: ${power.reason ?? ""}`)],
    ]),
  );
}

function settingsSection({ config, configProblem }: RunSummary): string {
  if (configProblem !== undefined)
    return section("Settings", `<p>${escapeText(configProblem)}</p>`);
  const rows = Object.entries(config).map(
    ([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)] as const,
  );
  return rows.length === 0
    ? ""
    : section(
        "Settings",
        `<details><summary>${rows.length} settings</summary>${pairs("Settings", rows)}</details>`,
      );
}

function noticesSection(record: RunRecord): string {
  const notices = record.events.filter((event) => event.kind === "notice").slice(-NOTICES);
  if (notices.length === 0) return "";
  const items = notices.map(({ step, message }) => `<li>step ${step}: ${escapeText(message)}</li>`);
  return section("Notes", `<ul>${items.join("")}</ul>`);
}
