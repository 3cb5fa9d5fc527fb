import { randomUUID } from "node:crypto";
import { z } from "zod";
import type {
  ServicePrompt,
  TextBegin,
  TextEnd,
  TextRequest,
  TextToken,
} from "../../generate/service/messages.ts";
import type { ApplicationContext } from "../application.ts";
import { jsonBody } from "../application.ts";
import { Refusal } from "../errors.ts";
import { clientSignal, finishReason, FINGERPRINT, usageOf } from "./answers.ts";
import type { OpenAiParts } from "./answers.ts";
import { EventQueue, eventStream } from "./event-stream.ts";
import { MOST_TOP_LOGPROBS, parsedBody, SHARED_PARAMETERS, sharedRequest } from "./parameters.ts";
import { writeTexts } from "./write-texts.ts";

/** What OpenAI writes where a request does not say. */
const DEFAULT_MAX_TOKENS = 16;
/** Prompts of one request. */
const MOST_PROMPTS = 1024;

const tokenIds = z.array(z.int().min(0)).min(1);
const schema = z.strictObject({
  ...SHARED_PARAMETERS,
  prompt: z
    .union([
      z.string(),
      z.array(z.string()).min(1).max(MOST_PROMPTS),
      tokenIds,
      z.array(tokenIds).min(1).max(MOST_PROMPTS),
    ])
    .nullish(),
  max_tokens: z.int().min(0).nullish(),
  logprobs: z.int().min(0).max(MOST_TOP_LOGPROBS).nullish(),
  echo: z.boolean().nullish(),
  best_of: z.int().nullish(),
  suffix: z.literal("").nullish(),
});
type Parameters = z.infer<typeof schema>;

/** POST /v1/completions. */
export async function answerCompletion(
  context: ApplicationContext,
  { service, models, metrics }: OpenAiParts,
): Promise<Response> {
  const parameters = parsedBody(schema, jsonBody(context));
  const { id: model, adapter } = models.named(parameters.model);
  const isEcho = parameters.echo === true;
  const requests = requestsOf(parameters).map((request) => ({
    ...request,
    ...(adapter !== undefined && { adapter }),
  }));
  const { leave, signal } = clientSignal(context);
  const head = {
    id: `cmpl-${randomUUID()}`,
    object: "text_completion",
    created: Math.floor(Date.now() / 1000),
    model,
    system_fingerprint: FINGERPRINT,
  };
  const count = parameters.n ?? 1;
  const scores = parameters.logprobs != null;
  if (parameters.stream !== true) {
    const pieces = new Map<number, TextToken[]>();
    const results = await writeTexts(
      service,
      requests,
      {
        onPiece: ({ choice, tokens }) =>
          void pieces.set(choice, [...(pieces.get(choice) ?? []), ...tokens]),
      },
      { signal, metrics },
    );
    return context.json({
      ...head,
      choices: results.flatMap((result, index) =>
        result.texts.map((end, choice) => ({
          index: index * count + choice,
          text: isEcho ? result.promptText + end.text : end.text,
          logprobs: scores
            ? logprobsOf([
                ...(isEcho ? (result.promptTokens ?? []) : []),
                ...moved(
                  pieces.get(index * count + choice) ?? [],
                  isEcho ? result.promptText.length : 0,
                ),
              ])
            : null,
          finish_reason: finishReason(end.stopReason),
        })),
      ),
      usage: usageOf(results),
    });
  }
  // The answer begins once every prompt was accepted: what is refused is told by its status.
  let begin: (begins: readonly TextBegin[]) => void = () => undefined;
  const begun = new Promise<readonly TextBegin[]>((resolve) => (begin = resolve));
  const events = new EventQueue();
  const includesUsage = parameters.stream_options?.include_usage === true;
  const chunkOf = (choices: readonly unknown[], usage: object | null = null): object => ({
    ...{ ...head, choices },
    ...(includesUsage && { usage }),
  });
  const written = writeTexts(
    service,
    requests,
    {
      onBegun: (begins) => begin(begins),
      onPiece: ({ choice, text, tokens }) =>
        events.send(
          chunkOf([
            {
              index: choice,
              text,
              logprobs: scores ? logprobsOf(tokens) : null,
              finish_reason: null,
            },
          ]),
        ),
    },
    { signal, metrics },
  );
  const begins = await Promise.race([begun, written.then(() => begun)]);
  return eventStream(context, leave, async (sink) => {
    const echoes = begins.flatMap(({ promptText }, index) =>
      Array.from({ length: isEcho ? count : 0 }, (_, choice) =>
        chunkOf([
          { index: index * count + choice, text: promptText, logprobs: null, finish_reason: null },
        ]),
      ),
    );
    events.begin(sink, echoes);
    const results = await written;
    for (const [index, { texts }] of results.entries()) {
      for (const [choice, end] of texts.entries()) {
        sink.send(chunkOf([lastChoice(index * count + choice, end)]));
      }
    }
    if (includesUsage) sink.send(chunkOf([], usageOf(results)));
  });
}

function lastChoice(index: number, { stopReason }: TextEnd): object {
  return { index, text: "", logprobs: null, finish_reason: finishReason(stopReason) };
}

/** A request for the texts of each prompt. Throws `Refusal` for what cannot be done. */
function requestsOf(parameters: Parameters): readonly TextRequest[] {
  const { best_of: bestOf, n, echo, logprobs, stream } = parameters;
  if (bestOf != null && bestOf !== (n ?? 1))
    throw new Refusal(
      400,
      `best_of ${bestOf} with n ${n ?? 1}: this server returns all it writes`,
      {
        param: "best_of",
        code: "unsupported_value",
      },
    );
  const isScored = echo === true && logprobs != null;
  if (isScored && stream === true)
    throw new Refusal(
      400,
      "the scores of a prompt are not streamed: echo with logprobs wants stream false",
      {
        param: "stream",
        code: "unsupported_value",
      },
    );
  const shared = sharedRequest(parameters);
  return promptsOf(parameters.prompt).map((prompt) => ({
    ...shared,
    prompt,
    maxTokens: parameters.max_tokens ?? DEFAULT_MAX_TOKENS,
    isWhole: stream !== true,
    ...(logprobs != null && { topLogprobs: logprobs }),
    ...(isScored && { promptLogprobs: logprobs }),
  }));
}

function promptsOf(prompt: Parameters["prompt"]): readonly ServicePrompt[] {
  if (prompt == null) return [{ kind: "text", text: "" }];
  if (typeof prompt === "string") return [{ kind: "text", text: prompt }];
  const ids: number[] = [];
  const prompts: ServicePrompt[] = [];
  for (const part of prompt) {
    if (typeof part === "number") ids.push(part);
    else if (typeof part === "string") prompts.push({ kind: "text", text: part });
    else prompts.push({ kind: "tokens", tokens: part });
  }
  return ids.length > 0 ? [{ kind: "tokens", tokens: ids }] : prompts;
}

/** Tokens of a text that stands behind another one. */
function moved(tokens: readonly TextToken[], by: number): readonly TextToken[] {
  return by === 0 ? tokens : tokens.map((token) => ({ ...token, offset: token.offset + by }));
}

/** Scores as /v1/completions tells them. A chosen token is told even where it is not among the likeliest. */
function logprobsOf(tokens: readonly TextToken[]): object {
  return {
    tokens: tokens.map(({ text }) => text),
    token_logprobs: tokens.map(({ logprob }) => logprob),
    top_logprobs: tokens.map(({ text, logprob, top }) => {
      if (logprob === null) return null;
      const likeliest = new Map([[text, logprob]]);
      // Of several tokens with one text the likeliest.
      for (const other of top)
        likeliest.set(other.text, Math.max(other.logprob, likeliest.get(other.text) ?? -Infinity));
      return Object.fromEntries(likeliest);
    }),
    text_offset: tokens.map(({ offset }) => offset),
  };
}
