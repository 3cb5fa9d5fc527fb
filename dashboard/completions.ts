// Texts of the server's completion API, as they are written.
import { problemOf, RequestError, requestHeaders } from "./api.ts";
import { messagesOf } from "./event-stream.ts";

export interface ChatTurn {
  readonly role: "user" | "assistant";
  readonly content: string;
}

/** A token that was written, how likely it was, and what else was. */
export interface WrittenToken {
  readonly text: string;
  /** From 0 to 1. */
  readonly probability: number;
  readonly others: readonly (readonly [string, number])[];
}

export interface WritingRequest {
  readonly model: string;
  /** A text to go on with, or a chat to answer. */
  readonly prompt: string | readonly ChatTurn[];
  readonly maxTokens: number;
  readonly temperature: number;
  readonly seed: number;
}

const TOP = 5;

interface CompletionChunk {
  readonly error?: { readonly message: string };
  readonly choices?: readonly {
    readonly text?: string;
    readonly delta?: { readonly content?: string | null };
    readonly finish_reason?: string | null;
    readonly logprobs?: Scores | null;
  }[];
}

/** As completions tell them, or as chats do. */
type Scores =
  | {
      readonly tokens: readonly string[];
      readonly token_logprobs: readonly (number | null)[];
      readonly top_logprobs: readonly (Readonly<Record<string, number>> | null)[];
    }
  | {
      readonly content: readonly {
        readonly token: string;
        readonly logprob: number;
        readonly top_logprobs: readonly { readonly token: string; readonly logprob: number }[];
      }[];
    };

/** Writes a text; tokens come as they are written. Throws `RequestError`. Returns why it ended. */
export async function write(
  request: WritingRequest,
  onTokens: (tokens: readonly WrittenToken[]) => void,
  signal: AbortSignal,
): Promise<string> {
  const { prompt, model, temperature, seed } = request;
  const isChat = typeof prompt !== "string";
  const response = await fetch(isChat ? "/v1/chat/completions" : "/v1/completions", {
    method: "POST",
    signal,
    headers: requestHeaders({ "Content-Type": "application/json" }),
    body: JSON.stringify({
      ...{ model, temperature, seed, stream: true },
      ...(isChat
        ? {
            messages: prompt,
            logprobs: true,
            top_logprobs: TOP,
            max_completion_tokens: request.maxTokens,
          }
        : { prompt, logprobs: TOP, max_tokens: request.maxTokens }),
    }),
  });
  if (!response.ok) throw new RequestError(response.status, await problemOf(response));
  let reason = "";
  for await (const { data } of messagesOf(response)) {
    if (data === "[DONE]") break;
    const chunk = JSON.parse(data) as CompletionChunk;
    if (chunk.error !== undefined) throw new RequestError(500, chunk.error.message);
    for (const { text, delta, logprobs, finish_reason: finish } of chunk.choices ?? []) {
      const piece = text ?? delta?.content ?? "";
      const scored = logprobs == null ? [] : tokensOf(logprobs);
      if (scored.length > 0) onTokens(withText(scored, piece));
      else if (piece !== "") onTokens([{ text: piece, probability: Number.NaN, others: [] }]);
      reason = finish ?? reason;
    }
  }
  return reason;
}

function tokensOf(scores: Scores): readonly WrittenToken[] {
  if ("content" in scores)
    return scores.content.map(({ token, logprob, top_logprobs: top }) => ({
      text: token,
      probability: Math.exp(logprob),
      others: top.map((other) => [other.token, Math.exp(other.logprob)] as const),
    }));
  return scores.tokens.map((text, index) => ({
    text,
    probability: Math.exp(scores.token_logprobs[index] ?? Number.NaN),
    others: Object.entries(scores.top_logprobs[index] ?? {}).map(
      ([other, logprob]) => [other, Math.exp(logprob)] as const,
    ),
  }));
}

/**
 * What stands on the page is the text of the answer; a token's own text stands for it where the two agree. Tokens that
 * are parts of a character are shown by the piece that they made together.
 */
function withText(tokens: readonly WrittenToken[], piece: string): readonly WrittenToken[] {
  if (tokens.map(({ text }) => text).join("") === piece) return tokens;
  return tokens.map((token, index) => ({
    ...token,
    text: index === tokens.length - 1 ? piece : "",
  }));
}
