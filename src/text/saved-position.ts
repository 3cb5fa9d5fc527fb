import * as z from "zod";
import { TextError } from "./errors.ts";
import { defined } from "../util/defined.ts";

/** What is said of a position that belongs to other data. */
export interface PositionWords {
  /** Of keys; a key that has none is told as it is. */
  readonly names?: Readonly<Record<string, string>>;
  /** What helps where it is of other data. */
  readonly remedy: string;
  /** What helps where it is no such position at all. */
  readonly kindRemedy?: string;
}

/**
 * Where batches stand, as a checkpoint kept it. `now`: what it has to agree with. Throws `TextError` `text.resume` where
 * it is of another kind, or was saved over other data.
 */
export function savedPosition<State extends object>(
  saved: unknown,
  schema: z.ZodType<State>,
  now: Readonly<Partial<State>>,
  words: PositionWords,
): State {
  const parsed = schema.safeParse(saved);
  if (!parsed.success) {
    const problem = `the data position: ${z.prettifyError(parsed.error)}`;
    throw new TextError("text.resume", problem, defined({ remedy: words.kindRemedy }));
  }
  for (const [key, value] of Object.entries(now)) {
    const before = parsed.data[key as keyof State];
    if (before !== value) throw otherPosition(words.names?.[key] ?? key, before, value, words);
  }
  return parsed.data;
}

/** A position whose `what` is another one now. */
export function otherPosition(
  what: string,
  before: unknown,
  now: unknown,
  { remedy }: PositionWords,
): TextError {
  return new TextError(
    "text.resume",
    `the data position was saved with ${what} ${String(before)}, now it is ${String(now)}`,
    { remedy },
  );
}
