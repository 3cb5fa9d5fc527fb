import { formatBytes } from "../../src/util/format.ts";
import { smoothed } from "../../src/util/plot/down-sample.ts";
import { shortNumber } from "../../src/util/plot/scale.ts";
import {
  AXIS_NAMES,
  axis,
  formatAxis,
  isLogScale,
  shownRange,
  smoothing,
} from "../chart-settings.ts";
import type { GrowingCurve, LiveRun } from "../live-run.ts";
import { Chart } from "../parts/chart.tsx";
import type { Line } from "../parts/chart.tsx";
import { CurveTools } from "../parts/curve-tools.tsx";
import { colourVersion, curveColour } from "../theme.ts";

interface Panel {
  readonly title: string;
  /** Names of numbers, and what they are called in the legend. */
  readonly names: readonly (readonly [string, string])[];
  readonly format: (value: number) => string;
  readonly isSmoothed?: boolean;
  readonly mayBeLog?: boolean;
}

const percent = (value: number): string => `${(value * 100).toFixed(0)} %`;

const PANELS: readonly Panel[] = [
  {
    title: "loss",
    names: [
      ["train_loss", "training"],
      ["eval_loss", "validation"],
    ],
    format: (value) => value.toFixed(value < 0.1 ? 4 : 3),
    isSmoothed: true,
    mayBeLog: true,
  },
  { title: "learning rate", names: [["learning_rate", "rate"]], format: small },
  {
    title: "gradient norm",
    names: [["gradient_norm", "norm"]],
    format: shortNumber,
    isSmoothed: true,
    mayBeLog: true,
  },
  { title: "loss scale", names: [["loss_scale", "scale"]], format: shortNumber, mayBeLog: true },
  {
    title: "tokens a second",
    names: [["tokens_per_second", "tokens/s"]],
    format: shortNumber,
    isSmoothed: true,
  },
  {
    title: "memory",
    names: [
      ["resident_bytes", "process"],
      ["transient_bytes", "transient buffers"],
    ],
    format: formatBytes,
  },
  { title: "engine share", names: [["engine_share", "busy"]], format: percent },
  { title: "TFLOPS", names: [["tflops", "engine"]], format: shortNumber },
  {
    title: "watts",
    names: [
      ["watts", "all rails"],
      ["ane_watts", "Neural Engine"],
    ],
    format: shortNumber,
  },
  { title: "joules a token", names: [["joules_per_token", "joules"]], format: small },
];

function small(value: number): string {
  return value !== 0 && Math.abs(value) < 0.01 ? value.toExponential(1) : shortNumber(value);
}

export function RunCurves({ live }: { readonly live: LiveRun }) {
  void colourVersion.value;
  const all = live.curves.value;
  const { zoomed } = live;
  const part = shownRange.value === null ? null : zoomed.value;
  const formatX = formatAxis(axis.value);
  const panels = PANELS.filter(({ names }) => names.some(([name]) => all.has(name)));
  return (
    <section aria-label="Curves">
      <div class="panel">
        <CurveTools />
      </div>
      {panels.length === 0 && <p class="empty">Nothing has been reported yet.</p>}
      <div class="charts">
        {panels.map((panel, index) => (
          <div class={`panel ${index === 0 ? "first" : ""}`} key={panel.title}>
            <Chart
              title={panel.title}
              lines={panelLines(panel, part?.curves ?? all)}
              xLabel={AXIS_NAMES.find(([name]) => name === axis.value)?.[1] ?? ""}
              {...(formatX && { formatX })}
              formatY={panel.format}
              isLog={panel.mayBeLog === true && isLogScale.value}
              range={shownRange}
              height={index === 0 ? 320 : 190}
            />
          </div>
        ))}
      </div>
    </section>
  );
}

function panelLines(panel: Panel, curves: ReadonlyMap<string, GrowingCurve>): readonly Line[] {
  const weight = panel.isSmoothed === true ? smoothing.value : 0;
  return panel.names.flatMap(([name, label], index): Line[] => {
    const curve = curves.get(name);
    if (curve === undefined) return [];
    const { x, y } = curve;
    const line = { label, colour: curveColour(index), x };
    // Evaluations are few, and means already.
    if (name === "eval_loss") return [{ ...line, y, hasMarks: true }];
    if (weight === 0) return [{ ...line, y, hasMarks: x.length < 40 }];
    return [
      { ...line, y, isFaint: true },
      { ...line, y: smoothed(y, weight) },
    ];
  });
}
