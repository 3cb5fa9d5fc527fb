/** Something that takes a while on a machine's processor or on its link. */
export interface SimulatedTask {
  readonly id: string;
  /** "compute 0", "link 0". */
  readonly resource: string;
  readonly ms: number;
  /** Tasks that end before it begins. */
  readonly after: readonly string[];
  /** For people, and what bars of a kind are coloured by. */
  readonly label: string;
  readonly kind: TaskKind;
}

export const TASK_KINDS = ["forward", "backward", "update", "exchange", "hand over"] as const;
export type TaskKind = (typeof TASK_KINDS)[number];

export interface TimedTask extends SimulatedTask {
  readonly startMs: number;
  readonly endMs: number;
}

/**
 * Runs tasks event by event. Those of a processor run in the order in which they are given; a link takes whichever is
 * ready first. Returns them with their times, in the order of their begins.
 */
export function simulate(tasks: readonly SimulatedTask[]): readonly TimedTask[] {
  const queues = new Map<string, ResourceQueue>();
  const byId = new Map<string, PlacedTask>();
  for (const task of tasks) {
    let queue = queues.get(task.resource);
    if (queue === undefined) {
      queue = new ResourceQueue(task.resource.startsWith("link") ? LOOK_AHEAD : 1);
      queues.set(task.resource, queue);
    }
    const placed: PlacedTask = {
      task,
      queue,
      missing: 0,
      readyMs: 0,
      isDone: false,
      dependents: [],
    };
    queue.tasks.push(placed);
    byId.set(task.id, placed);
  }
  for (const placed of byId.values())
    for (const id of placed.task.after) {
      byId.get(id)?.dependents.push(placed);
      placed.missing++;
    }
  const heap = new StartHeap();
  for (const queue of queues.values()) heap.offer(queue);
  const done: TimedTask[] = [];
  for (let next = heap.take(); next !== undefined; next = heap.take()) {
    const { placed, startMs } = next;
    const endMs = startMs + placed.task.ms;
    placed.isDone = true;
    placed.queue.freeMs = endMs;
    done.push({ ...placed.task, startMs, endMs });
    const touched = new Set([placed.queue]);
    for (const dependent of placed.dependents) {
      dependent.missing--;
      dependent.readyMs = Math.max(dependent.readyMs, endMs);
      if (dependent.missing === 0) touched.add(dependent.queue);
    }
    for (const queue of touched) heap.offer(queue);
  }
  if (done.length < tasks.length) throw new Error("tasks wait for each other");
  return done;
}

interface PlacedTask {
  readonly task: SimulatedTask;
  readonly queue: ResourceQueue;
  /** Tasks that have not ended and that it waits for. */
  missing: number;
  /** When the last of those that have ended did. */
  readyMs: number;
  isDone: boolean;
  readonly dependents: PlacedTask[];
}

/** What a resource has to do. */
class ResourceQueue {
  readonly tasks: PlacedTask[] = [];
  freeMs = 0;
  /** Raised whenever its next task may be another one: what was offered before counts no more. */
  version = 0;
  readonly #lookAhead: number;
  #first = 0;

  constructor(lookAhead: number) {
    this.#lookAhead = lookAhead;
  }

  /** The task that begins first of those that are looked at. */
  next(): { readonly placed: PlacedTask; readonly startMs: number } | undefined {
    while (this.tasks[this.#first]?.isDone === true) this.#first++;
    let best: { readonly placed: PlacedTask; readonly startMs: number } | undefined;
    let left = this.#lookAhead;
    for (let at = this.#first; left > 0 && at < this.tasks.length; at++) {
      const placed = this.tasks[at];
      if (placed === undefined || placed.isDone) continue;
      left--;
      if (placed.missing > 0) continue;
      const startMs = Math.max(placed.readyMs, this.freeMs);
      if (startMs < (best?.startMs ?? Infinity)) best = { placed, startMs };
    }
    return best;
  }
}

interface Offer {
  readonly placed: PlacedTask;
  readonly startMs: number;
  readonly version: number;
}

/** Next tasks of resources, the one that begins first on top. */
class StartHeap {
  readonly #offers: Offer[] = [];

  /** What a resource does next, in place of what it would have done. */
  offer(queue: ResourceQueue): void {
    queue.version++;
    const next = queue.next();
    if (next === undefined) return;
    const offers = this.#offers;
    const offer: Offer = { ...next, version: queue.version };
    let at = offers.push(offer) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const other = offers[above];
      if (other === undefined || other.startMs <= offer.startMs) break;
      offers[at] = other;
      at = above;
    }
    offers[at] = offer;
  }

  take(): Offer | undefined {
    for (let top = this.#pop(); top !== undefined; top = this.#pop())
      if (top.version === top.placed.queue.version) return top;
    return undefined;
  }

  #pop(): Offer | undefined {
    const offers = this.#offers;
    const [top] = offers;
    const last = offers.pop();
    if (top === undefined || last === undefined || offers.length === 0) return top;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      const [left, right] = [offers[below], offers[below + 1]];
      if (left === undefined) break;
      let smaller = left;
      if (right !== undefined && right.startMs < left.startMs) {
        below++;
        smaller = right;
      }
      if (last.startMs <= smaller.startMs) break;
      offers[at] = smaller;
      at = below;
    }
    offers[at] = last;
    return top;
  }
}

/** How far a link looks for what is ready: what it sends is given about in order. */
const LOOK_AHEAD = 16;
