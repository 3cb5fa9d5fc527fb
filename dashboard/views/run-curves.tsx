import { PANELS } from "../../src/server/runs/panels.ts";
import type { Panel } from "../../src/server/runs/panels.ts";
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
import { curveLines } from "../parts/curve-lines.ts";
import { CurveTools } from "../parts/curve-tools.tsx";
import { colourVersion } from "../theme.ts";

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
  return panel.names.flatMap(([name, label], place) => {
    const curve = curves.get(name);
    if (curve === undefined) return [];
    // Evaluations are few, and means already.
    const isRaw = name === "eval_loss";
    return curveLines({
      ...{ label, place, x: curve.x, y: curve.y },
      smoothing: isRaw || panel.isSmoothed !== true ? 0 : smoothing.value,
      marksBelow: isRaw ? Infinity : 40,
    });
  });
}
