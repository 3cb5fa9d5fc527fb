// How quantities and tables are written for people.

/** "45s", "3m07s", "2h05m". */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "?";
  const whole = Math.max(0, Math.round(seconds));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const rest = whole % 60;
  if (hours > 0) return `${hours}h${String(minutes).padStart(2, "0")}m`;
  return minutes > 0 ? `${minutes}m${String(rest).padStart(2, "0")}s` : `${rest}s`;
}

/** "12 B", "1.50 KiB", "12.3 MiB", "427 MiB": three digits. */
export function formatBytes(byteLength: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = byteLength;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  const decimals = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(decimals)} ${units[unit] ?? ""}`;
}

/** "512", "12.3k", "1.90M", "1.10B". */
export function formatCount(count: number): string {
  if (count >= 1e9) return `${(count / 1e9).toPrecision(3)}B`;
  if (count >= 1e6) return `${(count / 1e6).toPrecision(3)}M`;
  if (count >= 1e4) return `${(count / 1e3).toPrecision(3)}k`;
  return String(count);
}

/** "1 op", "2 ops". */
export function formatAmount(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** "12.3 ms", "1234 ms": three digits or more. */
export function formatMs(ms: number): string {
  return `${ms >= 100 ? ms.toFixed(0) : ms.toPrecision(3)} ms`;
}

/** "12.3 J", "0.420 mJ". */
export function formatJoules(joules: number): string {
  const [value, unit] =
    joules >= 1 ? [joules, "J"] : joules >= 1e-4 ? [joules * 1e3, "mJ"] : [joules * 1e6, "µJ"];
  return `${value >= 100 ? value.toFixed(0) : value.toPrecision(3)} ${unit}`;
}

/** "1.92 TFLOPS", and "2.39 MFLOPS" for what is too small for it. */
export function formatTeraflops(teraflops: number): string {
  const [value, unit] =
    teraflops >= 0.01
      ? [teraflops, "TFLOPS"]
      : teraflops >= 1e-5
        ? [teraflops * 1e3, "GFLOPS"]
        : [teraflops * 1e6, "MFLOPS"];
  return `${value >= 100 ? value.toFixed(0) : value.toPrecision(3)} ${unit}`;
}

/** `4.56 GFLOP`. */
export function formatFlops(flops: number): string {
  if (!Number.isFinite(flops)) return "never";
  const units = ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP"];
  let value = flops;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${units[unit] ?? ""}`;
}

/** Characters of a line that fits every terminal. */
export const COLUMNS = 80;

/** Text after a head, broken at spaces to fit 80 columns; later lines stand under the first one's text. */
export function wrapped(head: string, text: string): string {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (line !== "" && head.length + longer.length > COLUMNS) {
      lines.push(line);
      line = word;
    } else {
      line = longer;
    }
  }
  return `${head}${[...lines, line].join(`\n${" ".repeat(head.length)}`)}`;
}

/** Columns padded to their widest cell; those of numbers stand to the right. */
export function tableLines(
  rows: readonly (readonly string[])[],
  isNumeric: (column: number) => boolean = () => false,
): readonly string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) {
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
    }
  }
  const padded = (cell: string, column: number): string => {
    const width = widths[column] ?? 0;
    return isNumeric(column) ? cell.padStart(width) : cell.padEnd(width);
  };
  return rows.map((row) => row.map(padded).join("  ").trimEnd());
}

/** Such lines of left-aligned columns as one text. */
export function table(rows: readonly (readonly string[])[]): string {
  return tableLines(rows).join("\n");
}

/** Left-aligned columns; numbers stand to the right where a column's name begins with ">". */
export function titledTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
): readonly string[] {
  const titles = header.map((title) => title.replace(/^>/, ""));
  const isNumeric = (column: number): boolean => header[column]?.startsWith(">") === true;
  return tableLines([titles, ...rows], isNumeric).map((line) => `  ${line}`);
}
