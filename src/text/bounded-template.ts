import { createContext, Script } from "node:vm";
import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";
import { messageOf } from "../util/errors.ts";
import { formatTime } from "../util/strftime.ts";
import { TextError } from "./errors.ts";

/** Templates take milliseconds; what takes longer than this loops. Generous, for machines under load. */
const LIMIT_MS = 5_000;
/** Numbers that `range` of a template may give at once. */
const LONGEST_RANGE = 100_000;

const RUN = new Script("run()", { filename: "chat-template" });

/** What a template raises itself, to tell what is wrong with the messages. */
class RaisedByTemplate extends Error {}

/** A Jinja template as chat templates are, parsed. */
export class BoundedTemplate {
  readonly #parsed: ReturnType<typeof parse>;
  readonly #where: string;
  readonly #limitMs: number;

  /** Throws `TextError` `text.chat.template` for what is no template. */
  constructor(source: string, where: string, limitMs = LIMIT_MS) {
    this.#where = where;
    this.#limitMs = limitMs;
    this.#parsed = this.#guarded(() =>
      parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true })),
    );
  }

  /**
   * Renders with these variables. Throws `TextError` `text.chat.refused` with the template's own words where it raises
   * an exception, `text.chat.template` where it fails, `text.chat.endless` where it does not end.
   */
  render(variables: Readonly<Record<string, unknown>>, now: Date): string {
    return this.#guarded(() => {
      const environment = new Environment();
      const globals: Record<string, unknown> = {
        ...{ true: true, True: true, false: false, False: false, none: null, None: null },
        range: boundedRange,
        raise_exception: (message: unknown) => {
          throw new RaisedByTemplate(String(message));
        },
        strftime_now: (format: unknown) => formatTime(now, String(format)),
        ...variables,
      };
      for (const [name, value] of Object.entries(globals)) environment.set(name, value);
      const result = new Interpreter(environment).run(this.#parsed);
      return String(result.value);
    });
  }

  /** Runs until the time is up: a template may loop for ever, and so may its parser. */
  #guarded<Result>(run: () => Result): Result {
    let result: { readonly value: Result } | undefined;
    try {
      const context = createContext({ run: () => void (result = { value: run() }) });
      RUN.runInContext(context, { timeout: this.#limitMs });
    } catch (error) {
      throw this.#failure(error);
    }
    if (result === undefined)
      throw new TextError("text.chat.template", `${this.#where}: the chat template gave nothing`);
    return result.value;
  }

  #failure(error: unknown): TextError {
    if (error instanceof RaisedByTemplate) {
      return new TextError(
        "text.chat.refused",
        `the model's chat template refuses these messages: ${error.message}`,
        { cause: error, remedy: `Change the messages as the template (${this.#where}) asks.` },
      );
    }
    if (isTimeout(error)) {
      return new TextError(
        "text.chat.endless",
        `${this.#where}: the chat template did not end within ${this.#limitMs / 1_000} s`,
        { cause: error, remedy: "Give another template (--chat-template FILE)." },
      );
    }
    return new TextError(
      "text.chat.template",
      `${this.#where}: the chat template cannot be used: ${messageOf(error)}`,
      { cause: error, remedy: "Give another template (--chat-template FILE)." },
    );
  }
}

/** It comes from another context, so it need not be an `Error` of this one. */
function isTimeout(error: unknown): boolean {
  return (
    typeof error === "object" &&
    error !== null &&
    "code" in error &&
    error.code === "ERR_SCRIPT_EXECUTION_TIMEOUT"
  );
}

/** Jinja's range, which must not fill the memory before the time is up. */
function boundedRange(first: number, end?: number, step = 1): readonly number[] {
  const [start, stop] = end === undefined ? [0, first] : [first, end];
  if (step === 0) throw new Error("range() step must not be zero");
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!(length <= LONGEST_RANGE))
    throw new Error(`range() of ${length} numbers; at most ${LONGEST_RANGE} are given`);
  return Array.from({ length }, (_, index) => start + index * step);
}
