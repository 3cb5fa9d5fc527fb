import { styleText } from "node:util";

type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";

/** Whether a stream is a terminal that wants colours (NO_COLOR and CI switch them off). */
export function wantsColor(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY && !process.env["NO_COLOR"] && !process.env["CI"];
}

/** Text in a style where the stream shows styles, plain otherwise. */
export function styled(stream: NodeJS.WriteStream, style: Style, text: string): string {
  return wantsColor(stream) ? styleText(style, text) : text;
}

/** What a user should know and no program reads: a line on standard error. */
export function printNote(message: string): void {
  process.stderr.write(`${styled(process.stderr, "yellow", "note:")} ${message}\n`);
}

/** One line at the bottom of a terminal that is rewritten in place; silent where there is no terminal. */
export class StatusLine {
  readonly #stream: NodeJS.WriteStream;
  readonly #live: boolean;
  #shown = "";
  #lastDrawnMs = 0;

  constructor(stream: NodeJS.WriteStream = process.stderr) {
    this.#stream = stream;
    this.#live = stream.isTTY && !process.env["CI"];
  }

  get isLive(): boolean {
    return this.#live;
  }

  /** Shows `text`, at most ten times a second unless it is `important`. */
  show(text: string, important = false): void {
    if (!this.#live) return;
    const nowMs = Date.now();
    if (!important && nowMs - this.#lastDrawnMs < 100) return;
    this.#lastDrawnMs = nowMs;
    this.#shown = text.slice(0, Math.max(20, this.#stream.columns - 1));
    this.#stream.write(`\r\u001b[2K${this.#shown}`);
  }

  /** Prints a line that stays, above the status. */
  print(line: string): void {
    if (this.#live && this.#shown !== "") this.#stream.write("\r\u001b[2K");
    this.#stream.write(`${line}\n`);
    if (this.#live && this.#shown !== "") this.#stream.write(this.#shown);
  }

  clear(): void {
    if (this.#live && this.#shown !== "") this.#stream.write("\r\u001b[2K");
    this.#shown = "";
  }
}

export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "?";
  const whole = Math.max(0, Math.round(seconds));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const rest = whole % 60;
  if (hours > 0) return `${hours}h${String(minutes).padStart(2, "0")}m`;
  return minutes > 0 ? `${minutes}m${String(rest).padStart(2, "0")}s` : `${rest}s`;
}

export function formatBytes(byteLength: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = byteLength;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toPrecision(3)} ${units[unit] ?? ""}`;
}

export function formatCount(count: number): string {
  if (count >= 1e9) return `${(count / 1e9).toPrecision(3)}B`;
  if (count >= 1e6) return `${(count / 1e6).toPrecision(3)}M`;
  if (count >= 1e4) return `${(count / 1e3).toPrecision(3)}k`;
  return String(count);
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
