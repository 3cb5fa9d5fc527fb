import * as z from "zod";
import { nearestName } from "../util/nearest.ts";
import { plainProblem, typeWords } from "../util/plain-problem.ts";
import { ModelError } from "./errors.ts";
import { givenId, givenIds, tokenIdSchema, tokenIdsSchema } from "./token-ids.ts";

const LARGEST_SIZE = 1 << 24;
const LARGEST_LAYER_COUNT = 10_000;

export const size = z.int().positive().max(LARGEST_SIZE);
export const layers = z.int().positive().max(LARGEST_LAYER_COUNT);
export const positive = z.number().positive();

/** Keys that all families share, whichever way they name their sizes. */
export const common = {
  vocab_size: size,
  initializer_range: positive.nullish(),
  tie_word_embeddings: z.boolean().nullish(),
  bos_token_id: tokenIdSchema,
  eos_token_id: tokenIdsSchema,
  pad_token_id: tokenIdSchema,
};

/** Keys that the product writes itself; the others are carried through in `extra`. */
const OWN_KEYS = [
  "architectures",
  "model_type",
  "dtype",
  "torch_dtype",
  // What is written is not quantized any more.
  "quantization",
  "quantization_config",
];

/** The keys of a schema. Throws `ModelError` that names each wrong and missing one. */
export function parse<Schema extends z.ZodObject>(
  schema: Schema,
  json: unknown,
  where: string,
): z.infer<Schema> {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => problemOf(issue, json, schema));
  throw new ModelError("model.config.invalid", `${where}: ${problems.join("; ")}`);
}

/** What is wrong with one key, in plain words. */
function problemOf(issue: z.core.$ZodIssue, json: unknown, schema: z.ZodObject): string {
  const name = issue.path.length === 0 ? "the file" : `"${issue.path.map(String).join(".")}"`;
  const value = issue.path.reduce<unknown>(
    (inside, key) =>
      typeof inside === "object" && inside !== null
        ? (inside as Readonly<Record<PropertyKey, unknown>>)[key]
        : undefined,
    json,
  );
  if (value !== undefined) return `${name} ${plainProblem(issue)}, not ${JSON.stringify(value)}`;
  const needed = issue.code === "invalid_type" ? `: ${typeWords(issue.expected)}` : "";
  const own = new Set(Object.keys(schema.shape));
  const others =
    typeof json === "object" && json !== null
      ? Object.keys(json).filter((key) => !own.has(key))
      : [];
  const meant = nearestName(String(issue.path.at(-1)), others);
  return `${name} is missing${needed}${meant === undefined ? "" : ` (the file has "${meant}")`}`;
}

/** Keys that a schema does not know, carried through. */
export function extraOf(schema: z.ZodObject, json: object): Readonly<Record<string, unknown>> {
  const known = new Set([...Object.keys(schema.shape), ...OWN_KEYS]);
  return Object.fromEntries(Object.entries(json).filter(([key]) => !known.has(key)));
}

interface CommonJson {
  readonly vocab_size: number;
  readonly initializer_range?: number | null | undefined;
  readonly tie_word_embeddings?: boolean | null | undefined;
  readonly bos_token_id?: number | null | undefined;
  readonly eos_token_id?: number | readonly number[] | null | undefined;
  readonly pad_token_id?: number | null | undefined;
}

/** What all families have of `CommonConfig`. */
export function commonOf(json: CommonJson, tiedByDefault: boolean) {
  return {
    vocabularySize: json.vocab_size,
    initializerRange: json.initializer_range ?? 0.02,
    tiedHead: json.tie_word_embeddings ?? tiedByDefault,
    beginTokenId: givenId(json.bos_token_id),
    endTokenIds: givenIds(json.eos_token_id) ?? [],
    padTokenId: givenId(json.pad_token_id),
  };
}

/** `total / parts`, which must be whole. */
export function dividing(
  total: number,
  parts: number,
  totalName: string,
  partsName: string,
  where: string,
): number {
  if (total % parts !== 0)
    throw new ModelError(
      "model.config.sizes",
      `${where}: ${totalName} ${total} is not a multiple of ${partsName} ${parts}`,
    );
  return total / parts;
}
