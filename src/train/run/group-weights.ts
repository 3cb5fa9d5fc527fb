import { rankOf } from "../../cluster/index.ts";
import { partOf } from "../../engine/collective.ts";
import type { Exchange } from "../../engine/collective.ts";
import { viewClassFor } from "../../engine/engine.ts";
import type { BufferView, LoadedPlan } from "../../engine/engine.ts";
import { elementCount, staticShape } from "../../mil/types.ts";
import type { TensorType } from "../../mil/types.ts";
import { biasesName, scalesName } from "../../model/index.ts";
import type { Model, Weight } from "../../model/index.ts";
import { storedTypes } from "../../plan/storage.ts";
import { momentNames } from "../step/step-plan.ts";
import { restoreWeights, runBuffers } from "./checkpoint-contents.ts";
import type { Held, RunGroup } from "./run-group.ts";

const STATE_TAG = 13;
const ASK_TAG = 14;
const ANSWER_TAG = 15;
const NOTHING_MORE = -1;

interface StateBuffer {
  readonly name: string;
  readonly type: TensorType;
  readonly isMoment: boolean;
}

/**
 * The state of a model that several processes hold: which buffer is where, how rank 0 gives each its own when a run
 * begins, and how it gets all of it together for a checkpoint, a tensor at a time. Checkpoints are therefore the same
 * whatever the layout.
 */
export class GroupState {
  readonly #group: RunGroup;
  readonly #model: Model;
  readonly #held: Held;
  readonly #loaded: LoadedPlan;
  /** What a checkpoint stores, in the order in which both sides number it. */
  readonly #stored: readonly string[];
  readonly #places = new Map<string, { readonly weight: Weight; readonly buffer: StateBuffer }>();

  constructor(group: RunGroup, model: Model, held: Held, loaded: LoadedPlan) {
    this.#group = group;
    this.#model = model;
    this.#held = held;
    this.#loaded = loaded;
    this.#stored = runBuffers(model.parameters);
    for (const weight of model.parameters.weights)
      for (const buffer of this.#buffersOf(weight, true))
        this.#places.set(buffer.name, { weight, buffer });
  }

  /** Whether rank 0 has all that a checkpoint stores. */
  get isWhole(): boolean {
    return this.#group.layout.stageCount === 1 && this.#held.shard === undefined;
  }

  /** Rank 0 reads or draws every weight and gives it to those who hold it; all members call it. */
  async distribute(checkpoint: {
    readonly folder?: string;
    readonly isResumed: boolean;
  }): Promise<void> {
    const { rank } = this.#group;
    const { folder, isResumed } = checkpoint;
    const views = new Map<string, BufferView>();
    const viewOf = (name: string): BufferView => views.get(name) ?? this.#loaded.view(name);
    if (rank === 0 && this.isWhole) restoreWeights(this.#model, folder, viewOf);
    for (const weight of this.#model.parameters.weights) {
      const buffers = this.#buffersOf(weight, isResumed && weight.trainable);
      if (rank === 0 && !this.isWhole) {
        views.clear();
        for (const buffer of buffers)
          if (!this.#isLocal(weight, buffer)) views.set(buffer.name, fresh(buffer.type));
        restoreWeights(this.#model, folder, viewOf, { weights: [weight] });
      }
      for (const buffer of buffers) await this.#spread(weight, buffer, viewOf);
    }
    await this.#group.world.barrier().wait();
  }

  /**
   * Rank 0: a buffer's whole contents, its own or fetched from those who hold it. Between `Command` "serve" and
   * `endServing`; does not turn the event loop.
   */
  view(name: string): BufferView {
    const place = this.#places.get(name);
    if (place === undefined || this.#isLocal(place.weight, place.buffer))
      return this.#loaded.view(name);
    const whole = fresh(place.buffer.type);
    const { world } = this.#group;
    const number = this.#stored.indexOf(name);
    for (const { rank, first, end } of this.#holders(place.weight, place.buffer)) {
      const part = whole.subarray(first, end);
      if (rank === world.rank) part.set(this.#loaded.view(name));
      else {
        world.send([Int32Array.of(number)], rank, ASK_TAG).block();
        world.receive([part], rank, ANSWER_TAG).block();
      }
    }
    return whole;
  }

  /** All others: hand over what rank 0 asks for, until it asks no more. */
  async serve(): Promise<void> {
    const { world } = this.#group;
    const asked = new Int32Array(new SharedArrayBuffer(4));
    for (;;) {
      await world.receive([asked], 0, ASK_TAG).wait();
      const name = this.#stored[asked[0] ?? NOTHING_MORE];
      if (name === undefined) return;
      await world.send([this.#loaded.view(name)], 0, ANSWER_TAG).wait();
    }
  }

  async endServing(): Promise<void> {
    const { world } = this.#group;
    const sent: Exchange[] = [];
    for (let rank = 1; rank < world.size; rank++)
      sent.push(world.send([Int32Array.of(NOTHING_MORE)], rank, ASK_TAG));
    for (const exchange of sent) await exchange.wait();
  }

  async #spread(
    weight: Weight,
    buffer: StateBuffer,
    viewOf: (name: string) => BufferView,
  ): Promise<void> {
    const { world, rank, place, layout, replicas } = this.#group;
    const isMine = this.#stagesOf(weight).includes(place.stage);
    if (buffer.isMoment && this.#held.shard !== undefined) {
      if (rank === 0) {
        for (const holder of this.#holders(weight, buffer, this.#stagesOf(weight))) {
          const part = viewOf(buffer.name).subarray(holder.first, holder.end);
          if (holder.rank === 0) this.#loaded.view(buffer.name).set(part);
          else await world.send([part], holder.rank, STATE_TAG).wait();
        }
      } else if (isMine && this.#loaded.plan.buffers.has(buffer.name)) {
        await world.receive([this.#loaded.view(buffer.name)], 0, STATE_TAG).wait();
      }
      return;
    }
    if (rank === 0) {
      for (const stage of this.#stagesOf(weight))
        if (stage !== 0)
          await world
            .send([viewOf(buffer.name)], rankOf({ replica: 0, stage }, layout), STATE_TAG)
            .wait();
    } else if (isMine && place.replica === 0) {
      await world.receive([this.#loaded.view(buffer.name)], 0, STATE_TAG).wait();
    }
    if (isMine) await replicas.broadcast([this.#loaded.view(buffer.name)], 0).wait();
  }

  /** Whether rank 0 has all of a buffer. */
  #isLocal(weight: Weight, { isMoment }: StateBuffer): boolean {
    const isSharded = isMoment && this.#held.shard !== undefined;
    return this.#stagesOf(weight).includes(0) && !isSharded;
  }

  /** Who holds which elements of a buffer, in one stage or in several. */
  #holders(
    weight: Weight,
    { type, isMoment }: StateBuffer,
    stages: readonly number[] = this.#stagesOf(weight).slice(0, 1),
  ): readonly { readonly rank: number; readonly first: number; readonly end: number }[] {
    const { layout } = this.#group;
    const length = elementCount(staticShape(type));
    return stages.flatMap((stage) => {
      if (!isMoment || this.#held.shard === undefined)
        return [{ rank: rankOf({ replica: 0, stage }, layout), first: 0, end: length }];
      return Array.from({ length: layout.replicaCount }, (_, replica) => {
        const [first, end] = partOf(length, replica, layout.replicaCount);
        return { rank: rankOf({ replica, stage }, layout), first, end };
      }).filter(({ first, end }) => end > first);
    });
  }

  /** Stages of the pipeline that hold a weight: one, or for a table that embedding and head share the two ends. */
  #stagesOf(weight: Weight): readonly number[] {
    const { firsts } = this.#held;
    const last = firsts.length - 1;
    const { embed, blocks, head } = this.#model.parameters;
    const holds = (stage: { readonly weights: readonly Weight[] }): boolean =>
      stage.weights.some(({ name }) => name === weight.name);
    if (holds(embed)) return holds(head) && last > 0 ? [0, last] : [0];
    if (holds(head)) return [last];
    const layer = blocks.findIndex(holds);
    return [firsts.findLastIndex((first) => first <= layer)];
  }

  #buffersOf(weight: Weight, withMoments: boolean): readonly StateBuffer[] {
    const { name, type, storage } = weight;
    const { codes, scales, biases } = storedTypes(name, staticShape(type), storage);
    const moment = (buffer: string): StateBuffer => ({ name: buffer, type, isMoment: true });
    return [
      { name, type: codes, isMoment: false },
      ...(scales ? [{ name: scalesName(name), type: scales, isMoment: false }] : []),
      ...(biases ? [{ name: biasesName(name), type: biases, isMoment: false }] : []),
      ...(withMoments ? momentNames(weight).map(moment) : []),
    ];
  }
}

function fresh(type: TensorType): BufferView {
  const Kind = viewClassFor(type.dataType) as (new (memory: SharedArrayBuffer) => BufferView) & {
    readonly BYTES_PER_ELEMENT: number;
  };
  const count = elementCount(staticShape(type));
  return new Kind(new SharedArrayBuffer(count * Kind.BYTES_PER_ELEMENT));
}
