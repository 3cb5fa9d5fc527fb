import { STYLE } from "./document-style.ts";
import { escapeText } from "./svg.ts";

/**
 * A page of HTML as one file: style and pictures inside, nothing is fetched, no script. `body` is HTML already; the title
 * is text.
 */
export function htmlDocument(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>${escapeText(title)}</title>
<style>${STYLE}</style>
</head>
<body>
${body}
</body>
</html>
`;
}

/** A table that scrolls by itself; cells of rows are HTML, a caption and a header are text. */
export function documentTable(
  caption: string,
  header: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const head = header
    .map((cell) => (cell === "" ? "<td></td>" : `<th scope="col">${escapeText(cell)}</th>`))
    .join("");
  const body = rows.map((cells) => `<tr>${cells.join("")}</tr>`).join("\n");
  return `<div class="scroll" tabindex="0" role="region" aria-label="${escapeText(caption)}"><table><thead><tr>${head}</tr></thead><tbody>
${body}
</tbody></table></div>`;
}

/** Text as a table's cell. */
export function textCell(text: string): string {
  return `<td>${escapeText(text)}</td>`;
}
