import { linearScale, shortNumber } from "./scale.ts";
import {
  fixed,
  hue,
  INK,
  markAt,
  PAPER,
  picture,
  escapeText,
  textAt,
  rowGrid,
  axisParts,
  legendParts,
} from "./svg.ts";
import type { Style, Titled } from "./svg.ts";

export interface Bar {
  /** Index into `BarPlot.kinds`. */
  readonly kind: number;
  readonly values: Readonly<Partial<Record<Style, number>>>;
}

export interface BarPlot extends Titled {
  readonly valueLabel: string;
  readonly groupLabel: string;
  /** What the bars of a group are: the first is filled, the others are hatched. */
  readonly kinds: readonly string[];
  readonly groups: readonly { readonly name: string; readonly bars: readonly Bar[] }[];
}

const WIDTH = 480;
const HEIGHT = 320;
const MARGIN = { left: 58, right: 14, top: 46, bottom: 50 } as const;

/**
 * Groups of bars. A bar is as high as what was measured, else as what is predicted, then with a dashed outline;
 * marks show the other values of the same bar.
 */
export function barPlot(plot: BarPlot): string {
  // A name of its own among the plots of a page.
  const id = `hatch-${plot.title.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-")}`;
  const values = plot.groups.flatMap(({ bars }) =>
    bars.flatMap((bar) => Object.values(bar.values)),
  );
  const scale = linearScale(Math.max(0, ...values));
  const bottom = HEIGHT - MARGIN.bottom;
  const right = WIDTH - MARGIN.right;
  const y = (value: number): number => bottom - scale.place(value) * (bottom - MARGIN.top);
  const parts = [
    hatches(id, plot.kinds.length),
    ...rowGrid(scale.ticks, y, [MARGIN.left, right], shortNumber),
  ];
  const slot = (right - MARGIN.left) / Math.max(1, plot.groups.length);
  const barWidth = Math.min(46, (slot * 0.78) / Math.max(1, plot.kinds.length));
  for (const [index, group] of plot.groups.entries()) {
    const middle = MARGIN.left + slot * (index + 0.5);
    const start = middle - (barWidth * group.bars.length) / 2;
    for (const [place, bar] of group.bars.entries())
      parts.push(...barParts(plot, group.name, bar, start + place * barWidth, barWidth, y, id));
    parts.push(textAt(middle, bottom + 19, group.name, { anchor: "middle" }));
  }
  const labels = { x: plot.groupLabel, y: plot.valueLabel };
  parts.push(
    ...axisParts({ ...MARGIN, right, bottom, height: HEIGHT }, labels),
    ...legendParts(
      plot.kinds,
      MARGIN.left,
      (kind, left) =>
        `<rect x="${fixed(left)}" y="12" width="18" height="13" fill="${fillOf(kind, id)}" stroke="${hue(kind)}"/>`,
      { gap: 24, baseline: 23, letterWidth: 6.9, behind: 14 },
    ),
  );
  return picture({ ...plot, width: WIDTH, height: HEIGHT }, parts);
}

function fillOf(kind: number, id: string): string {
  return kind === 0 ? hue(0) : `url(#${id}-${kind})`;
}

/** Patterns of lines, so that bars differ without colour. */
function hatches(id: string, count: number): string {
  const patterns = Array.from({ length: Math.max(0, count - 1) }, (_, index) => {
    const kind = index + 1;
    const step = kind === 1 ? 6 : 4;
    return `<pattern id="${id}-${kind}" width="${step}" height="${step}" patternUnits="userSpaceOnUse" patternTransform="rotate(${kind === 1 ? 45 : -45})"><rect width="${step}" height="${step}" fill="${PAPER}"/><rect width="${step / 2}" height="${step}" fill="${hue(kind)}"/></pattern>`;
  });
  return `<defs>${patterns.join("")}</defs>`;
}

function barParts(
  plot: BarPlot,
  group: string,
  bar: Bar,
  left: number,
  width: number,
  y: (value: number) => number,
  id: string,
): readonly string[] {
  const { measured, predicted, published } = bar.values;
  const height = measured ?? predicted;
  const name = `${plot.kinds[bar.kind] ?? ""}, ${group}`;
  const parts: string[] = [];
  if (height !== undefined) {
    const dash = measured === undefined ? ' stroke-dasharray="5 3"' : "";
    const opacity = measured === undefined ? 0.45 : 1;
    parts.push(
      `<rect x="${fixed(left + 2)}" y="${fixed(y(height))}" width="${fixed(width - 4)}" height="${fixed(y(0) - y(height))}" fill="${fillOf(bar.kind, id)}" fill-opacity="${opacity}" stroke="${hue(bar.kind)}" stroke-width="1.5"${dash}><title>${escapeText(`${name}: ${shortNumber(height)} ${plot.valueLabel} ${measured === undefined ? "predicted" : "measured"}`)}</title></rect>`,
    );
  }
  for (const [style, value] of [
    ["predicted", predicted],
    ["published", published],
  ] as const) {
    if (value === undefined) continue;
    const title = `${name}: ${shortNumber(value)} ${plot.valueLabel} ${style}`;
    // In the colour of text: seen on any bar.
    parts.push(markAt(left + width / 2, y(value), style, INK, title));
  }
  return parts;
}
