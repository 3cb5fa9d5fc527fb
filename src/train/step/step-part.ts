import { partOf } from "../../engine/collective.ts";
import { elementCount, staticShape, tensorType } from "../../mil/types.ts";

import type { Parameters, StageInstance, Weight } from "../../model/parameters.ts";

/** The blocks of a model that one process of a pipeline holds; the first also has the embedding, the last the head. */
export interface StepPart {
  readonly firstBlock: number;
  /** One past the last. */
  readonly endBlock: number;
  /** Micro-batches whose forward pass is done and whose backward pass is not, at most. */
  readonly slotCount: number;
}

/** The part of every weight that one process updates. */
export interface UpdateShard {
  readonly rank: number;
  readonly size: number;
}

export function hasEmbedding({ firstBlock }: StepPart): boolean {
  return firstBlock === 0;
}

export function hasHead({ endBlock }: StepPart, { blocks }: Parameters): boolean {
  return endBlock === blocks.length;
}

/** What a process of a pipeline holds of a model. A tied head far from the embedding has a table of its own. */
export interface HeldStages {
  readonly embed: StageInstance | undefined;
  readonly blocks: readonly StageInstance[];
  readonly head: StageInstance | undefined;
  readonly stages: readonly StageInstance[];
  /** Names of weights that another process counts: a second copy of the table. */
  readonly copies: ReadonlySet<string>;
}

export function heldStages(parameters: Parameters, part: StepPart | undefined): HeldStages {
  const { embed, blocks, head } = parameters;
  if (part === undefined)
    return { embed, blocks, head, stages: parameters.stages, copies: new Set() };
  const own = hasEmbedding(part) ? embed : undefined;
  const held = blocks.slice(part.firstBlock, part.endBlock);
  const isLast = hasHead(part, parameters);
  const last = isLast && own === undefined ? withOwnTable(head) : isLast ? head : undefined;
  const copies = own === undefined && isLast ? head.weights.filter(({ borrowed }) => borrowed) : [];
  return {
    ...{ embed: own, blocks: held, head: last },
    stages: [...(own ? [own] : []), ...held, ...(last ? [last] : [])],
    copies: new Set(copies.map(({ name }) => name)),
  };
}

/** Every weight a process holds, once. */
export function heldWeights(parameters: Parameters, part: StepPart | undefined): readonly Weight[] {
  return heldStages(parameters, part).stages.flatMap(({ weights }) =>
    weights.filter(({ borrowed }) => !borrowed),
  );
}

function withOwnTable(head: StageInstance): StageInstance {
  return { ...head, weights: head.weights.map((weight) => ({ ...weight, borrowed: false })) };
}

/** A weight, or the run of its elements that this process updates. */
export interface UpdatedWeight {
  readonly weight: Weight;
  /** Elements before it. */
  readonly offset: number;
}

/** What an update of a stage changes here: a borrowed table is updated where it belongs; parts of weights are flat. */
export function updatedWeights(
  stage: StageInstance,
  shard: UpdateShard | undefined,
): readonly UpdatedWeight[] {
  const whole = stage.weights.filter(({ trainable, borrowed }) => trainable && !borrowed);
  if (shard === undefined) return whole.map((weight) => ({ weight, offset: 0 }));
  return whole.flatMap((weight) => {
    const length = elementCount(staticShape(weight.type));
    const [first, end] = partOf(length, shard.rank, shard.size);
    if (end === first) return [];
    return [{ weight: { ...weight, type: tensorType("fp32", [end - first]) }, offset: first }];
  });
}
