import { randomUUID } from "node:crypto";
import { z } from "zod";
import type { ConstraintRequest } from "../../generate/constraint/constraint-compiler.ts";
import type { TextBegin, TextRequest, TextToken } from "../../generate/service/messages.ts";
import { didYouMean } from "../../util/nearest.ts";
import type { ApplicationContext } from "../application.ts";
import { jsonBody } from "../application.ts";
import { Refusal } from "../errors.ts";
import { clientSignal, finishReason, FINGERPRINT, usageOf } from "./answers.ts";
import type { OpenAiParts } from "./answers.ts";
import { MESSAGES, templateMessages } from "./chat-messages.ts";
import { EventQueue, eventStream } from "./event-stream.ts";
import { MOST_TOP_LOGPROBS, parsedBody, SHARED_PARAMETERS, sharedRequest } from "./parameters.ts";
import {
  callConstraint,
  CallWatcher,
  readToolCalls,
  stopsBehindFirst,
  toolFormatOf,
} from "./tool-calls.ts";
import type { ReadMessage, ToolFormat } from "./tool-calls.ts";
import { writeTexts } from "./write-texts.ts";

const MOST_TOOLS = 128;

const schema = z.strictObject({
  ...SHARED_PARAMETERS,
  messages: MESSAGES,
  max_tokens: z.int().min(1).nullish(),
  max_completion_tokens: z.int().min(1).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(MOST_TOP_LOGPROBS).nullish(),
  tools: z
    .array(
      z.strictObject({
        type: z.literal("function"),
        function: z.strictObject({
          name: z.string().regex(/^[\w-]{1,64}$/),
          description: z.string().nullish(),
          parameters: z.record(z.string(), z.unknown()).nullish(),
          strict: z.boolean().nullish(),
        }),
      }),
    )
    .max(MOST_TOOLS)
    .nullish(),
  tool_choice: z
    .union([
      z.enum(["none", "auto", "required"]),
      z.strictObject({
        type: z.literal("function"),
        function: z.strictObject({ name: z.string() }),
      }),
    ])
    .nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  modalities: z.tuple([z.literal("text")]).nullish(),
  // Of vLLM: variables of the chat template, such as enable_thinking.
  chat_template_kwargs: z.record(z.string(), z.unknown()).nullish(),
});
type Parameters = z.infer<typeof schema>;

/** The tools of a request, where it has some. */
interface Tools {
  readonly format: ToolFormat;
  readonly names: ReadonlySet<string>;
  /** A call has to be written. */
  readonly call?: ConstraintRequest;
}

/** POST /v1/chat/completions. */
export async function answerChat(
  context: ApplicationContext,
  { service, models, metrics }: OpenAiParts,
): Promise<Response> {
  const parameters = parsedBody(schema, jsonBody(context));
  const { id: model, adapter } = models.named(parameters.model);
  const tools = toolsOf(parameters, service.facts.chatTemplate);
  const request: TextRequest = {
    ...requestOf(parameters, tools),
    ...(adapter !== undefined && { adapter }),
  };
  const { leave, signal } = clientSignal(context);
  const isScored = parameters.logprobs === true;
  const head = {
    id: `chatcmpl-${randomUUID()}`,
    created: Math.floor(Date.now() / 1000),
    model,
    system_fingerprint: FINGERPRINT,
  };
  const read = (text: string): ReadMessage =>
    tools === undefined
      ? { content: text, calls: [] }
      : readToolCalls(text, tools.format, tools.names);
  if (parameters.stream !== true) {
    const scores = new Map<number, TextToken[]>();
    const [result] = await writeTexts(
      service,
      [request],
      {
        onPiece: ({ choice, tokens }) =>
          void scores.set(choice, [...(scores.get(choice) ?? []), ...tokens]),
      },
      { signal, metrics },
    );
    const choices = (result?.texts ?? []).map(({ text, stopReason }, index) => {
      const { content, calls } = read(text);
      return {
        index,
        message: {
          role: "assistant",
          content: content === "" && calls.length > 0 ? null : content,
          refusal: null,
          ...(calls.length > 0 && { tool_calls: calls }),
        },
        logprobs: isScored ? logprobsOf(scores.get(index) ?? []) : null,
        finish_reason: calls.length > 0 ? "tool_calls" : finishReason(stopReason),
      };
    });
    const usage = usageOf(result === undefined ? [] : [result]);
    return context.json({ ...head, object: "chat.completion", choices, usage });
  }
  let begin: (begins: readonly TextBegin[]) => void = () => undefined;
  const begun = new Promise<readonly TextBegin[]>((resolve) => (begin = resolve));
  const events = new EventQueue();
  const includesUsage = parameters.stream_options?.include_usage === true;
  const chunkOf = (choices: readonly unknown[], usage: object | null = null): object => ({
    ...{ ...head, object: "chat.completion.chunk", choices },
    ...(includesUsage && { usage }),
  });
  const deltaOf = (index: number, change: object, tokens: readonly TextToken[] = []): object =>
    chunkOf([
      {
        index,
        delta: change,
        logprobs: isScored && tokens.length > 0 ? logprobsOf(tokens) : null,
        finish_reason: null,
      },
    ]);
  const watchers = Array.from({ length: request.count }, () =>
    tools === undefined ? undefined : new CallWatcher(tools.format),
  );
  const written = writeTexts(
    service,
    [request],
    {
      onBegun: (begins) => begin(begins),
      onPiece: ({ choice, text, tokens }) => {
        const watcher = watchers[choice];
        const certain = watcher === undefined ? text : watcher.push(text);
        if (certain !== "" || (isScored && tokens.length > 0))
          events.send(deltaOf(choice, { content: certain }, tokens));
      },
    },
    { signal, metrics },
  );
  await Promise.race([begun, written]);
  return eventStream(context, leave, async (sink) => {
    events.begin(
      sink,
      watchers.map((_, index) => deltaOf(index, { role: "assistant", content: "" })),
    );
    const results = await written;
    for (const [index, { text, stopReason }] of (results[0]?.texts ?? []).entries()) {
      const { content, calls } = read(text);
      const rest = watchers[index]?.rest(content) ?? "";
      if (rest !== "") sink.send(deltaOf(index, { content: rest }));
      if (calls.length > 0)
        sink.send(
          deltaOf(index, { tool_calls: calls.map((call, at) => ({ index: at, ...call })) }),
        );
      const reason = calls.length > 0 ? "tool_calls" : finishReason(stopReason);
      sink.send(chunkOf([{ index, delta: {}, logprobs: null, finish_reason: reason }]));
    }
    if (includesUsage) sink.send(chunkOf([], usageOf(results)));
  });
}

function requestOf(parameters: Parameters, tools: Tools | undefined): TextRequest {
  const { max_tokens: most, max_completion_tokens: mostCompletion } = parameters;
  if (most != null && mostCompletion != null && most !== mostCompletion)
    throw new Refusal(
      400,
      `max_tokens ${most} and max_completion_tokens ${mostCompletion} are one limit`,
      {
        param: "max_tokens",
        code: "invalid_value",
      },
    );
  if (parameters.top_logprobs != null && parameters.logprobs !== true)
    throw new Refusal(400, "top_logprobs wants logprobs true", {
      param: "top_logprobs",
      code: "invalid_value",
    });
  const maxTokens = mostCompletion ?? most;
  const shared = sharedRequest(parameters);
  const isSingle = tools !== undefined && parameters.parallel_tool_calls === false;
  return {
    ...shared,
    isWhole: parameters.stream !== true,
    prompt: {
      kind: "chat",
      messages: templateMessages(parameters.messages),
      tools: tools === undefined ? [] : (parameters.tools ?? []),
      variables: parameters.chat_template_kwargs ?? {},
    },
    ...(tools?.call !== undefined && { constraint: tools.call }),
    ...(isSingle && { stop: [...shared.stop, ...stopsBehindFirst(tools.format)] }),
    ...(maxTokens != null && { maxTokens }),
    ...(parameters.logprobs === true && { topLogprobs: parameters.top_logprobs ?? 0 }),
  };
}

/** Throws `Refusal` where the model's template renders no tools. */
function toolsOf(
  { tools, tool_choice: choice, response_format: responseFormat }: Parameters,
  template: string | undefined,
): Tools | undefined {
  const hasFormat = responseFormat != null && responseFormat.type !== "text";
  if (tools == null || tools.length === 0) {
    if (choice == null || choice === "none") return undefined;
    throw new Refusal(400, "tool_choice wants tools", {
      param: "tool_choice",
      code: "invalid_value",
    });
  }
  if (choice === "none") return undefined;
  const format = toolFormatOf(template);
  if (format === undefined)
    throw new Refusal(
      400,
      "this model's chat template renders no tools, or its calls are written in a way that this server does not read",
      { param: "tools", code: "unsupported_parameter" },
    );
  const names = new Set(tools.map((tool) => tool.function.name));
  if (choice == null || choice === "auto") return { format, names };
  const wanted = typeof choice === "string" ? undefined : choice.function.name;
  if (wanted !== undefined && !names.has(wanted))
    throw new Refusal(
      400,
      `tool_choice names ${wanted}, which is none of the tools.${didYouMean(wanted, names)}`,
      { param: "tool_choice", code: "invalid_value" },
    );
  if (hasFormat)
    throw new Refusal(400, "a call that has to be made leaves no room for response_format", {
      param: "response_format",
      code: "invalid_value",
    });
  const functions = tools.flatMap(({ function: { name, parameters } }) =>
    wanted === undefined || wanted === name ? [{ name, parameters: parameters ?? {} }] : [],
  );
  return { format, names, call: callConstraint(format, functions) };
}

/** Scores as /v1/chat/completions tells them. */
function logprobsOf(tokens: readonly TextToken[]): object {
  return {
    content: tokens.map(({ text, logprob, bytes, top }) => ({
      ...{ token: text, logprob, bytes },
      top_logprobs: top.map((each) => ({
        token: each.text,
        logprob: each.logprob,
        bytes: each.bytes,
      })),
    })),
    refusal: null,
  };
}
