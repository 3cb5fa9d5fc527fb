import {
  escapeText,
  FAINT,
  fixed,
  hue,
  INK,
  MUTED,
  PAPER,
  picture,
  textAt,
  legendParts,
} from "./svg.ts";
import type { Titled } from "./svg.ts";

export interface FlowNode {
  readonly id: string;
  readonly label: string;
  /** Smaller, below the label. */
  readonly detail: string;
  /** Told on hover. */
  readonly title: string;
  readonly column: number;
  readonly row: number;
  /** Index of a colour. */
  readonly kind: number;
  /** What a page finds it by. */
  readonly key: string;
}

export interface FlowEdge {
  readonly from: string;
  readonly to: string;
  /** Index of a colour. */
  readonly kind: number;
  readonly title: string;
}

export interface FlowPlot extends Titled {
  readonly nodes: readonly FlowNode[];
  readonly edges: readonly FlowEdge[];
  /** What colours mean: of nodes, then of edges. */
  readonly nodeKinds: readonly string[];
  readonly edgeKinds: readonly string[];
}

const WIDE = 250;
const HIGH = 46;
const GAP_X = 120;
const GAP_Y = 22;
const MARGIN = 30;
const TOP = 34;
const LABEL_LIMIT = 34;

/** Boxes in columns and what flows between them. */
export function flowPlot(plot: FlowPlot): string {
  const columns = Math.max(0, ...plot.nodes.map(({ column }) => column)) + 1;
  const rows = Math.max(0, ...plot.nodes.map(({ row }) => row)) + 1;
  const width = 2 * MARGIN + columns * WIDE + (columns - 1) * GAP_X + 40;
  const height = TOP + rows * (HIGH + GAP_Y) + 12;
  const places = new Map(
    plot.nodes.map((node) => [
      node.id,
      { x: MARGIN + 20 + node.column * (WIDE + GAP_X), y: TOP + node.row * (HIGH + GAP_Y), node },
    ]),
  );
  const parts: string[] = [arrowHeads(plot.edgeKinds.length), ...legend(plot)];
  for (const { from, to, kind, title } of plot.edges) {
    const start = places.get(from);
    const end = places.get(to);
    if (start === undefined || end === undefined) continue;
    const stroke = hue(kind + plot.nodeKinds.length);
    parts.push(
      `<path d="${pathBetween(start, end)}" fill="none" stroke="${stroke}" stroke-width="1.5" stroke-opacity="0.8" marker-end="url(#flow-${kind})"><title>${escapeText(title)}</title></path>`,
    );
  }
  for (const { x, y, node } of places.values()) {
    const label =
      node.label.length > LABEL_LIMIT ? `${node.label.slice(0, LABEL_LIMIT - 1)}…` : node.label;
    parts.push(
      `<g data-key="${escapeText(node.key)}" class="picked"><title>${escapeText(node.title)}</title><rect x="${fixed(x)}" y="${fixed(y)}" width="${WIDE}" height="${HIGH}" rx="6" fill="${PAPER}" stroke="${FAINT}"/><rect x="${fixed(x)}" y="${fixed(y)}" width="${WIDE}" height="${HIGH}" rx="6" fill="${hue(node.kind)}" fill-opacity="0.16" stroke="${hue(node.kind)}" stroke-width="1.5"/>${textAt(x + 10, y + 19, label, { size: 13, fill: INK })}${textAt(x + 10, y + 36, node.detail, { size: 11.5, fill: MUTED })}</g>`,
    );
  }
  return picture({ ...plot, width, height }, parts);
}

interface Place {
  readonly x: number;
  readonly y: number;
  readonly node: FlowNode;
}

/** From the side that faces the other box; around the boxes between where one stands below another. */
function pathBetween(start: Place, end: Place): string {
  const middleX = (place: Place): number => place.x + WIDE / 2;
  if (start.node.column === end.node.column) {
    const isDown = end.node.row > start.node.row;
    const from = isDown ? start.y + HIGH : start.y;
    const to = isDown ? end.y - 4 : end.y + HIGH + 4;
    if (Math.abs(end.node.row - start.node.row) === 1)
      return `M${fixed(middleX(start))} ${fixed(from)}L${fixed(middleX(end))} ${fixed(to)}`;
    // Columns on the left are passed on their left, others on their right.
    const isLeft = start.node.column === 0;
    const side = isLeft ? start.x : start.x + WIDE;
    const bend = side + (isLeft ? -26 : 26);
    const tip = side + (isLeft ? -4 : 4);
    return `M${fixed(side)} ${fixed(start.y + HIGH / 2)}C${fixed(bend)} ${fixed(start.y + HIGH / 2)} ${fixed(bend)} ${fixed(end.y + HIGH / 2)} ${fixed(tip)} ${fixed(end.y + HIGH / 2)}`;
  }
  const isRight = end.node.column > start.node.column;
  const fromX = isRight ? start.x + WIDE : start.x;
  const toX = isRight ? end.x - 4 : end.x + WIDE + 4;
  const fromY = start.y + HIGH / 2;
  const toY = end.y + HIGH / 2;
  const half = (fromX + toX) / 2;
  return `M${fixed(fromX)} ${fixed(fromY)}C${fixed(half)} ${fixed(fromY)} ${fixed(half)} ${fixed(toY)} ${fixed(toX)} ${fixed(toY)}`;
}

function arrowHeads(count: number): string {
  const heads = Array.from(
    { length: count },
    (_, kind) =>
      `<marker id="flow-${kind}" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="6" markerHeight="6" orient="auto-start-reverse"><path d="M0 0L8 4L0 8Z" fill="${MUTED}"/></marker>`,
  );
  return `<defs>${heads.join("")}</defs>`;
}

function legend({ nodeKinds, edgeKinds }: FlowPlot): readonly string[] {
  const sign = (kind: number, left: number): string =>
    kind < nodeKinds.length
      ? `<rect x="${fixed(left)}" y="6" width="16" height="12" rx="3" fill="${hue(kind)}" fill-opacity="0.2" stroke="${hue(kind)}"/>`
      : `<rect x="${fixed(left)}" y="11" width="16" height="2" fill="${hue(kind)}"/>`;
  const sizes = { gap: 22, baseline: 17, letterWidth: 6.6, behind: 16, size: 12 };
  return legendParts([...nodeKinds, ...edgeKinds], MARGIN + 20, sign, sizes);
}
