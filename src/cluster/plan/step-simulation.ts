import { pipelineTurns, slotCountOf } from "../pipeline-turns.ts";
import { arrange } from "./arrangement.ts";
import type { Arrangement, ReplicaKind } from "./arrangement.ts";
import { simulate } from "./events.ts";
import type { SimulatedTask, TimedTask } from "./events.ts";
import type { ClusterStep, PartTimes } from "./cluster-step.ts";
import type { Link } from "./links.ts";

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
  readonly arrangement: Arrangement;
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

/** Simulates one update. Of replicas that are alike one stands for all. */
export function simulateStep(step: ClusterStep): SimulatedStep {
  const arrangement = arrange(step);
  const { kinds, firsts } = arrangement;
  const tasks = kinds.flatMap((kind, number) =>
    Array.from({ length: step.stageCount }, (_, stage) =>
      tasksOf(step, arrangement, { kind, number, stage }),
    ).flat(),
  );
  const timed = simulate(tasks);
  return {
    ...sumUp(timed),
    latencyMs: latencyOf(step, arrangement),
    memoryBytes: memoryOf(step, firsts, Math.max(...kinds.map(({ batchCount }) => batchCount))),
    tasks: timed,
    arrangement,
  };
}

/** A stage of a kind of replica. */
interface Machine {
  readonly kind: ReplicaKind;
  readonly number: number;
  readonly stage: number;
}

/** Of the machine whose tasks they are: "2.0" is the first stage of the third kind. */
const nameOf = ({ number, stage }: Pick<Machine, "number" | "stage">): string =>
  `${number}.${stage}`;

/** What one machine computes and sends in an update. */
function tasksOf(
  step: ClusterStep,
  { firsts, kinds }: Arrangement,
  machine: Machine,
): readonly SimulatedTask[] {
  const { stageCount, replicaCount, blockCount, bytes, link } = step;
  const { kind: replica, stage, number } = machine;
  const times = replica.times[stage] ?? step.times;
  const { batchCount } = replica;
  const name = nameOf(machine);
  const [compute, wires] = [`compute ${name}`, `link ${name}`];
  const [isFirst, isLast] = [stage === 0, stage === stageCount - 1];
  const hop = link.latencyMs + link.messageMs + bytes.hidden / link.bytesPerMs;
  const blocks = (firsts[stage + 1] ?? blockCount) - (firsts[stage] ?? 0);
  const forwardMs =
    blocks * times.blockForward + (isFirst ? times.embedForward : 0) + (isLast ? times.head : 0);
  const below = nameOf({ number, stage: stage - 1 });
  const above = nameOf({ number, stage: stage + 1 });
  const tasks: SimulatedTask[] = [];
  for (const { kind, batch } of pipelineTurns(stage, stageCount, batchCount)) {
    if (kind === "forward") {
      tasks.push({
        ...{ id: `f ${name} ${batch}`, resource: compute, ms: forwardMs, kind },
        after: isFirst ? [] : [`hf ${below} ${batch}`],
        label: `F${batch + 1}`,
      });
      if (!isLast) tasks.push(handOver(`hf ${name} ${batch}`, wires, hop, `f ${name} ${batch}`));
      continue;
    }
    const isEnd = batch === batchCount - 1;
    // The last one block by block: each begins the exchange of its gradients.
    const pieces = isEnd
      ? Array.from({ length: blocks }, (_, index) => ({
          id: `b ${name} end ${index}`,
          ms: times.blockBackward,
        }))
      : [{ id: `b ${name} ${batch}`, ms: blocks * times.blockBackward }];
    pieces.forEach(({ id, ms }, index) => {
      const extra = index === pieces.length - 1 && isFirst ? times.embedBackward : 0;
      const from = [`f ${name} ${batch}`, ...(isLast ? [] : [`hb ${above} ${batch}`])];
      tasks.push({
        ...{ id, resource: compute, ms: ms + extra, kind, label: `B${batch + 1}` },
        after: index === 0 ? from : [],
      });
    });
    const last = pieces.at(-1)?.id ?? "";
    if (!isFirst) tasks.push(handOver(`hb ${name} ${batch}`, wires, hop, last));
    if (!isEnd) continue;
    if (replicaCount === 1) {
      tasks.push(...updateOf(step, { ...machine, blocks, times, kinds, after: [last] }));
      continue;
    }
    const sums = sumsOf(step, { blocks, stage });
    for (const { id, byteLength } of sums) {
      const half = exchangeMs(onWire(step, byteLength), replicaCount, link);
      const host = (byteLength / 4) * step.hostNsPerNumber * 1e-6;
      tasks.push({
        ...{ id: `x ${name} ${id}`, resource: wires, label: "sum", kind: "exchange" },
        ms: half.ms * (step.isSharded ? 1 : 2) + host,
        // A sum needs the numbers of all.
        after: kinds.map((other, index) => {
          const own = nameOf({ number: index, stage });
          return id === "head"
            ? `f ${own} ${other.batchCount - 1}`
            : `b ${own} end ${id === "embed" ? blocks - 1 : id}`;
        }),
      });
    }
    const after = sums.length === 0 ? [last] : sums.map(({ id }) => `x ${name} ${id}`);
    tasks.push(...updateOf(step, { ...machine, blocks, times, kinds, after }));
  }
  return tasks;
}

/** What a stage's gradients are summed in: one exchange a block, the head's first, the embedding's last. */
function sumsOf(
  { bytes, stageCount }: ClusterStep,
  { blocks, stage }: { readonly blocks: number; readonly stage: number },
): readonly { readonly id: string; readonly byteLength: number }[] {
  return [
    ...(stage === stageCount - 1 ? [{ id: "head", byteLength: bytes.headGradient }] : []),
    ...Array.from({ length: blocks }, (_, index) => ({
      id: String(index),
      byteLength: bytes.blockGradient,
    })),
    ...(stage === 0 ? [{ id: "embed", byteLength: bytes.embedGradient }] : []),
  ].filter(({ byteLength }) => byteLength > 0);
}

function onWire({ wire }: ClusterStep, byteLength: number): number {
  return wire === "fp16" ? byteLength / 2 : byteLength;
}

/** Of the first stage's sums: what does not shrink with the bytes. */
function latencyOf(step: ClusterStep, { firsts }: Arrangement): number {
  const { replicaCount, link, blockCount } = step;
  const count = sumsOf(step, { blocks: firsts[1] ?? blockCount, stage: 0 }).length;
  return exchangeMs(4, replicaCount, link).latencyMs * (step.isSharded ? 1 : 2) * count;
}

function handOver(id: string, resource: string, ms: number, after: string): SimulatedTask {
  return { id, resource, ms, after: [after], label: "", kind: "hand over" };
}

/** The update, and where each has a part of the optimizer's state the weights of the others. */
function updateOf(
  step: ClusterStep,
  machine: Machine & {
    readonly blocks: number;
    readonly times: PartTimes;
    readonly kinds: readonly ReplicaKind[];
    readonly after: readonly string[];
  },
): readonly SimulatedTask[] {
  const { replicaCount, isSharded, stageCount, link } = step;
  const { stage, blocks, times, kinds, after } = machine;
  const name = nameOf(machine);
  const whole =
    blocks * times.blockUpdate +
    (stage === 0 ? times.embedUpdate : 0) +
    (stage === stageCount - 1 ? times.headUpdate : 0);
  const update: SimulatedTask = {
    ...{ id: `u ${name}`, resource: `compute ${name}`, after },
    ...{ ms: isSharded ? whole / replicaCount : whole, label: "update", kind: "update" },
  };
  if (!isSharded || replicaCount === 1) return [update];
  const byteLength = sumsOf(step, { blocks, stage }).reduce((sum, one) => sum + one.byteLength, 0);
  const gather = exchangeMs(byteLength, replicaCount, link);
  return [
    update,
    {
      ...{ id: `g ${name}`, resource: `link ${name}`, ms: gather.ms },
      after: kinds.map((_, number) => `u ${nameOf({ number, stage })}`),
      ...{ label: "weights", kind: "exchange" },
    },
  ];
}

function sumUp(
  tasks: readonly TimedTask[],
): Pick<SimulatedStep, "stepMs" | "computeMs" | "bubbleMs" | "exposedMs" | "linkMs"> {
  const stepMs = tasks.reduce((latest, { endMs }) => Math.max(latest, endMs), 0);
  const byResource = new Map<string, TimedTask[]>();
  for (const task of tasks) {
    const known = byResource.get(task.resource);
    if (known === undefined) byResource.set(task.resource, [task]);
    else known.push(task);
  }
  const names = [...byResource.keys()].filter((resource) => resource.startsWith("compute"));
  const machines = names.map((resource) => {
    const own = byResource.get(resource) ?? [];
    const wires = byResource.get(resource.replace("compute", "link")) ?? [];
    const sum = (some: readonly TimedTask[]): number => some.reduce((ms, task) => ms + task.ms, 0);
    const update = own.find(({ kind }) => kind === "update");
    const before = own.filter(({ kind }) => kind !== "update");
    const backwardEnd = before.reduce((latest, { endMs }) => Math.max(latest, endMs), 0);
    const updateEnd = update?.endMs ?? backwardEnd;
    const ownEnd = wires.reduce(
      (latest, { kind, endMs }) => (kind === "exchange" ? Math.max(latest, endMs) : latest),
      updateEnd,
    );
    const exposedMs = (update?.startMs ?? backwardEnd) - backwardEnd + ownEnd - updateEnd;
    // Also at the end, until the last stage has done its update.
    const bubbleMs = backwardEnd - sum(before) + stepMs - ownEnd;
    return { computeMs: sum(own), exposedMs, bubbleMs, linkMs: sum(wires) };
  });
  const busiest = machines.reduce((a, b) => (b.computeMs > a.computeMs ? b : a));
  return { stepMs, ...busiest };
}

/** Bytes of the fullest machine: weights, gradients, optimizer state, and what its micro-batches keep. */
function memoryOf(
  { stageCount, replicaCount, blockCount, bytes, isSharded, wire }: ClusterStep,
  firsts: readonly number[],
  batchCount: number,
): number {
  const share = isSharded ? replicaCount : 1;
  // What rounding on the wire lost is kept beside each gradient.
  const gradients = wire === "fp16" && replicaCount > 1 ? 2 : 1;
  return Math.max(
    ...firsts.map((first, stage) => {
      const blocks = (firsts[stage + 1] ?? blockCount) - first;
      const isEnd = stage === 0 || stage === stageCount - 1;
      const ends = stageCount === 1 ? 1 : 0.5;
      const end = isEnd
        ? ends * (bytes.endWeights + bytes.endOptimizer / share) +
          ends * gradients * (bytes.embedGradient + bytes.headGradient)
        : 0;
      const slots = slotCountOf(stage, stageCount, batchCount);
      return (
        blocks *
          (bytes.blockWeights + gradients * bytes.blockGradient + bytes.blockOptimizer / share) +
        blocks * bytes.blockTaps * slots +
        bytes.transient +
        end
      );
    }),
  );
}
