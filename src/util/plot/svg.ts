/** Escapes text for an element or a quoted attribute of HTML or SVG. */
export function escapeText(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("'", "&#39;");
}

/**
 * How a number came to be, told by form as well as by colour: measured ones are filled circles on whole lines,
 * published ones hollow squares, predicted ones hollow diamonds on dashed lines.
 */
export const STYLES = ["measured", "published", "predicted"] as const;
export type Style = (typeof STYLES)[number];

/** Colours of series: CSS variables `--plot-1` ... with a fallback that reads on white and on black. */
const HUES = ["#3b76c4", "#c8553d", "#3a8f5c", "#9467bd", "#8f7500"] as const;

export function hue(index: number): string {
  const number = index % HUES.length;
  return `var(--plot-${number + 1}, ${HUES[number] ?? "#777"})`;
}

export const INK = "var(--plot-ink, #222)";
export const FAINT = "var(--plot-faint, #ccc)";
export const MUTED = "var(--plot-muted, #666)";
export const PAPER = "var(--plot-paper, #fff)";

export function fixed(value: number): string {
  return String(Number(value.toFixed(1)));
}

/** How wide a letter of size 13 may be in the widest of the usual fonts. */
export const LETTER_WIDTH = 8.3;

export interface TextOptions {
  readonly anchor?: "start" | "middle" | "end";
  readonly fill?: string;
  readonly size?: number;
  readonly rotate?: boolean;
}

export function textAt(x: number, y: number, content: string, options: TextOptions = {}): string {
  const { anchor = "start", fill = INK, size = 13, rotate = false } = options;
  const turned = rotate ? ` transform="rotate(-90 ${fixed(x)} ${fixed(y)})"` : "";
  return `<text x="${fixed(x)}" y="${fixed(y)}" font-size="${size}" text-anchor="${anchor}" fill="${fill}"${turned}>${escapeText(content)}</text>`;
}

export function lineAt(
  x1: number,
  y1: number,
  x2: number,
  y2: number,
  stroke: string,
  dash = "",
): string {
  const dashed = dash === "" ? "" : ` stroke-dasharray="${dash}"`;
  return `<line x1="${fixed(x1)}" y1="${fixed(y1)}" x2="${fixed(x2)}" y2="${fixed(y2)}" stroke="${stroke}"${dashed}/>`;
}

/** A number's mark, with what it says on hover. */
export function markAt(x: number, y: number, style: Style, colour: string, title: string): string {
  const told = `<title>${escapeText(title)}</title>`;
  switch (style) {
    case "measured":
      return `<circle cx="${fixed(x)}" cy="${fixed(y)}" r="5" fill="${colour}">${told}</circle>`;
    case "published":
      return `<rect x="${fixed(x - 5)}" y="${fixed(y - 5)}" width="10" height="10" fill="${PAPER}" stroke="${colour}" stroke-width="2">${told}</rect>`;
    case "predicted":
      return `<path d="M${fixed(x)} ${fixed(y - 6)}L${fixed(x + 6)} ${fixed(y)}L${fixed(x)} ${fixed(y + 6)}L${fixed(x - 6)} ${fixed(y)}Z" fill="${PAPER}" stroke="${colour}" stroke-width="2">${told}</path>`;
  }
}

export function pathThrough(
  points: readonly (readonly [number, number])[],
  colour: string,
  dash: string,
): string {
  const steps = points.map(([x, y], i) => `${i === 0 ? "M" : "L"}${fixed(x)} ${fixed(y)}`).join("");
  const dashed = dash === "" ? "" : ` stroke-dasharray="${dash}"`;
  return `<path d="${steps}" fill="none" stroke="${colour}" stroke-width="2"${dashed}/>`;
}

/** What a picture is called, and what it shows, for those who do not see it. */
export interface Titled {
  readonly title: string;
  readonly description: string;
}

export interface Frame extends Titled {
  readonly width: number;
  readonly height: number;
}

/** Horizontal lines at the ticks of a scale, from `left` to `right`, with their numbers before them. */
export function rowGrid(
  ticks: readonly number[],
  y: (value: number) => number,
  [left, right]: readonly [number, number],
  format: (value: number) => string,
  size?: number,
): readonly string[] {
  const options = { anchor: "end", ...(size !== undefined && { size }) } as const;
  return ticks.flatMap((tick) => [
    lineAt(left, y(tick), right, y(tick), FAINT),
    textAt(left - 7, y(tick) + 4, format(tick), options),
  ]);
}

/** The line of the axis at the bottom, with the words of both axes. */
export function axisParts(
  {
    left,
    right,
    top,
    bottom,
    height,
  }: Readonly<Record<"left" | "right" | "top" | "bottom" | "height", number>>,
  labels: { readonly x: string; readonly y: string },
): readonly string[] {
  const options = { anchor: "middle", fill: MUTED } as const;
  return [
    lineAt(left, bottom, right, bottom, INK),
    textAt((left + right) / 2, height - 10, labels.x, options),
    textAt(15, (top + bottom) / 2, labels.y, { ...options, rotate: true }),
  ];
}

/** What kinds look like, side by side from `left` on: a sign for each, its name `gap` behind the sign's beginning. */
export function legendParts(
  names: readonly string[],
  left: number,
  sign: (kind: number, left: number) => string,
  { gap, baseline, letterWidth, behind, size = 13 }: LegendSizes,
): readonly string[] {
  let at = left;
  return names.flatMap((name, kind) => {
    const parts = [sign(kind, at), textAt(at + gap, baseline, name, { size })];
    at += gap + name.length * letterWidth + behind;
    return parts;
  });
}

/** Room in a legend. */
export interface LegendSizes {
  readonly gap: number;
  readonly baseline: number;
  readonly letterWidth: number;
  /** Between a name and the next sign. */
  readonly behind: number;
  readonly size?: number;
}

/** A whole picture with a name and a description for those who do not see it. */
export function picture(frame: Frame, parts: readonly string[]): string {
  const { width, height, title, description } = frame;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeText(`${title}. ${description}`)}"><title>${escapeText(title)}</title><desc>${escapeText(description)}</desc>\n${parts.join("\n")}\n</svg>`;
}

/** A picture as a file of its own: with letters, paper and the colours that a page around it gives otherwise. */
export function drawing(frame: Frame, parts: readonly string[]): string {
  const paper = `<rect width="100%" height="100%" fill="${PAPER}"/>`;
  return `${picture(frame, [paper, ...parts])
    .replace("<svg ", '<svg font-family="system-ui, sans-serif" ')
    .replaceAll(/var\(--[\w-]+, (#\w+)\)/g, "$1")}\n`;
}

/** Moves labels apart that would overlap: tops at least `gap` apart, order kept, none outside. */
export function spread(
  wanted: readonly number[],
  gap: number,
  low: number,
  high: number,
): readonly number[] {
  const order = wanted.map((_, index) => index).sort((a, b) => (wanted[a] ?? 0) - (wanted[b] ?? 0));
  const placed = [...wanted];
  let last = -Infinity;
  for (const index of order) {
    last = Math.max(wanted[index] ?? 0, last + gap, low);
    placed[index] = last;
  }
  let limit = high;
  for (const index of order.toReversed()) {
    limit = Math.min(placed[index] ?? 0, limit);
    placed[index] = limit;
    limit -= gap;
  }
  return placed;
}
