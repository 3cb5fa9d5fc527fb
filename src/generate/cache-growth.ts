import { overCompileBudget } from "../engine/host/compile-budget.ts";
import type { CompilationCost, Engine, SectionsOfPlan } from "../engine/engine.ts";
import type { Plan } from "../plan/plan.ts";
import { bucketFor, cacheBuckets } from "./decode-plan.ts";
import type { DecodeSection } from "./decode-plan.ts";

/** Programs of a decoding plan where compiling is limited: embedding, block, logits of `prefill` and of `decode`. */
const PROGRAMS_PER_PLAN = 6;

/** A sequence that is going to be written. */
export interface PlannedSequence {
  /** Tokens that are appended at once. */
  readonly promptLength: number;
  /** Tokens in all. */
  readonly length: number;
}

export interface GrowthParts {
  readonly engine: Engine;
  readonly contextLength: number;
  /** The decoding plan of a cache of so many positions. */
  readonly planOf: (bucket: number) => Plan;
  /** Sections that a prompt of so many tokens runs. */
  readonly sectionsOfPrompt: (tokenCount: number) => readonly DecodeSection[];
}

/**
 * The smallest cache that a sequence may begin with: 0, a cache that grows along with the sequence, or `length`
 * where the programs of all sizes on the way are more than one process may compile. Throws `EngineError`
 * `engine.ane.budget` where that does not fit either, before anything is computed.
 */
export function firstCacheLength(sequence: PlannedSequence, parts: GrowthParts): number {
  const { engine, contextLength } = parts;
  const idle = engine.compilationCost?.([]);
  if (idle === undefined) return 0;
  const { promptLength, length } = sequence;
  const first = bucketFor(promptLength, contextLength);
  const last = bucketFor(length, contextLength);
  const buckets = cacheBuckets(contextLength).filter((size) => size >= first && size <= last);
  // Building plans takes time, and mostly there is room.
  if (buckets.length * PROGRAMS_PER_PLAN <= idle.left) return 0;
  const costOf = (sizes: readonly number[]): CompilationCost => {
    const needs = sizes.map((size, index) => needsOf(size, index === 0, sequence, parts));
    return engine.compilationCost?.(needs) ?? idle;
  };
  const growing = costOf(buckets);
  // What one process may compile in all decides, not what is left of it: a sequence begins the same in every process.
  const isSingle = buckets.length > 1 && growing.programs > growing.budget;
  const cost = isSingle ? costOf([last]) : growing;
  if (cost.missing <= cost.left) return isSingle ? length : 0;
  throw overCompileBudget(cost, `a text of ${length} tokens, ${promptLength} of them at once,`);
}

function needsOf(
  bucket: number,
  isFirst: boolean,
  { promptLength, length }: PlannedSequence,
  { planOf, sectionsOfPrompt }: GrowthParts,
): SectionsOfPlan {
  const prompt = isFirst ? sectionsOfPrompt(promptLength) : [];
  const isContinued = length > promptLength && (!isFirst || bucket > promptLength);
  const sections = new Set<DecodeSection>([
    ...prompt,
    ...(isContinued ? (["decode"] as const) : []),
  ]);
  return { plan: planOf(bucket), sections: [...sections] };
}
