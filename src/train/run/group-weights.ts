import { rankOf } from "../../cluster/index.ts";
import { partOf } from "../../engine/collective.ts";
import type { Exchange } from "../../engine/collective.ts";
import { viewClassFor } from "../../engine/engine.ts";
import type { BufferView, LoadedPlan } from "../../engine/engine.ts";
import { elementCount, staticShape } from "../../mil/types.ts";
import type { TensorType } from "../../mil/types.ts";
import { biasesName, scalesName, trainableWeights } from "../../model/index.ts";
import type { Model, Weight } from "../../model/index.ts";
import { storedTypes } from "../../plan/storage.ts";
import { momentTensor } from "../step/adamw.ts";
import { momentNames } from "../step/step-plan.ts";
import { restoreWeights, runBuffers } from "./checkpoint-contents.ts";
import { gradientName } from "../step/update-plan.ts";
import type { Held, RunGroup } from "./run-group.ts";
import { SavedLosses } from "./wire-state.ts";
import type { KeptLosses, LossPlace, WireLayout } from "./wire-state.ts";

const STATE_TAG = 13;
const ASK_TAG = 14;
const ANSWER_TAG = 15;
const LOSS_TAG = 18;
const NOTHING_MORE = -1;
/** What is asked for: a buffer of the state, or what rounding lost of a weight's gradient. */
const BUFFER = 0;
const LOSSES = 1;

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

  /** Whether rank 0 needs nobody for a checkpoint. */
  get isComplete(): boolean {
    return this.isWhole && this.#group.losses === undefined;
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
    await this.#spreadLosses(folder);
    await this.#group.world.barrier().wait();
  }

  /** Rank 0: what rounding lost at all processes. As `view`. */
  get losses(): KeptLosses | undefined {
    const { losses } = this.#group;
    if (losses === undefined) return undefined;
    return {
      layout: this.#wireLayout,
      unit: losses.unit,
      places: this.#lossPlaces(),
      read: (place) => this.#lossesOf(place),
    };
  }

  get #wireLayout(): WireLayout {
    const { replicaCount } = this.#group.layout;
    return { replicaCount, isSharded: this.#held.shard !== undefined };
  }

  #lossPlaces(): readonly (LossPlace & { readonly length: number })[] {
    const { replicaCount } = this.#group.layout;
    return trainableWeights(this.#model.parameters).flatMap((weight) =>
      this.#stagesOf(weight).flatMap((_, copy) =>
        Array.from({ length: replicaCount }, (__, replica) => ({
          ...{ weight: weight.name, replica, copy, length: elementCount(staticShape(weight.type)) },
        })),
      ),
    );
  }

  #lossesOf({ weight: name, replica, copy }: LossPlace): Float32Array {
    const { world, layout } = this.#group;
    const weights = trainableWeights(this.#model.parameters);
    const number = weights.findIndex((weight) => weight.name === name);
    const weight = weights[number];
    if (weight === undefined) throw new Error(`nothing of ${name} travels`);
    const stage = this.#stagesOf(weight)[copy] ?? 0;
    const rank = rankOf({ replica, stage }, layout);
    if (rank === world.rank) return this.#ownLosses(weight);
    const whole = new Float32Array(
      new SharedArrayBuffer(4 * elementCount(staticShape(weight.type))),
    );
    world.send([Int32Array.of(LOSSES, number)], rank, ASK_TAG).block();
    world.receive([whole], rank, ANSWER_TAG).block();
    return whole;
  }

  #ownLosses({ name, type }: Weight): Float32Array {
    const { losses } = this.#group;
    if (losses === undefined) throw new Error("gradients do not travel as fp16");
    return losses.of(gradientName(name), elementCount(staticShape(type)));
  }

  /** Gives each process what it had lost when the checkpoint was written, or its share of that. */
  async #spreadLosses(folder: string | undefined): Promise<void> {
    const { losses, world, layout, rank } = this.#group;
    if (losses === undefined) return;
    const saved = rank === 0 && folder !== undefined ? SavedLosses.open(folder) : undefined;
    const told = Float64Array.of(saved === undefined ? Number.NaN : saved.unit);
    await world.broadcast([told], 0).wait();
    const [unit = Number.NaN] = told;
    if (Number.isNaN(unit)) return;
    losses.adoptUnit(unit);
    try {
      for (const weight of trainableWeights(this.#model.parameters)) {
        const length = elementCount(staticShape(weight.type));
        const stages = this.#stagesOf(weight);
        for (const [copy, stage] of stages.entries())
          for (let replica = 0; replica < layout.replicaCount; replica++) {
            const target = rankOf({ replica, stage }, layout);
            const place = { weight: weight.name, replica, copy, copyCount: stages.length };
            const numbers = saved?.shareOf(place, length, this.#wireLayout);
            if (numbers === undefined) {
              if (target === rank)
                await world.receive([this.#ownLosses(weight)], 0, LOSS_TAG).wait();
            } else if (target === rank) this.#ownLosses(weight).set(numbers);
            else await world.send([numbers], target, LOSS_TAG).wait();
          }
      }
    } finally {
      saved?.close();
    }
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
        world.send([Int32Array.of(BUFFER, number)], rank, ASK_TAG).block();
        world.receive([part], rank, ANSWER_TAG).block();
      }
    }
    return whole;
  }

  /** All others: hand over what rank 0 asks for, until it asks no more. */
  async serve(): Promise<void> {
    const { world } = this.#group;
    const asked = new Int32Array(new SharedArrayBuffer(8));
    const trained = trainableWeights(this.#model.parameters);
    for (;;) {
      await world.receive([asked], 0, ASK_TAG).wait();
      const [kind, number = NOTHING_MORE] = asked;
      const weight = trained[number];
      if (kind === LOSSES && weight !== undefined) {
        await world.send([this.#ownLosses(weight)], 0, ANSWER_TAG).wait();
        continue;
      }
      const name = this.#stored[number];
      if (name === undefined) return;
      await world.send([this.#loaded.view(name)], 0, ANSWER_TAG).wait();
    }
  }

  async endServing(): Promise<void> {
    const { world } = this.#group;
    const sent: Exchange[] = [];
    for (let rank = 1; rank < world.size; rank++)
      sent.push(world.send([Int32Array.of(BUFFER, NOTHING_MORE)], rank, ASK_TAG));
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
    const momentType = momentTensor(type, this.#held.momentType);
    const moment = (name: string): StateBuffer => ({ name, type: momentType, isMoment: true });
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
