import { extentText, operationText } from "./listing.ts";
import type { BufferRole, HwxFile, HwxTask } from "./model.ts";
import { grouped } from "../../util/grouped.ts";
import { escapeText } from "../../util/plot/svg.ts";

/** A task, a buffer, or what stands for those left out. */
export interface GraphNode {
  readonly id: string;
  readonly kind: "task" | BufferRole | "more";
  readonly lines: readonly string[];
}

/** What a task reads or writes. */
export interface GraphEdge {
  readonly from: string;
  readonly to: string;
  readonly label: string;
}

/** A data flow: nodes and what runs between them. */
export interface HwxGraph {
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
}

/** How a graph is drawn. */
export interface GraphOptions {
  /** Tasks drawn at most; the rest is told in one node. */
  readonly taskLimit?: number;
}

const TASK_LIMIT = 400;

/** Tasks and the buffers between them: which task reads and writes what, in DRAM or on chip. */
export function hwxGraph(file: HwxFile, options: GraphOptions = {}): HwxGraph {
  const shown = file.tasks.slice(0, options.taskLimit ?? TASK_LIMIT);
  const nodes = new Map<string, GraphNode>();
  const edges: GraphEdge[] = [];
  const scratch = new ScratchVersions();
  let onChip: string | undefined;
  for (const task of shown) {
    const id = `t${task.index}`;
    nodes.set(id, { id, kind: "task", lines: taskTitle(task) });
    for (const operand of task.meaning.operands) {
      const isResult = operand.name === "result";
      const label =
        operand.name === "source" || isResult ? byteText(operand.dramBytes) : operand.name;
      if (operand.place.where === "on-chip") {
        if (isResult) onChip = id;
        else if (onChip !== undefined && onChip !== id) {
          edges.push({ from: onChip, to: id, label: "on-chip" });
        }
      } else if (operand.place.where === "dram") {
        const { role, name, base, offset } = operand.place;
        const buffers =
          role !== "scratch"
            ? [`b${base}`]
            : isResult
              ? [scratch.write(base, offset)]
              : scratch.read(base, offset, operand.dramBytes ?? 1);
        const at = role === "scratch" && offset !== 0 ? `+0x${offset.toString(16)}` : "";
        for (const buffer of buffers) {
          if (!nodes.has(buffer)) {
            nodes.set(buffer, {
              id: buffer,
              kind: role,
              lines: [`${name}${at}`, `${role}, base ${base}`],
            });
          }
          edges.push(isResult ? { from: id, to: buffer, label } : { from: buffer, to: id, label });
        }
      }
    }
  }
  if (shown.length < file.tasks.length) {
    const left = file.tasks.length - shown.length;
    nodes.set("more", { id: "more", kind: "more", lines: [`${left} more tasks`, "not drawn"] });
  }
  return { nodes: [...nodes.values()], edges: distinct(edges) };
}

/**
 * Scratch memory is written again and again at the same places: each write is a node of its own, so that the picture
 * has no false cycles, and a read comes from the latest writes inside its range.
 */
class ScratchVersions {
  readonly #latest = new Map<number, Map<number, string>>();
  #count = 0;

  write(base: number, offset: number): string {
    const id = `s${base}_${this.#count++}`;
    const writes = this.#latest.get(base) ?? new Map<number, string>();
    writes.set(offset, id);
    this.#latest.set(base, writes);
    return id;
  }

  read(base: number, offset: number, byteLength: number): string[] {
    const writes = [...(this.#latest.get(base) ?? [])];
    const inside = writes.filter(([at]) => at >= offset && at < offset + byteLength);
    const found = inside.length > 0 ? inside : writes.slice(-1);
    return found.length > 0 ? found.map(([, id]) => id) : [`s${base}_before`];
  }
}

/** Edges without those that stand there already. */
export function distinct(edges: readonly GraphEdge[]): GraphEdge[] {
  const seen = new Map(edges.map((edge) => [`${edge.from} ${edge.to} ${edge.label}`, edge]));
  return [...seen.values()];
}

function taskTitle(task: HwxTask): string[] {
  const { meaning } = task;
  return [
    `${task.index}: ${operationText(meaning)}`,
    `${extentText(meaning.input)} → ${extentText(meaning.output)}`,
    ...(meaning.multiplyAccumulates === null || meaning.multiplyAccumulates === 0
      ? []
      : [`${meaning.multiplyAccumulates} MAC`]),
  ];
}

function byteText(bytes: number | null): string {
  if (bytes === null) return "? bytes";
  if (bytes < 10_000) return `${bytes} bytes`;
  return bytes < 10_000_000 ? `${(bytes / 1000).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(0)} MB`;
}

/** The graph in Mermaid's notation, as Markdown pages show it. */
export function graphToMermaid(graph: HwxGraph): string {
  const text = (lines: readonly string[]): string => `"${lines.map(mermaidText).join("<br/>")}"`;
  const lines = ["flowchart TD"];
  for (const node of graph.nodes) {
    lines.push(
      `  ${node.id}${node.kind === "task" ? `[${text(node.lines)}]` : `([${text(node.lines)}])`}`,
    );
  }
  for (const edge of graph.edges)
    lines.push(`  ${edge.from} -->|"${mermaidText(edge.label)}"| ${edge.to}`);
  return `${lines.join("\n")}\n`;
}

function mermaidText(text: string): string {
  return text.replace(/["<>&#]/g, (mark) => `#${mark.codePointAt(0) ?? 0};`);
}

const BOX = { width: 240, lineHeight: 15, gapX: 36, gapY: 54, margin: 20 };
const COLOURS: Readonly<Record<GraphNode["kind"], string>> = {
  task: "#dbe9ff",
  input: "#d9f2dd",
  output: "#ffe3c9",
  weights: "#efe2ff",
  scratch: "#eeeeee",
  text: "#eeeeee",
  unknown: "#ffffff",
  more: "#ffd6d6",
};

interface Placed {
  readonly node: GraphNode;
  readonly x: number;
  readonly y: number;
  readonly height: number;
}

/** The graph as a picture: one row a rank, ranks by the longest way from an input. */
export function graphToSvg(graph: HwxGraph): string {
  const rows = rowsOf(graph);
  const placed = new Map<string, Placed>();
  const widest = Math.max(1, ...rows.map((row) => row.length));
  const width = BOX.margin * 2 + widest * (BOX.width + BOX.gapX) - BOX.gapX;
  let y = BOX.margin;
  for (const row of rows) {
    const rowWidth = row.length * (BOX.width + BOX.gapX) - BOX.gapX;
    const height = Math.max(...row.map((node) => node.lines.length)) * BOX.lineHeight + 14;
    row.forEach((node, index) => {
      const x = (width - rowWidth) / 2 + index * (BOX.width + BOX.gapX);
      placed.set(node.id, { node, x, y, height });
    });
    y += height + BOX.gapY;
  }
  const body = [
    ...graph.edges.map((edge) => edgeSvg(edge, placed)),
    ...[...placed.values()].map(nodeSvg),
  ];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y}" viewBox="0 0 ${width} ${y}" font-family="sans-serif" font-size="11">`,
    '<defs><marker id="a" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
    `<rect width="100%" height="100%" fill="#fff"/>`,
    ...body,
    "</svg>\n",
  ].join("\n");
}

function rowsOf(graph: HwxGraph): readonly (readonly GraphNode[])[] {
  const rank = new Map(graph.nodes.map((node) => [node.id, 0]));
  // Edges go from earlier to later nodes but for a buffer that is both read and written: bound the passes.
  for (let pass = 0; pass < graph.nodes.length; pass++) {
    let moved = false;
    for (const { from, to } of graph.edges) {
      const wanted = (rank.get(from) ?? 0) + 1;
      if (wanted > (rank.get(to) ?? 0) && wanted <= graph.nodes.length) {
        rank.set(to, wanted);
        moved = true;
      }
    }
    if (!moved) break;
  }
  // A buffer that is only read stands right above its first reader.
  for (const node of graph.nodes) {
    if (graph.edges.some((edge) => edge.to === node.id)) continue;
    const readers = graph.edges
      .filter((edge) => edge.from === node.id)
      .map((edge) => rank.get(edge.to) ?? 0);
    if (readers.length > 0) rank.set(node.id, Math.max(0, Math.min(...readers) - 1));
  }
  const rows = grouped(graph.nodes, ({ id }) => rank.get(id) ?? 0);
  return [...rows.entries()].sort(([a], [b]) => a - b).map(([, row]) => row);
}

function nodeSvg({ node, x, y, height }: Placed): string {
  const round = node.kind === "task" ? 4 : 14;
  const lines = node.lines.map(
    (line, index) =>
      `<text x="${x + BOX.width / 2}" y="${y + 16 + index * BOX.lineHeight}" text-anchor="middle"${index === 0 ? ' font-weight="bold"' : ""}>${xmlText(shorten(line))}</text>`,
  );
  return `<g><title>${xmlText(node.lines.join("\n"))}</title><rect x="${x}" y="${y}" width="${BOX.width}" height="${height}" rx="${round}" fill="${COLOURS[node.kind]}" stroke="#555"/>${lines.join("")}</g>`;
}

function edgeSvg(edge: GraphEdge, placed: ReadonlyMap<string, Placed>): string {
  const from = placed.get(edge.from);
  const to = placed.get(edge.to);
  if (from === undefined || to === undefined) return "";
  const down = from.y <= to.y;
  const [x1, y1] = [from.x + BOX.width / 2, down ? from.y + from.height : from.y];
  const [x2, y2] = [to.x + BOX.width / 2, down ? to.y : to.y + to.height];
  const middle = (y1 + y2) / 2;
  return (
    `<path d="M${x1} ${y1}C${x1} ${middle} ${x2} ${middle} ${x2} ${y2}" fill="none" stroke="#555" marker-end="url(#a)"/>` +
    `<text x="${(x1 + x2) / 2 + 4}" y="${middle}" fill="#555" font-size="10">${xmlText(edge.label)}</text>`
  );
}

function shorten(text: string): string {
  return text.length > 38 ? `${text.slice(0, 37)}…` : text;
}

/** Escapes marks; XML 1.0 forbids control characters but line ends, so they become question marks. */
function xmlText(text: string): string {
  return escapeText(text.replaceAll(/[^\P{Cc}\n\u007f-\u009f]/gu, "?"));
}
