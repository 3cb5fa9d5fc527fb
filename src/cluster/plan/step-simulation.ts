import { pipelineTurns, slotCountOf } from "../pipeline-turns.ts";
import { simulate } from "./events.ts";
import type { SimulatedTask, TimedTask } from "./events.ts";
import type { Link } from "./links.ts";

/** Milliseconds of the parts of a training step on one machine, for one micro-batch where it is of one. */
export interface PartTimes {
  readonly embedForward: number;
  readonly blockForward: number;
  readonly blockBackward: number;
  /** The head with its gradients. */
  readonly head: number;
  readonly embedBackward: number;
  readonly blockUpdate: number;
  readonly embedUpdate: number;
  readonly headUpdate: number;
}

/** Bytes of the parts of a model. */
export interface PartBytes {
  /** Gradients in fp32 of what is trained. */
  readonly blockGradient: number;
  readonly embedGradient: number;
  readonly headGradient: number;
  /** Weights as they are stored, and optimizer state. */
  readonly blockWeights: number;
  readonly blockOptimizer: number;
  readonly endWeights: number;
  readonly endOptimizer: number;
  /** What the backward pass of a block keeps of one micro-batch. */
  readonly blockTaps: number;
  /** Activations and logits of one micro-batch that exist at once. */
  readonly transient: number;
  /** The hidden state of one micro-batch, fp32: what stages hand to each other. */
  readonly hidden: number;
}

export interface ClusterStep {
  readonly blockCount: number;
  readonly times: PartTimes;
  readonly bytes: PartBytes;
  readonly stageCount: number;
  readonly replicaCount: number;
  readonly isSharded: boolean;
  readonly wire: "fp32" | "fp16";
  /** Micro-batches of an update, of all replicas together. */
  readonly batchCount: number;
  readonly link: Link;
  /** Nanoseconds of the host for each number that is summed: packing, adding, unpacking. */
  readonly hostNsPerNumber: number;
}

/** What a step takes, and where its time goes on the machine that has the least to spare. */
export interface SimulatedStep {
  readonly stepMs: number;
  /** Of the busiest machine. */
  readonly computeMs: number;
  /** In which that machine waits for another stage. */
  readonly bubbleMs: number;
  /** In which it waits for sums of gradients or for weights: what did not fit beside the backward pass. */
  readonly exposedMs: number;
  /** On the link of that machine, hidden or not. */
  readonly linkMs: number;
  /** Of `linkMs`: what does not shrink with the bytes. */
  readonly latencyMs: number;
  /** Of the fullest machine. */
  readonly memoryBytes: number;
  readonly tasks: readonly TimedTask[];
}

/** One half of an exchange among `count` members of `byteLength` bytes that each holds. */
export function exchangeMs(
  byteLength: number,
  count: number,
  { bytesPerMs, latencyMs, messageMs }: Link,
): { readonly ms: number; readonly latencyMs: number } {
  if (count <= 1 || byteLength === 0) return { ms: 0, latencyMs: 0 };
  const fixed = latencyMs + (count - 1) * messageMs;
  return { ms: fixed + (byteLength * (count - 1)) / count / bytesPerMs, latencyMs: fixed };
}

/** First block of each stage: as many a stage as can be, the ends with fewer where their own work is dear. */
export function evenBlocks({
  blockCount,
  stageCount,
  times,
}: Pick<ClusterStep, "blockCount" | "stageCount" | "times">): readonly number[] {
  const block = times.blockForward + times.blockBackward;
  const ends = [times.embedForward + times.embedBackward, times.head];
  const total = block * blockCount + (ends[0] ?? 0) + (ends[1] ?? 0);
  const firsts = [0];
  let at = 0;
  let spent = ends[0] ?? 0;
  for (let stage = 1; stage < stageCount; stage++) {
    const target = (total * stage) / stageCount;
    const limit = blockCount - (stageCount - stage);
    do {
      at++;
      spent += block;
    } while (at < limit && spent + block / 2 < target);
    firsts.push(at);
  }
  return firsts;
}

/** Simulates one update. Replicas are alike, so one of each stage stands for all. */
export function simulateStep(step: ClusterStep): SimulatedStep {
  const { stageCount, replicaCount, blockCount, times, bytes, link } = step;
  const batchCount = Math.max(1, Math.ceil(step.batchCount / replicaCount));
  const firsts = evenBlocks(step);
  const tasks: SimulatedTask[] = [];
  let latencyMs = 0;
  const hop = link.latencyMs + link.messageMs + bytes.hidden / link.bytesPerMs;
  const countOf = (stage: number): number =>
    (firsts[stage + 1] ?? blockCount) - (firsts[stage] ?? 0);
  for (let stage = 0; stage < stageCount; stage++) {
    const [compute, wires] = [`compute ${stage}`, `link ${stage}`];
    const [isFirst, isLast] = [stage === 0, stage === stageCount - 1];
    const blocks = countOf(stage);
    const forwardMs =
      blocks * times.blockForward + (isFirst ? times.embedForward : 0) + (isLast ? times.head : 0);
    for (const { kind, batch } of pipelineTurns(stage, stageCount, batchCount)) {
      if (kind === "forward") {
        tasks.push({
          ...{ id: `f ${stage} ${batch}`, resource: compute, ms: forwardMs, kind },
          after: isFirst ? [] : [`hf ${stage - 1} ${batch}`],
          label: `F${batch + 1}`,
        });
        if (!isLast)
          tasks.push(handOver(`hf ${stage} ${batch}`, wires, hop, `f ${stage} ${batch}`));
        continue;
      }
      const above = isLast ? [] : [`hb ${stage + 1} ${batch}`];
      const isEnd = batch === batchCount - 1;
      // The last one block by block: each begins the exchange of its gradients.
      const pieces = isEnd
        ? Array.from({ length: blocks }, (_, index) => ({
            id: `b ${stage} ${batch} ${index}`,
            ms: times.blockBackward,
          }))
        : [{ id: `b ${stage} ${batch}`, ms: blocks * times.blockBackward }];
      pieces.forEach(({ id, ms }, index) => {
        const extra = index === pieces.length - 1 && isFirst ? times.embedBackward : 0;
        tasks.push({
          ...{ id, resource: compute, ms: ms + extra, kind },
          after: index === 0 ? [`f ${stage} ${batch}`, ...above] : [],
          label: `B${batch + 1}`,
        });
      });
      const last = pieces.at(-1)?.id ?? "";
      if (!isFirst) tasks.push(handOver(`hb ${stage} ${batch}`, wires, hop, last));
      if (isEnd && replicaCount > 1) {
        const sent: string[] = [];
        const exchange = (id: string, byteLength: number, after: string): void => {
          if (byteLength === 0) return;
          const onWire = step.wire === "fp16" ? byteLength / 2 : byteLength;
          const half = exchangeMs(onWire, replicaCount, link);
          const times2 = step.isSharded ? 1 : 2;
          const host = (byteLength / 4) * step.hostNsPerNumber * 1e-6;
          if (isFirst) latencyMs += half.latencyMs * times2;
          sent.push(id);
          tasks.push({
            ...{ id, resource: wires, ms: half.ms * times2 + host, after: [after] },
            ...{ label: "sum", kind: "exchange" as const },
          });
        };
        if (isLast) exchange(`x ${stage} head`, bytes.headGradient, `f ${stage} ${batch}`);
        pieces.forEach(({ id }, index) => exchange(`x ${stage} ${index}`, bytes.blockGradient, id));
        if (isFirst) exchange(`x ${stage} embed`, bytes.embedGradient, last);
        tasks.push(...updateOf(step, stage, blocks, sent));
      } else if (isEnd) tasks.push(...updateOf(step, stage, blocks, [last]));
    }
  }
  const timed = simulate(tasks);
  return {
    ...sumUp(timed, stageCount),
    latencyMs,
    memoryBytes: memoryOf(step, firsts, batchCount),
    tasks: timed,
  };
}

function handOver(id: string, resource: string, ms: number, after: string): SimulatedTask {
  return { id, resource, ms, after: [after], label: "", kind: "hand over" };
}

/** The update, and where each has a part of the optimizer's state the weights of the others. */
function updateOf(
  step: ClusterStep,
  stage: number,
  blocks: number,
  after: readonly string[],
): readonly SimulatedTask[] {
  const { times, bytes, replicaCount, isSharded, stageCount, link } = step;
  const isFirst = stage === 0;
  const isLast = stage === stageCount - 1;
  const whole =
    blocks * times.blockUpdate +
    (isFirst ? times.embedUpdate : 0) +
    (isLast ? times.headUpdate : 0);
  const ms = isSharded ? whole / replicaCount : whole;
  const update: SimulatedTask = {
    ...{ id: `u ${stage}`, resource: `compute ${stage}`, ms, after },
    ...{ label: "update", kind: "update" as const },
  };
  if (!isSharded || replicaCount === 1) return [update];
  const byteLength =
    blocks * bytes.blockGradient +
    (isFirst ? bytes.embedGradient : 0) +
    (isLast ? bytes.headGradient : 0);
  const gather = exchangeMs(byteLength, replicaCount, link);
  return [
    update,
    {
      ...{ id: `g ${stage}`, resource: `link ${stage}`, ms: gather.ms, after: [`u ${stage}`] },
      ...{ label: "weights", kind: "exchange" as const },
    },
  ];
}

function sumUp(
  tasks: readonly TimedTask[],
  stageCount: number,
): Omit<SimulatedStep, "latencyMs" | "memoryBytes" | "tasks"> {
  const stepMs = Math.max(...tasks.map(({ endMs }) => endMs));
  const stages = Array.from({ length: stageCount }, (_, stage) => {
    const own = tasks.filter(({ resource }) => resource === `compute ${stage}`);
    const wires = tasks.filter(({ resource }) => resource === `link ${stage}`);
    const sum = (some: readonly TimedTask[]): number => some.reduce((ms, task) => ms + task.ms, 0);
    const update = own.find(({ kind }) => kind === "update");
    const before = own.filter(({ kind }) => kind !== "update");
    const backwardEnd = Math.max(0, ...before.map(({ endMs }) => endMs));
    const exposedMs =
      (update?.startMs ?? backwardEnd) - backwardEnd + stepMs - (update?.endMs ?? stepMs);
    const computeMs = sum(own);
    return { computeMs, exposedMs, bubbleMs: backwardEnd - sum(before), linkMs: sum(wires) };
  });
  const busiest = stages.reduce((a, b) => (b.computeMs > a.computeMs ? b : a));
  return { stepMs, ...busiest };
}

/** Bytes of the fullest machine: weights, gradients, optimizer state, and what its micro-batches keep. */
function memoryOf(
  { stageCount, replicaCount, blockCount, bytes, isSharded }: ClusterStep,
  firsts: readonly number[],
  batchCount: number,
): number {
  const share = isSharded ? replicaCount : 1;
  return Math.max(
    ...firsts.map((first, stage) => {
      const blocks = (firsts[stage + 1] ?? blockCount) - first;
      const isEnd = stage === 0 || stage === stageCount - 1;
      const ends = stageCount === 1 ? 1 : 0.5;
      const end = isEnd
        ? ends * (bytes.endWeights + bytes.endOptimizer / share) +
          ends * (bytes.embedGradient + bytes.headGradient)
        : 0;
      const slots = slotCountOf(stage, stageCount, batchCount);
      return (
        blocks * (bytes.blockWeights + bytes.blockGradient + bytes.blockOptimizer / share) +
        blocks * bytes.blockTaps * slots +
        bytes.transient +
        end
      );
    }),
  );
}
