// Pictures of a run's step, for the page and for a report alike: nothing here asks a file or the network.
import { formatBytes } from "../../util/format.ts";
import { dotPlot } from "../../util/plot/dot-plot.ts";
import { flowPlot } from "../../util/plot/flow-plot.ts";
import type { FlowEdge, FlowNode } from "../../util/plot/flow-plot.ts";
import { timelinePlot } from "../../util/plot/timeline-plot.ts";
import type { TimelineBar } from "../../util/plot/timeline-plot.ts";
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

/** A dispatch as a process measured it, summed over its runs. */
export interface MeasuredDispatch {
  readonly section: string;
  readonly label: string;
  readonly runs: number;
  readonly elapsed_ms: number;
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
      { name: `${view.chip}, engine`, bars: lanes.engine, isPredicted: true },
      { name: `${view.chip}, host`, bars: lanes.host, isPredicted: true },
    ],
  });
}

/** The lane of what was measured, over an axis of its own: another machine is slower or faster by far. */
export function measuredTimeline(
  view: PlanView,
  measured: readonly MeasuredDispatch[],
  engine: string,
): string | undefined {
  const sections = view.sections.filter(({ runs }) => runs > 0);
  const bars = measuredBars(sections, measured);
  if (bars.length === 0) return undefined;
  const marks = bars.flatMap(({ section, start }, index) =>
    bars[index - 1]?.section === section ? [] : [{ at: start, label: section }],
  );
  return timelinePlot({
    title: "One update, measured",
    description: `Dispatches of one update as they were measured on ${engine}, mean over their runs.`,
    kinds: [],
    marks,
    lanes: [{ name: engine, bars, isPredicted: false }],
  });
}

function measuredBars(
  sections: readonly SectionView[],
  measured: readonly MeasuredDispatch[],
): readonly (TimelineBar & { readonly section: string })[] {
  let now = 0;
  return sections.flatMap(({ name }) =>
    measured
      .filter(({ section, runs }) => section === name && runs > 0)
      .map(({ section, label, runs, elapsed_ms: elapsedMs }) => {
        const length = elapsedMs / runs;
        const bar = { section, start: now, length, label, kind: MEASURED };
        now += length;
        return bar;
      }),
  );
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
