import { randomInt } from "node:crypto";
import { z } from "zod";
import type { TextRequest } from "../../generate/service/messages.ts";
import { didYouMean } from "../../util/nearest.ts";
import { plainProblem } from "../../util/plain-problem.ts";
import { Refusal } from "../errors.ts";

/** Most texts that one request asks for. */
export const MOST_CHOICES = 128;
/** Most tokens that are told beside each token. */
export const MOST_TOP_LOGPROBS = 20;
const MOST_STOPS = 16;
/** A bias as low as this rules a token out, as OpenAI says. */
const RULED_OUT_BIAS = -100;
/** Of the numbers that a seed is drawn from. */
const SEED_LIMIT = 2 ** 31;

const tokenBias = z.number().min(-100).max(100);

/** What requests for texts and for chats have in common. Names are OpenAI's; the last five are those of other servers. */
export const SHARED_PARAMETERS = {
  model: z.string(),
  stream: z.boolean().nullish(),
  stream_options: z
    .strictObject({
      include_usage: z.boolean().nullish(),
      include_obfuscation: z.literal(false).nullish(),
    })
    .nullish(),
  n: z.int().min(1).max(MOST_CHOICES).nullish(),
  stop: z.union([z.string().min(1), z.array(z.string().min(1)).max(MOST_STOPS)]).nullish(),
  seed: z.int().nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().positive().max(1).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  response_format: z
    .discriminatedUnion("type", [
      z.strictObject({ type: z.literal("text") }),
      z.strictObject({ type: z.literal("json_object") }),
      z.strictObject({
        type: z.literal("json_schema"),
        json_schema: z.strictObject({
          name: z.string().regex(/^[\w-]{1,64}$/),
          description: z.string().nullish(),
          schema: z.record(z.string(), z.unknown()).optional(),
          strict: z.boolean().nullish(),
        }),
      }),
    ])
    .nullish(),
  logit_bias: z.record(z.string().regex(/^\d+$/), tokenBias).nullish(),
  // Without effect here, and harmless: what they ask for is what happens anyway, or concerns OpenAI's own books.
  user: z.string().nullish(),
  metadata: z.record(z.string(), z.string()).nullish(),
  safety_identifier: z.string().nullish(),
  prompt_cache_key: z.string().nullish(),
  service_tier: z.enum(["auto", "default"]).nullish(),
  store: z.literal(false).nullish(),
  // Of vLLM and llama.cpp.
  top_k: z.int().min(-1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  repetition_penalty: z.number().positive().nullish(),
  ignore_eos: z.boolean().nullish(),
} as const;

const sharedSchema = z.object(SHARED_PARAMETERS);
export type SharedParameters = z.infer<typeof sharedSchema>;

/** A body that has the form of a schema. Throws `Refusal` 400 that names the parameter. */
export function parsedBody<Schema extends z.ZodObject>(
  schema: Schema,
  body: unknown,
): z.infer<Schema> {
  if (typeof body !== "object" || body === null || Array.isArray(body))
    throw new Refusal(400, "the body has to be a JSON object", { code: "invalid_type" });
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = pathOf(issue?.path ?? []);
  if (issue?.code === "unrecognized_keys") {
    const [key = ""] = issue.keys;
    const known = issue.path.length === 0 ? Object.keys(schema.shape) : [];
    const param = where === "" ? key : `${where}.${key}`;
    throw new Refusal(
      400,
      `${param} is no parameter that this server knows.${didYouMean(key, known)}`,
      { param, code: "unknown_parameter" },
    );
  }
  const value = valueAt(body, issue?.path ?? []);
  if (value === undefined)
    throw new Refusal(400, `${where} is missing`, {
      param: where,
      code: "missing_required_parameter",
    });
  throw new Refusal(400, `${where} ${plainProblem(issue)}, not ${brief(value)}`, {
    param: where,
    code: "invalid_value",
  });
}

/** As `messages[0].content`. */
function pathOf(path: readonly PropertyKey[]): string {
  return path
    .map((part, index) =>
      typeof part === "number" ? `[${part}]` : `${index > 0 ? "." : ""}${String(part)}`,
    )
    .join("");
}

function valueAt(body: unknown, path: readonly PropertyKey[]): unknown {
  let value = body;
  for (const part of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[part];
  }
  return value;
}

const BRIEF_LENGTH = 80;

function brief(value: unknown): string {
  const text = JSON.stringify(value) ?? "undefined";
  return text.length <= BRIEF_LENGTH ? text : `${text.slice(0, BRIEF_LENGTH)}…`;
}

/** The part of a request for texts that comes from the shared parameters. */
export function sharedRequest(
  parameters: SharedParameters,
): Omit<TextRequest, "prompt" | "adapter" | "maxTokens"> {
  if (parameters.stream_options != null && parameters.stream !== true)
    throw new Refusal(400, "stream_options is only for answers that are streamed: stream true", {
      param: "stream_options",
      code: "invalid_value",
    });
  const { temperature, top_p, top_k, min_p, repetition_penalty, stop } = parameters;
  const { frequency_penalty, presence_penalty, logit_bias } = parameters;
  return {
    count: parameters.n ?? 1,
    seed: parameters.seed ?? randomInt(SEED_LIMIT),
    sampling: {
      ...(temperature != null && { temperature }),
      ...(top_p != null && { topP: top_p }),
      ...(top_k != null && { topK: Math.max(0, top_k) }),
      ...(min_p != null && { minP: min_p }),
      ...(repetition_penalty != null && { repetitionPenalty: repetition_penalty }),
    },
    stop: stop == null ? [] : typeof stop === "string" ? [stop] : stop,
    ...(frequency_penalty != null && { frequencyPenalty: frequency_penalty }),
    ...(presence_penalty != null && { presencePenalty: presence_penalty }),
    ...(logit_bias != null && {
      logitBias: new Map(
        Object.entries(logit_bias).map(([id, bias]) => [
          Number(id),
          bias <= RULED_OUT_BIAS ? -Infinity : bias,
        ]),
      ),
    }),
    ...(parameters.ignore_eos === true && { ignoresEnds: true }),
    ...constraintOf(parameters),
  };
}

/** What an answer has to be. A schema that is absent lets every value through. */
function constraintOf({
  response_format: format,
}: SharedParameters): Pick<TextRequest, "constraint"> {
  switch (format?.type) {
    case undefined:
    case "text":
      return {};
    case "json_object":
      return { constraint: { kind: "json" } };
    case "json_schema":
      return { constraint: { kind: "schema", schema: format.json_schema.schema ?? true } };
  }
}
