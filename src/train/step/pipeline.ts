import type { Collective, Exchange } from "../../engine/collective.ts";
import type { LoadedPlan } from "../../engine/engine.ts";
import { pipelineTurns } from "../../cluster/index.ts";
import { TrainError } from "../errors.ts";
import { hiddenGradientName, hiddenName } from "./step-plan.ts";
import type { PipelineSection } from "./step-plan.ts";
import type { StepPart } from "./step-part.ts";

const HIDDEN_TAG = 21;
const GRADIENT_TAG = 22;
/** Arrays that wait for what the neighbours send, so that it travels while this process computes. */
const RECEIVED_AHEAD = 2;

/** What the trainer does around the sections of an update. */
export interface PipelineHooks {
  /** Puts a micro-batch where the sections read it. */
  readonly write: (batch: number) => void;
  /** Whether a micro-batch's gradients are added to those that stand there. */
  readonly accumulates: (batch: number) => boolean;
  /** Runs a backward section; the trainer sums gradients as they end. */
  readonly backward: (section: PipelineSection, batch: number) => Promise<void>;
}

/** One process's part of a pipeline: its sections, and what passes between it and its neighbours. */
export class Pipeline {
  readonly #loaded: LoadedPlan;
  readonly #group: Collective;
  readonly #part: StepPart;
  /** Whether backward passes come down to here, and go on below. */
  readonly #isLearning: boolean;
  readonly #passesOn: boolean;
  readonly #sent = new Map<string, Exchange>();

  /** `group`: the stages, in their order. */
  constructor(loaded: LoadedPlan, group: Collective, part: StepPart) {
    this.#loaded = loaded;
    this.#group = group;
    this.#part = part;
    const backward = loaded.plan.sections.get("backward 0") ?? [];
    this.#isLearning = backward.length > 0;
    const below = hiddenGradientName(part.firstBlock, 0);
    this.#passesOn =
      part.firstBlock > 0 &&
      backward.some(({ outputs }) => [...outputs.values()].some(({ buffer }) => buffer === below));
  }

  get isFirst(): boolean {
    return this.#group.rank === 0;
  }

  get isLast(): boolean {
    return this.#group.rank === this.#group.size - 1;
  }

  /** Forward and backward of an update's micro-batches; gradients then stand in their buffers. */
  async run(batchCount: number, hooks: PipelineHooks): Promise<void> {
    const { rank, size } = this.#group;
    const { firstBlock, endBlock, slotCount } = this.#part;
    const hidden = this.#incoming(rank - 1, HIDDEN_TAG, this.isFirst ? 0 : batchCount);
    const isTold = this.#isLearning && !this.isLast;
    const gradients = this.#incoming(rank + 1, GRADIENT_TAG, isTold ? batchCount : 0);
    for (const { kind, batch } of pipelineTurns(rank, size, batchCount)) {
      const slot = batch % slotCount;
      if (kind === "forward") {
        if (!this.isFirst) await hidden.take(this.#view(hiddenName(firstBlock, slot)));
        if (this.isLast) continue;
        hooks.write(batch);
        await this.#isFree(hiddenName(endBlock, slot));
        await this.#loaded.run(`forward ${slot}` satisfies PipelineSection);
        this.#send(hiddenName(endBlock, slot), rank + 1, HIDDEN_TAG);
      } else if (this.#isLearning) {
        hooks.write(batch);
        if (!this.isLast) await gradients.take(this.#view(hiddenGradientName(endBlock, slot)));
        const below = hiddenGradientName(firstBlock, slot);
        if (this.#passesOn) await this.#isFree(below);
        const verb = hooks.accumulates(batch) ? "backward_accumulate" : "backward";
        await hooks.backward(`${verb} ${slot}`, batch);
        if (this.#passesOn) this.#send(below, rank - 1, GRADIENT_TAG);
      }
    }
    for (const name of this.#sent.keys()) await this.#isFree(name);
  }

  /** The forward pass of a batch that is judged, from the first stage to the last, where `loss_sum` then stands. */
  async evaluate(): Promise<void> {
    const { rank } = this.#group;
    const { firstBlock, endBlock } = this.#part;
    if (!this.isFirst)
      await this.#incoming(rank - 1, HIDDEN_TAG, 1).take(this.#view(hiddenName(firstBlock, 0)));
    if (!this.isLast) await this.#isFree(hiddenName(endBlock, 0));
    await this.#loaded.run("evaluate");
    if (!this.isLast) this.#send(hiddenName(endBlock, 0), rank + 1, HIDDEN_TAG);
  }

  #send(name: string, to: number, tag: number): void {
    this.#sent.set(name, this.#group.send([this.#view(name)], to, tag));
  }

  /** Waits until what was sent of a buffer is on its way, so that it may be written again. */
  async #isFree(name: string): Promise<void> {
    const exchange = this.#sent.get(name);
    this.#sent.delete(name);
    await exchange?.wait();
  }

  #incoming(from: number, tag: number, count: number): Incoming {
    const name = tag === HIDDEN_TAG ? this.#part.firstBlock : this.#part.endBlock;
    const buffer = tag === HIDDEN_TAG ? hiddenName(name, 0) : hiddenGradientName(name, 0);
    const length = count === 0 ? 0 : this.#view(buffer).length;
    return new Incoming(this.#group, { from, tag, count, length });
  }

  #view(name: string): Float32Array {
    const view = this.#loaded.view(name);
    if (view instanceof Float32Array) return view;
    throw new TrainError("train.buffer", `buffer ${name} does not hold fp32 numbers`);
  }
}

interface Expected {
  readonly from: number;
  readonly tag: number;
  readonly count: number;
  readonly length: number;
}

/** What a neighbour sends, received ahead. */
class Incoming {
  readonly #group: Collective;
  readonly #expected: Expected;
  readonly #posted: { readonly array: Float32Array; readonly exchange: Exchange }[] = [];
  #postedCount = 0;

  constructor(group: Collective, expected: Expected) {
    this.#group = group;
    this.#expected = expected;
    for (let ahead = 0; ahead < RECEIVED_AHEAD; ahead++)
      this.#post(new Float32Array(new SharedArrayBuffer(4 * expected.length)));
  }

  async take(target: Float32Array): Promise<void> {
    const next = this.#posted.shift();
    if (next === undefined) throw new TrainError("train.pipeline", "nothing more is expected");
    await next.exchange.wait();
    target.set(next.array);
    this.#post(next.array);
  }

  #post(array: Float32Array): void {
    const { from, tag, count } = this.#expected;
    if (this.#postedCount >= count) return;
    this.#postedCount++;
    this.#posted.push({ array, exchange: this.#group.receive([array], from, tag) });
  }
}
