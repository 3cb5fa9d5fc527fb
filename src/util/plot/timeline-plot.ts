import { formatMs } from "../format.ts";
import { linearScale, shortNumber } from "./scale.ts";
import {
  escapeText,
  FAINT,
  fixed,
  hue,
  INK,
  lineAt,
  MUTED,
  picture,
  textAt,
  legendParts,
} from "./svg.ts";
import type { Titled } from "./svg.ts";

export interface TimelineBar {
  /** Milliseconds from the start. */
  readonly start: number;
  readonly length: number;
  readonly label: string;
  /** Index of a colour; bars of one kind look alike. */
  readonly kind: number;
  /** What a page finds it by. */
  readonly key?: string;
}

export interface TimelinePlot extends Titled {
  readonly lanes: readonly {
    readonly name: string;
    readonly bars: readonly TimelineBar[];
    /** How the times came to be; what is not measured is drawn hollow. */
    readonly how: "measured" | "predicted" | "simulated";
  }[];
  /** Vertical lines with a word at the top. */
  readonly marks: readonly { readonly at: number; readonly label: string }[];
  readonly kinds: readonly string[];
}

const WIDTH = 960;
const LEFT = 150;
const RIGHT = 20;
const TOP = 54;
const LANE = 44;
const BOTTOM = 46;
/** A bar that is narrower has no label inside. */
const CHARACTER = 7;

/** What ran when, a lane below the other, over one axis of milliseconds. */
export function timelinePlot(plot: TimelinePlot): string {
  const ends = plot.lanes.flatMap(({ bars }) => bars.map(({ start, length }) => start + length));
  const scale = linearScale(Math.max(0, ...ends));
  const height = TOP + plot.lanes.length * LANE + BOTTOM;
  const bottom = height - BOTTOM;
  const right = WIDTH - RIGHT;
  const x = (value: number): number => LEFT + scale.place(value) * (right - LEFT);
  const parts: string[] = [];
  for (const tick of scale.ticks) {
    parts.push(lineAt(x(tick), TOP - 4, x(tick), bottom, FAINT));
    parts.push(textAt(x(tick), bottom + 18, shortNumber(tick), { anchor: "middle" }));
  }
  let lastMark = Number.NEGATIVE_INFINITY;
  for (const { at, label } of plot.marks) {
    parts.push(lineAt(x(at), TOP - 8, x(at), bottom, MUTED, "3 3"));
    if (x(at) < lastMark) continue;
    lastMark = x(at) + label.length * CHARACTER + 10;
    const isLast = lastMark > WIDTH;
    parts.push(
      textAt(isLast ? WIDTH - 2 : x(at) + 3, TOP - 12, label, {
        ...{ fill: MUTED, size: 12 },
        anchor: isLast ? "end" : "start",
      }),
    );
  }
  for (const [index, lane] of plot.lanes.entries()) {
    const top = TOP + index * LANE + 6;
    parts.push(textAt(LEFT - 10, top + 20, lane.name, { anchor: "end" }));
    for (const bar of lane.bars) {
      const wide = Math.max(0.8, x(bar.start + bar.length) - x(bar.start));
      const told = `${bar.label}: ${formatMs(bar.length)} ${lane.how}`;
      const key = bar.key === undefined ? "" : ` data-key="${escapeText(bar.key)}" class="picked"`;
      const isHollow = lane.how !== "measured";
      const dash = isHollow ? ' stroke-dasharray="4 2"' : "";
      parts.push(
        `<g${key}><title>${escapeText(told)}</title><rect x="${fixed(x(bar.start))}" y="${top}" width="${fixed(wide)}" height="${LANE - 14}" fill="${hue(bar.kind)}" fill-opacity="${isHollow ? 0.28 : 0.75}" stroke="${wide < 3 ? "none" : hue(bar.kind)}"${dash}/>${labelIn(bar, x(bar.start), wide, top)}</g>`,
      );
    }
  }
  parts.push(
    lineAt(LEFT, bottom, right, bottom, INK),
    textAt((LEFT + right) / 2, height - 8, "milliseconds", { anchor: "middle", fill: MUTED }),
    ...legendParts(
      plot.kinds,
      LEFT,
      (kind, left) =>
        `<rect x="${fixed(left)}" y="6" width="18" height="12" fill="${hue(kind)}" fill-opacity="0.6" stroke="${hue(kind)}"/>`,
      { gap: 24, baseline: 17, letterWidth: 7, behind: 16, size: 12 },
    ),
  );
  return picture({ ...plot, width: WIDTH, height }, parts);
}

function labelIn({ label }: TimelineBar, left: number, wide: number, top: number): string {
  const count = Math.floor((wide - 8) / CHARACTER);
  if (count < 4) return "";
  const text = label.length <= count ? label : `${label.slice(0, count - 1)}…`;
  return textAt(left + 4, top + 20, text, { size: 12 });
}
