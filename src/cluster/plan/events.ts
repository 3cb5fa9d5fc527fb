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
  const queues = new Map<string, SimulatedTask[]>();
  for (const task of tasks) {
    const queue = queues.get(task.resource) ?? [];
    queue.push(task);
    queues.set(task.resource, queue);
  }
  const ended = new Map<string, number>();
  const free = new Map<string, number>();
  const done: TimedTask[] = [];
  const readyMs = ({ after }: SimulatedTask): number => {
    let latest = 0;
    for (const id of after) {
      const end = ended.get(id);
      if (end === undefined) return Infinity;
      latest = Math.max(latest, end);
    }
    return latest;
  };
  while (done.length < tasks.length) {
    let best: { readonly task: SimulatedTask; readonly startMs: number } | undefined;
    for (const [resource, queue] of queues) {
      const candidates = resource.startsWith("link")
        ? queue.slice(0, LOOK_AHEAD)
        : queue.slice(0, 1);
      for (const task of candidates) {
        const startMs = Math.max(readyMs(task), free.get(resource) ?? 0);
        if (startMs < (best?.startMs ?? Infinity)) best = { task, startMs };
      }
    }
    if (best === undefined) throw new Error("tasks wait for each other");
    const { task, startMs } = best;
    const queue = queues.get(task.resource) ?? [];
    queue.splice(queue.indexOf(task), 1);
    const endMs = startMs + task.ms;
    ended.set(task.id, endMs);
    free.set(task.resource, endMs);
    done.push({ ...task, startMs, endMs });
  }
  return done;
}

/** How far a link looks for what is ready: what it sends is given about in order. */
const LOOK_AHEAD = 16;
