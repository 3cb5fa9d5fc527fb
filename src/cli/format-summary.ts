import { formatBytes, table } from "../util/format.ts";

import type { Summary, SummarizedPort } from "../inspect/summary.ts";
import { styled } from "./terminal.ts";

const WEIGHTS_SHOWN = 20;

export function formatSummary(summary: Summary): string {
  const bold = (text: string): string => styled(process.stdout, "bold", text);
  const lines = [`${bold(summary.path)}: ${describe(summary)}`];
  for (const [name, text] of Object.entries(summary.metadata ?? {})) {
    lines.push(`  ${name}: ${text.replaceAll(/\s+/g, " ").slice(0, 200)}`);
  }
  for (const { name, opset, inputs, outputs, ops, op_count: count } of summary.functions) {
    lines.push("", `function ${bold(name)} (${opset})`);
    lines.push("  inputs", ...portLines(inputs), "  outputs", ...portLines(outputs));
    const histogram = Object.entries(ops)
      .map(([op, times]) => (times === 1 ? op : `${op} ×${times}`))
      .join(", ");
    lines.push(...wrapped(`  ${count} ops: ${histogram}`));
  }
  const { weights } = summary;
  if (weights.length > 0) {
    lines.push("", `${weights.length} weights, ${formatBytes(summary.weight_bytes)}`);
    const largest = weights.toSorted((a, b) => b.bytes - a.bytes).slice(0, WEIGHTS_SHOWN);
    const shown = weights.length > WEIGHTS_SHOWN ? largest : weights;
    lines.push(
      table(
        shown.map(({ name, dtype, shape, bytes, file, offset }) => [
          `  ${name}`,
          `${dtype}[${shape.join(", ")}]`,
          formatBytes(bytes),
          file === undefined
            ? offset === undefined
              ? ""
              : `@${offset}`
            : `${file} @${offset ?? 0}`,
        ]),
      ),
    );
    const more = weights.length - shown.length;
    if (more > 0) lines.push(`  and ${more} smaller ones (--json lists all)`);
  }
  return `${lines.join("\n")}\n`;
}

function describe({ format, specification, version, producer, functions }: Summary): string {
  return [
    format,
    ...(specification === undefined ? [] : [`specification ${specification}`]),
    ...(version === undefined ? [] : [`program(${version})`]),
    ...(producer === undefined || producer === "" ? [] : [`written by ${producer}`]),
    ...(functions.length > 1 ? [`${functions.length} functions`] : []),
  ].join(", ");
}

function portLines(ports: readonly SummarizedPort[]): string[] {
  if (ports.length === 0) return ["    none"];
  const rows = ports.map(({ name, type, flexible }) => [
    `    ${name}`,
    type,
    flexible === undefined ? "" : flexibleText(flexible),
  ]);
  return [table(rows)];
}

function flexibleText({ ranges, shapes }: NonNullable<SummarizedPort["flexible"]>): string {
  if (ranges !== undefined) {
    const sizes = ranges.map(([low, high]) =>
      low === high ? String(low) : `${low}..${high < 0 ? "" : high}`,
    );
    return `any of [${sizes.join(", ")}]`;
  }
  return shapes === undefined
    ? ""
    : `one of ${shapes.map((shape) => `[${shape.join(", ")}]`).join(" ")}`;
}

/** Breaks a long line at its commas. */
function wrapped(line: string, width = 100): string[] {
  const lines: string[] = [];
  let current = "";
  for (const part of line.split(/(?<=, )/)) {
    if (current !== "" && current.length + part.length > width) {
      lines.push(current.trimEnd());
      current = "    ";
    }
    current += part;
  }
  return [...lines, current.trimEnd()];
}
