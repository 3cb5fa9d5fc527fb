import type { ByteSource } from "../../util/byte-source.ts";
import { wholeView } from "../byte-view.ts";

/** What the runtime's own `analytics.mil` says of one operation. */
export interface E5Operation {
  readonly line: number;
  readonly name: string;
  readonly op: string;
  readonly milId: number | null;
  readonly selectedBackend: string | null;
  readonly supportedBackends: readonly string[];
  readonly estimatedRuntime: Readonly<Record<string, number>>;
  readonly message: string | null;
  /** Inserted by the runtime to convert between buffers and tensors; not part of the model. */
  readonly isMemoryOperation: boolean;
}

/** A bundle's prediction of costs, as Apple's compiler writes it. */
export interface E5Analytics {
  readonly format: "e5-analytics";
  readonly name: string;
  readonly buildInfo: Readonly<Record<string, string>>;
  /** Launch and transfer costs in milliseconds, by their attribute's name. */
  readonly costsMs: Readonly<Record<string, number>>;
  readonly operations: readonly E5Operation[];
}

const BYTE_LIMIT = 64 * 2 ** 20;
const LINE_LIMIT = 1 << 16;
/** Reads the attributes of an analytics MIL text, line by line. Throws `InspectError` for a text that is no MIL. */
export function decodeE5Analytics(source: ByteSource): E5Analytics {
  const view = wholeView(source, BYTE_LIMIT);
  const text = new TextDecoder().decode(view.bytes);
  if (!/^\s*program\(/.test(text.slice(0, 256))) {
    throw view.fail(
      "inspect.magic",
      0,
      "program header",
      "the text does not begin with program(…)",
    );
  }
  const lines = text.split("\n");
  return {
    format: "e5-analytics",
    name: source.name,
    buildInfo: pairs(lines.slice(0, 4).find((line) => line.includes("buildInfo")) ?? ""),
    costsMs: costsOf(lines),
    operations: lines.flatMap((line, index) => operationOf(line.slice(0, LINE_LIMIT), index + 1)),
  };
}

function operationOf(line: string, lineNumber: number): E5Operation[] {
  const head = /^\s*(?:tensor|tensor_buffer|list)[^=]{0,400}?[> ](\w+) = (\w+)(?:<\w+>)?\(/.exec(
    line,
  );
  const bufferHead = /^\s*tensor_buffer<[^>]{0,400}> (\w+) = (\w+)(?:<\w+>)?\(/.exec(line);
  const match = bufferHead ?? head;
  if (match === null || !line.includes("BackendSupport")) return [];
  const [, name = "", op = ""] = match;
  const runtime = /EstimatedRuntime = dict<string, fp64>\(\{(.*?)\}\)/.exec(line)?.[1] ?? "";
  const support = /BackendSupport = list<string, \d+>\(\[(.*?)\]\)/.exec(line)?.[1] ?? "";
  const milId = /milId = uint64\((\d+)\)/.exec(line)?.[1];
  return [
    {
      line: lineNumber,
      name,
      op,
      milId: milId === undefined ? null : Number(milId),
      selectedBackend: /SelectedBackend = string\("([^"]*)"\)/.exec(line)?.[1] ?? null,
      supportedBackends: [...support.matchAll(/"([^"]*)"/g)]
        .map((one) => one[1] ?? "")
        .filter((backend) => backend !== "unsupported"),
      estimatedRuntime: numbers(runtime),
      message: /ValidationMessage = string\("([^"]*)"\)/.exec(line)?.[1] ?? null,
      isMemoryOperation: op === "tensor_buffer_to_tensor" || op === "tensor_to_tensor_buffer",
    },
  ];
}

function costsOf(lines: readonly string[]): Record<string, number> {
  const costs: Record<string, number> = {};
  for (const line of lines.filter((one) => /\bfunc \w+</.test(one))) {
    for (const [, name = "", value = ""] of line.matchAll(/(\w+_ms) = fp64\(([^)]*)\)/g)) {
      costs[name] = numberOf(value);
    }
  }
  return costs;
}

function numbers(text: string): Record<string, number> {
  const found = [...text.matchAll(/\{"([^"]*)", ([^}]*)\}?/g)];
  return Object.fromEntries(found.map(([, key = "", value = ""]) => [key, numberOf(value)]));
}

function pairs(text: string): Record<string, string> {
  const found = [...text.matchAll(/\{"([^"]*)", "([^"]*)"\}/g)];
  return Object.fromEntries(found.map(([, key = "", value = ""]) => [key, value]));
}

/** A decimal or a C99 hexadecimal number such as `0x1p-3`. */
function numberOf(text: string): number {
  const match = /^(-?)0x([0-9a-f]+)(?:\.([0-9a-f]*))?p([+-]?\d+)$/i.exec(text.trim());
  if (match === null) return Number(text);
  const [, sign = "", whole = "0", fraction = "", exponent = "0"] = match;
  const mantissa = Number.parseInt(whole + fraction, 16) / 16 ** fraction.length;
  return (sign === "-" ? -1 : 1) * mantissa * 2 ** Number(exponent);
}
