// Pictures of a run's step, for the page and for a report alike: nothing here asks a file or the network.
import { formatBytes } from "../../util/format.ts";
import { documentTable, textCell } from "../../util/plot/document.ts";
import { dotPlot } from "../../util/plot/dot-plot.ts";
import { flowPlot } from "../../util/plot/flow-plot.ts";
import type { FlowEdge, FlowNode } from "../../util/plot/flow-plot.ts";
import { shortNumber } from "../../util/plot/scale.ts";
import { escapeText } from "../../util/plot/svg.ts";
import { timelinePlot } from "../../util/plot/timeline-plot.ts";
import type { TimelineBar, TimelinePlot } from "../../util/plot/timeline-plot.ts";
import { pairTimes } from "./pair-times.ts";
import type { MeasuredDispatch, PairedTime } from "./pair-times.ts";
import type { DispatchView, PlanView, PortView, SectionView } from "./views.ts";

/** What an update's milliseconds go into, and the dearest kinds of ops: predicted. */
export function costBars({ breakdown, ops, chip }: PlanView): string {
  const rows = [
    ...Object.entries(breakdown).map(([name, ms]) => ({ name: `all ${name}`, ms })),
    ...ops.slice(0, 8).map(({ op, ms }) => ({ name: op, ms })),
  ];
  return dotPlot({
    title: `Where an update's time goes on ${chip}`,
    description: "Milliseconds by what they go into, then by kind of op, predicted.",
    valueLabel: "ms, predicted",
    rows: rows
      .filter(({ ms }) => ms > 0)
      .map(({ name, ms }) => ({ name, values: { predicted: ms } })),
  });
}

/** Milliseconds, without digits that nobody needs. */
export function briefMs(ms: number): string {
  if (ms === 0) return "0 ms";
  return ms < 0.001 ? "< 0.001 ms" : `${Number(ms.toPrecision(3))} ms`;
}

const ENGINE = 0;
const HOST = 1;
const MEASURED = 2;

/** Lanes of a step: what is predicted for the chip's engine and for its host. */
export function stepTimeline(view: PlanView): string {
  const sections = view.sections.filter(({ runs }) => runs > 0);
  const marks: { at: number; label: string }[] = [];
  const lanes: Readonly<Record<DispatchView["place"], TimelineBar[]>> = { engine: [], host: [] };
  let now = 0;
  for (const { name, runs, dispatches } of sections) {
    marks.push({ at: now, label: runs === 1 ? name : `${name}, one of ${runs}` });
    for (const { label, program, place, predictedMs } of dispatches) {
      const kind = place === "engine" ? ENGINE : HOST;
      lanes[place].push({ start: now, length: predictedMs, label, kind, key: program });
      now += predictedMs;
    }
  }
  return timelinePlot({
    title: "One update, predicted",
    description: `Dispatches of one update one after the other, predicted for ${view.chip}.`,
    kinds: ["Neural Engine", "host"],
    marks,
    lanes: [
      { name: `${view.chip}, engine`, bars: lanes.engine, how: "predicted" },
      { name: `${view.chip}, host`, bars: lanes.host, how: "predicted" },
    ],
  });
}

/**
 * The lanes of an update that was measured: each dispatch, or those that ran as one, over what is predicted of the same.
 * Both lanes have one axis where the run's engine is the one that is predicted, or simulates it; another machine is slower
 * or faster by far, and its lane stands alone.
 */
export function measuredTimeline(
  view: PlanView,
  measured: readonly MeasuredDispatch[],
  engine: string,
): string | undefined {
  const { bars, predicted, marks } = measuredBars(view, measured);
  if (bars.length === 0) return undefined;
  const how = howOf(engine);
  const lanes: TimelinePlot["lanes"][number][] = [{ name: engine, bars, how }];
  if (view.isRunsOwn && predicted.length > 0)
    lanes.push({ name: `${view.chip}, predicted`, bars: predicted, how: "predicted" });
  return timelinePlot({
    title: `One update, ${how}`,
    description: `Dispatches of one update as they were ${how} on ${engine}, mean over their runs${lanes.length > 1 ? `, each over what is predicted of it for ${view.chip}` : ""}.`,
    kinds: lanes.length > 1 ? ["Neural Engine", "host", how] : [],
    marks,
    lanes,
  });
}

/** Whether an engine's times were measured: those of a simulated one are its clock's, which is the cost model. */
export function howOf(engine: string): "measured" | "simulated" {
  return engine.startsWith("sim:") ? "simulated" : "measured";
}

interface MeasuredBars {
  readonly bars: TimelineBar[];
  /** What is predicted of each bar, begun where that begins. */
  readonly predicted: TimelineBar[];
  readonly marks: { at: number; label: string }[];
}

function measuredBars(view: PlanView, measured: readonly MeasuredDispatch[]): MeasuredBars {
  const found: MeasuredBars = { bars: [], predicted: [], marks: [] };
  let now = 0;
  let last = "";
  const begin = (section: string): void => {
    if (section !== last) found.marks.push({ at: now, label: section });
    last = section;
  };
  for (const { section, label, dispatches, predictedMs, measuredMs } of pairTimes(view, measured)) {
    if (measuredMs === undefined) continue;
    begin(section);
    const [first] = dispatches;
    const key = first?.program ?? "";
    const kind = first?.place === "engine" ? ENGINE : HOST;
    found.bars.push({ start: now, length: measuredMs, label, kind: MEASURED, key });
    found.predicted.push({ start: now, length: predictedMs, label, kind, key });
    now += Math.max(measuredMs, view.isRunsOwn ? predictedMs : 0);
  }
  if (found.bars.length > 0) return found;
  // Events of earlier versions name no dispatches of the plan.
  for (const { name, runs } of view.sections) {
    for (const { section, label, runs: count, elapsed_ms: elapsedMs } of measured) {
      if (section !== name || runs === 0 || count === 0) continue;
      begin(section);
      found.bars.push({ start: now, length: elapsedMs / count, label, kind: MEASURED });
      now += elapsedMs / count;
    }
  }
  return found;
}

/** Pairs that are shown at once; a deep model has hundreds, most of them alike. */
const PAIRS_SHOWN = 200;

/**
 * What was measured of each dispatch beside what is predicted of it, as an HTML table: milliseconds of one run, both
 * shares of the update, and how many times longer it took. Nothing where nothing was measured.
 */
export function pairedTable(
  view: PlanView,
  measured: readonly MeasuredDispatch[],
  engine: string,
): string | undefined {
  const how = howOf(engine);
  const pairs = pairTimes(view, measured);
  const known = pairs.filter(({ measuredMs }) => measuredMs !== undefined);
  if (known.length === 0) return undefined;
  const sum = (of: (pair: PairedTime) => number): number =>
    known.reduce((total, pair) => total + pair.runs * of(pair), 0);
  const wholeMeasured = sum(({ measuredMs = 0 }) => measuredMs);
  const wholePredicted = sum(({ predictedMs }) => predictedMs);
  const share = (ms: number, whole: number): string =>
    whole === 0 ? "–" : `${((100 * ms) / whole).toFixed(1)} %`;
  const times = (measuredMs: number, predictedMs: number): string =>
    predictedMs === 0 ? "–" : shortNumber(measuredMs / predictedMs);
  const rows = pairs.slice(0, PAIRS_SHOWN).map((pair) => {
    const { section, runs, label, dispatches, predictedMs, measuredMs } = pair;
    const programs = [...new Set(dispatches.map(({ program }) => program))];
    const places = [...new Set(dispatches.map(({ place }) => place))];
    return [
      `<th scope="row">${escapeText(label)}</th>`,
      textCell(runs === 1 ? section : `${section}, ${runs} times`),
      textCell(programs.length > 3 ? `${programs.length} programs` : programs.join(", ")),
      textCell(places.join(" and ")),
      textCell(measuredMs === undefined ? "–" : briefMs(measuredMs)),
      textCell(briefMs(predictedMs)),
      textCell(measuredMs === undefined ? "–" : times(measuredMs, predictedMs)),
      textCell(measuredMs === undefined ? "–" : share(runs * measuredMs, wholeMeasured)),
      textCell(measuredMs === undefined ? "–" : share(runs * predictedMs, wholePredicted)),
    ];
  });
  const total = [
    `<th scope="row">all that was ${how}, an update</th>`,
    ...["", "", ""].map(textCell),
    textCell(briefMs(wholeMeasured)),
    textCell(briefMs(wholePredicted)),
    textCell(times(wholeMeasured, wholePredicted)),
    ...["", ""].map(textCell),
  ];
  const left = pairs.length - rows.length;
  const table = documentTable(
    `Times ${how} and predicted`,
    [
      ...["dispatch", "section", "program", `where on ${view.chip}`, `${how}, ${engine}`],
      ...[`predicted, ${view.chip}`, "times", `of the ${how}`, "of the predicted"],
    ],
    [total, ...rows],
  );
  return `${table}${left > 0 ? `<p>and ${left} more</p>` : ""}`;
}

/** Where each program runs, and why, as an HTML table. */
export function programsTable(view: PlanView): string {
  const rows = view.programs.map((program) => [
    `<th scope="row">${escapeText(program.name)}</th>`,
    textCell(program.place),
    textCell(briefMs(program.predictedMs)),
    `<td class="why">${escapeText(
      [
        program.reason,
        ...program.rules
          .filter(({ severity }) => severity === "error" || program.place !== "host")
          .map(({ rule, says }) => `${rule}: ${says}`),
      ]
        .filter((text) => text !== null)
        .join(" · "),
    )}</td>`,
  ]);
  return documentTable("Where it runs", ["program", "where", "an update", "why"], rows);
}

/** What flows between dispatches: kept for the backward pass, or used at once. */
const EDGE_KINDS = ["activations", "kept for the backward pass"] as const;

/**
 * A section as boxes, forward passes down on the left, backward passes up on the right, so that what is kept runs from
 * one to the other.
 */
export function sectionFlow(view: PlanView, section: SectionView): string {
  const { dispatches } = section;
  const turn = dispatches.findIndex(({ label }) => label.startsWith("backward"));
  const leftCount = turn < 0 ? Math.ceil(dispatches.length / 2) : turn;
  const rightCount = dispatches.length - leftCount;
  const isReturn = turn >= 0;
  const rows = Math.max(leftCount, rightCount);
  const nodes = dispatches.map((dispatch, index): FlowNode => {
    const isLeft = index < leftCount;
    const row = isLeft ? index : isReturn ? rows - 1 - (index - leftCount) : index - leftCount;
    return {
      id: String(index),
      label: dispatch.label,
      detail: `${dispatch.program} · ${briefMs(dispatch.predictedMs)}`,
      title: titleOf(dispatch, view.chip),
      column: isLeft ? 0 : 1,
      row,
      kind: dispatch.place === "engine" ? ENGINE : HOST,
      key: dispatch.program,
    };
  });
  return flowPlot({
    title: `Data flow of ${section.name}`,
    description: `${dispatches.length} dispatches and what flows between them.`,
    nodes,
    edges: edgesOf(dispatches),
    nodeKinds: ["Neural Engine", "host"],
    edgeKinds: EDGE_KINDS,
  });
}

function titleOf({ label, predictedMs, inputs, outputs }: DispatchView, chip: string): string {
  return [
    `${label}: ${briefMs(predictedMs)} predicted on ${chip}`,
    `reads ${byRole(inputs)}`,
    `writes ${byRole(outputs)}`,
  ].join("\n");
}

function byRole(ports: readonly PortView[]): string {
  const roles = new Map<string, number>();
  for (const { role, byteLength } of ports) roles.set(role, (roles.get(role) ?? 0) + byteLength);
  const texts = [...roles].map(([role, bytes]) => `${role} ${formatBytes(bytes)}`);
  return texts.length === 0 ? "nothing" : texts.join(", ");
}

/** One edge between two dispatches for each kind, from the last that wrote a transient buffer to those that read it. */
function edgesOf(dispatches: readonly DispatchView[]): readonly FlowEdge[] {
  const writers = new Map<string, number>();
  const found = new Map<
    string,
    { from: number; to: number; kind: number; bytes: number; count: number }
  >();
  for (const [index, { inputs, outputs }] of dispatches.entries()) {
    for (const { buffer, role, byteLength } of inputs) {
      const from = writers.get(buffer);
      if (from === undefined) continue;
      const kind = role === "tap" ? 1 : 0;
      const key = `${from} ${index} ${kind}`;
      const edge = found.get(key) ?? { from, to: index, kind, bytes: 0, count: 0 };
      edge.bytes += byteLength;
      edge.count++;
      found.set(key, edge);
    }
    for (const { buffer, role } of outputs)
      if (role === "activation" || role === "tap" || role === "scratch") writers.set(buffer, index);
  }
  return [...found.values()].map(({ from, to, kind, bytes, count }) => ({
    from: String(from),
    to: String(to),
    kind,
    title: `${EDGE_KINDS[kind] ?? ""}: ${count} ${count === 1 ? "buffer" : "buffers"}, ${formatBytes(bytes)}`,
  }));
}
