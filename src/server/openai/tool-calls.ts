import { randomUUID } from "node:crypto";
import type { ConstraintRequest } from "../../generate/constraint/constraint-compiler.ts";
import { Refusal } from "../errors.ts";

/** How a model writes calls of functions, as its chat template teaches it. */
export type ToolFormat = "tagged" | "json" | "list";

/** A call as OpenAI's API tells it. */
export interface ToolCall {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: string };
}

const OPEN = "<tool_call>";
const CLOSE = "</tool_call>";

/**
 * How a template's model writes calls. `tagged`: `<tool_call>{"name", "arguments"}</tool_call>` (Hermes, Qwen). `list`:
 * `[TOOL_CALLS][{"name", "arguments"}]` (Mistral). `json`: a message that is `{"name", "parameters"}` (Llama 3.1 and
 * later). Nothing where the template renders no tools, or teaches another way.
 */
export function toolFormatOf(template: string | undefined): ToolFormat | undefined {
  if (template === undefined || !/\btools\b/.test(template)) return undefined;
  if (template.includes(OPEN)) return "tagged";
  if (template.includes("[TOOL_CALLS]")) return "list";
  if (/"parameters":|\bipython\b|<\|python_tag\|>/.test(template)) return "json";
  return undefined;
}

/** What a message is made of. */
export interface ReadMessage {
  readonly content: string;
  readonly calls: readonly ToolCall[];
}

/** Reads the calls in a message; what is no call of a known function stays text. */
export function readToolCalls(
  text: string,
  format: ToolFormat,
  names: ReadonlySet<string>,
): ReadMessage {
  switch (format) {
    case "tagged": {
      const calls: ToolCall[] = [];
      const content = text.replaceAll(
        /\s*<tool_call>([\s\S]*?)(?:<\/tool_call>|$)\s*/g,
        (whole: string, inner: string) => {
          const call = callOf(parsed(inner), names);
          if (call === undefined) return whole;
          calls.push(call);
          return "";
        },
      );
      return { content, calls };
    }
    case "list": {
      const list = parsed(text.replace(/^\s*\[TOOL_CALLS\]/, ""));
      const calls = Array.isArray(list) ? list.map((item) => callOf(item, names)) : [];
      const known = calls.filter((call) => call !== undefined);
      return known.length > 0 && known.length === calls.length
        ? { content: "", calls: known }
        : { content: text, calls: [] };
    }
    case "json": {
      const call = callOf(parsed(text.replace(/^\s*<\|python_tag\|>/, "")), names);
      return call === undefined ? { content: text, calls: [] } : { content: "", calls: [call] };
    }
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function callOf(value: unknown, names: ReadonlySet<string>): ToolCall | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { name, arguments: given, parameters } = value as Readonly<Record<string, unknown>>;
  const values = given ?? parameters ?? {};
  if (typeof name !== "string" || !names.has(name) || typeof values !== "object") return undefined;
  return {
    id: `call_${randomUUID().replaceAll("-", "")}`,
    type: "function",
    function: { name, arguments: JSON.stringify(values) },
  };
}

/** Passes on the part of a streamed message that cannot be a call any more. */
export class CallWatcher {
  readonly #format: ToolFormat;
  #text = "";
  #passedLength = 0;

  constructor(format: ToolFormat) {
    this.#format = format;
  }

  /** The text that is certain with this piece. */
  push(piece: string): string {
    this.#text += piece;
    const end = this.#certainLength();
    const certain = this.#text.slice(this.#passedLength, end);
    this.#passedLength = Math.max(this.#passedLength, end);
    return certain;
  }

  /** What of the message's content, once it is read, was not passed on. */
  rest(content: string): string {
    return content.slice(this.#passedLength);
  }

  #certainLength(): number {
    switch (this.#format) {
      case "tagged": {
        const open = this.#text.indexOf(OPEN);
        let end = open < 0 ? this.#text.length : open;
        if (open < 0)
          for (let length = OPEN.length - 1; length > 0; length--)
            if (this.#text.endsWith(OPEN.slice(0, length))) {
              end -= length;
              break;
            }
        // White space before a call is not told.
        return this.#text.slice(0, end).trimEnd().length;
      }
      case "list":
      case "json":
        return /^\s*(?:$|[{[<])/.test(this.#text) ? 0 : this.#text.length;
    }
  }
}

/** A message that is a call of one of some functions, as the model writes it. */
export function callConstraint(
  format: ToolFormat,
  functions: readonly { readonly name: string; readonly parameters: unknown }[],
): ConstraintRequest {
  switch (format) {
    case "tagged":
      return {
        ...{ kind: "call", before: `${OPEN}\n`, after: `\n${CLOSE}` },
        ...{ key: "arguments", functions },
      };
    case "list":
      return { kind: "call", before: "[", after: "]", key: "arguments", functions };
    case "json":
      return { kind: "call", before: "", after: "", key: "parameters", functions };
  }
}

/** Ends a message behind its first call. Throws `Refusal` for models that write all of them at once. */
export function stopsBehindFirst(format: ToolFormat): readonly string[] {
  switch (format) {
    case "tagged":
      return [CLOSE];
    case "json":
      return [];
    case "list":
      throw new Refusal(400, "this model writes its calls as one list, which may hold several", {
        param: "parallel_tool_calls",
        code: "unsupported_value",
      });
  }
}
