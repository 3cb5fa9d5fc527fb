import { existsSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { writeWholeFile } from "../util/atomic-file.ts";
import { readJsonFile } from "./config-json.ts";
import { givenId, givenIds, tokenIdSchema, tokenIdsSchema } from "./token-ids.ts";
import type { ModelConfig } from "./config.ts";
import { ModelError } from "./errors.ts";
import { defined } from "../util/defined.ts";

/** How a model wants to be sampled from, as far as its folder says. */
export interface GenerationConfig {
  readonly beginTokenId?: number;
  readonly endTokenIds: readonly number[];
  readonly padTokenId?: number;
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
  /** False takes the most likely token, whatever the temperature. */
  readonly doSample?: boolean;
  /** Keys that are not used, carried through. */
  readonly extra?: Readonly<Record<string, unknown>>;
}

const FILE = "generation_config.json";
const BYTE_LIMIT = 1 << 20;

const schema = z.looseObject({
  bos_token_id: tokenIdSchema,
  eos_token_id: tokenIdsSchema,
  pad_token_id: tokenIdSchema,
  do_sample: z.boolean().nullish(),
  temperature: z.number().nonnegative().nullish(),
  top_k: z.int().nonnegative().nullish(),
  top_p: z.number().positive().max(1).nullish(),
  min_p: z.number().nonnegative().max(1).nullish(),
  repetition_penalty: z.number().positive().nullish(),
});

/** Reads `generation_config.json`; what it leaves out, or the file itself, comes from the model's configuration. */
export function readGenerationConfig(folder: string, config: ModelConfig): GenerationConfig {
  const path = join(folder, FILE);
  const parsed = schema.safeParse(existsSync(path) ? readJsonFile(path, BYTE_LIMIT) : {});
  if (!parsed.success) {
    const problems = parsed.error.issues.map(
      (issue) => `"${issue.path.join(".")}": ${issue.message}`,
    );
    throw new ModelError("model.generation.invalid", `${path}: ${problems.join("; ")}`);
  }
  const json = parsed.data;
  const begin = givenId(json.bos_token_id) ?? config.beginTokenId;
  const pad = givenId(json.pad_token_id) ?? config.padTokenId;
  const extra = Object.fromEntries(
    Object.entries(json).filter(([key]) => !Object.hasOwn(schema.shape, key)),
  );
  return {
    endTokenIds: givenIds(json.eos_token_id) ?? config.endTokenIds,
    ...defined({
      beginTokenId: begin,
      padTokenId: pad,
      temperature: json.temperature ?? undefined,
      topK: json.top_k ?? undefined,
      topP: json.top_p ?? undefined,
      minP: json.min_p ?? undefined,
      repetitionPenalty: json.repetition_penalty ?? undefined,
      doSample: json.do_sample ?? undefined,
    }),
    ...(Object.keys(extra).length > 0 && { extra }),
  };
}

/** Writes `generation_config.json` into a model folder, atomically. */
export function writeGenerationConfig(folder: string, generation: GenerationConfig): void {
  const [firstEnd, ...otherEnds] = generation.endTokenIds;
  const json = {
    ...generation.extra,
    do_sample: generation.doSample,
    bos_token_id: generation.beginTokenId,
    eos_token_id: otherEnds.length === 0 ? firstEnd : generation.endTokenIds,
    pad_token_id: generation.padTokenId,
    temperature: generation.temperature,
    top_k: generation.topK,
    top_p: generation.topP,
    min_p: generation.minP,
    repetition_penalty: generation.repetitionPenalty,
  };
  writeWholeFile(join(folder, FILE), `${JSON.stringify(json, null, 2)}\n`);
}
