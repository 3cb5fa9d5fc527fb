// Parts of which documents about files are made: HTML of the shared kit, everything escaped.
import { formatAmount, formatBytes } from "../../util/format.ts";
import { documentTable, textCell } from "../../util/plot/document.ts";
import { escapeText } from "../../util/plot/svg.ts";
import type { SummarizedWeight } from "../../inspect/summary.ts";

export function section(title: string, body: string): string {
  return `<section><h2>${escapeText(title)}</h2>
${body}</section>`;
}

export function paragraph(text: string): string {
  return `<p>${escapeText(text)}</p>`;
}

/** Names and what they are, a row each. */
export function pairs(caption: string, rows: readonly (readonly [string, string])[]): string {
  const body = rows
    .map(([name, text]) => `<tr><th scope="row">${escapeText(name)}</th>${textCell(text)}</tr>`)
    .join("\n");
  return `<div class="scroll pairs" tabindex="0" role="region" aria-label="${escapeText(caption)}"><table><tbody>${body}</tbody></table></div>`;
}

/** A table of texts whose first column names the row. */
export function textTable(
  caption: string,
  header: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  return documentTable(
    caption,
    header,
    rows.map(([name = "", ...cells]) => [
      `<th scope="row">${escapeText(name)}</th>`,
      ...cells.map(textCell),
    ]),
  );
}

export function figure(caption: string, picture: string): string {
  return `<figure><figcaption>${escapeText(caption)}</figcaption>${picture}</figure>`;
}

/** A picture that is wider than a column; it scrolls by itself. */
export function wide(name: string, picture: string): string {
  return `<div class="scroll wide" tabindex="0" role="region" aria-label="${escapeText(name)}">${picture}</div>`;
}

/** Letters of a listing that a document holds. */
const LISTING_LIMIT = 300_000;

/** A long text, closed until it is asked for; the beginning of one that is longer than documents should be. */
export function listing(summary: string, text: string): string {
  const isCut = text.length > LISTING_LIMIT;
  const shown = isCut ? text.slice(0, LISTING_LIMIT) : text;
  const note = isCut
    ? paragraph(`The first ${LISTING_LIMIT} of ${text.length} letters; the command prints all.`)
    : "";
  return `<details><summary>${escapeText(summary)}</summary><pre class="code" tabindex="0" aria-label="${escapeText(summary)}">${escapeText(shown)}</pre>${note}</details>`;
}

/** A weight file may hold tens of thousands. */
const TENSORS_SHOWN = 500;

/** Tensors, the largest first. */
export function tensorsSection(
  weights: readonly Pick<SummarizedWeight, "name" | "dtype" | "shape" | "bytes">[],
): string {
  if (weights.length === 0) return "";
  const shown = weights.toSorted((a, b) => b.bytes - a.bytes).slice(0, TENSORS_SHOWN);
  const left = weights.length - shown.length;
  const table = textTable(
    "Tensors",
    ["tensor", "type", "shape", "size"],
    shown.map(({ name, dtype, shape, bytes }) => [
      ...[name, dtype, shape.join(" x ")],
      formatBytes(bytes),
    ]),
  );
  const more = left > 0 ? `<p>and ${left} smaller ones</p>` : "";
  return section(
    "Tensors",
    `<details><summary>${formatAmount(weights.length, "tensor")}</summary>${table}${more}</details>`,
  );
}
