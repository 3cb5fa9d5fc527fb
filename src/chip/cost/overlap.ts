/** A run of elements that a task reads or writes. */
export interface Span {
  readonly buffer: string;
  readonly offset: number;
  readonly count: number;
}

/** One thing that the engine or the host does, in the plan's order. */
export interface LaneTask {
  readonly lane: "engine" | "host";
  readonly ms: number;
  /** What it moves from and to the package's memory. */
  readonly memoryBytes: number;
  readonly reads: readonly Span[];
  readonly writes: readonly Span[];
}

/**
 * How long tasks take when engine and host work at the same time, as `runSequence` of the engine's driver does it:
 * each lane does one thing at a time; a task waits for the earlier ones that touch the same elements, one of the
 * two writing; the engine keeps the plan's order; of what waits for nothing the host takes first what the engine
 * needs first. Both share the package's memory: the whole takes at least all bytes / bandwidth.
 */
export function overlappedMs(tasks: readonly LaneTask[], memoryBytesPerMs: number): number {
  const bytes = tasks.reduce((sum, task) => sum + task.memoryBytes, 0);
  return Math.max(scheduledMs(tasks), bytes / memoryBytesPerMs);
}

function scheduledMs(tasks: readonly LaneTask[]): number {
  const after = dependencies(tasks);
  const neededBy = needs(tasks, after);
  const ends = tasks.map(() => Infinity);
  const open = {
    engine: tasks.flatMap(({ lane }, index) => (lane === "engine" ? [index] : [])),
    host: tasks
      .flatMap(({ lane }, index) => (lane === "host" ? [index] : []))
      .sort((a, b) => compare(neededBy[a], neededBy[b]) || a - b),
  };
  const free = { engine: 0, host: 0 };
  const startOf = (index: number): number =>
    Math.max(0, ...(after[index] ?? []).map((earlier) => ends[earlier] ?? 0));
  while (open.engine.length + open.host.length > 0) {
    // The lane that can begin something first begins it.
    const [engineTask] = open.engine;
    const engineStart =
      engineTask === undefined ? Infinity : Math.max(free.engine, startOf(engineTask));
    const host = firstReady(open.host, startOf, free.host);
    const isEngine = engineStart <= host.start;
    const index = isEngine ? engineTask : open.host[host.at];
    const start = Math.min(engineStart, host.start);
    if (index === undefined || start === Infinity) break;
    ends[index] = start + (tasks[index]?.ms ?? 0);
    if (isEngine) {
      open.engine.shift();
      free.engine = ends[index] ?? 0;
    } else {
      open.host.splice(host.at, 1);
      free.host = ends[index] ?? 0;
    }
  }
  return Math.max(0, ...ends);
}

/** Of the tasks in order of need, the first that may begin when the lane is free, else the one that may soonest. */
function firstReady(
  queue: readonly number[],
  startOf: (index: number) => number,
  free: number,
): { readonly at: number; readonly start: number } {
  let best = { at: -1, start: Infinity };
  for (const [at, index] of queue.entries()) {
    const start = startOf(index);
    if (start <= free) return { at, start: free };
    if (start < best.start) best = { at, start };
  }
  return best;
}

function compare(a = Infinity, b = Infinity): number {
  return a === b ? 0 : a - b;
}

function needs(
  tasks: readonly LaneTask[],
  after: readonly (readonly number[])[],
): readonly number[] {
  const neededBy = tasks.map(() => Infinity);
  for (let index = tasks.length - 1; index >= 0; index--) {
    const need = tasks[index]?.lane === "engine" ? index : (neededBy[index] ?? Infinity);
    for (const earlier of after[index] ?? [])
      neededBy[earlier] = Math.min(neededBy[earlier] ?? Infinity, need);
  }
  return neededBy;
}

/** The earlier tasks that each one waits for. */
function dependencies(tasks: readonly LaneTask[]): readonly (readonly number[])[] {
  const touched = new Map<string, { span: Span; task: number; isWrite: boolean }[]>();
  return tasks.map(({ reads, writes }, task) => {
    const after = new Set<number>();
    for (const [spans, isWrite] of [
      [reads, false],
      [writes, true],
    ] as const) {
      for (const span of spans) {
        for (const other of touched.get(span.buffer) ?? []) {
          if ((isWrite || other.isWrite) && meets(other.span, span)) after.add(other.task);
        }
      }
    }
    for (const span of writes) {
      // Whoever waits for this write waits for those before it.
      const kept = (touched.get(span.buffer) ?? []).filter(
        (other) => other.task === task || !contains(span, other.span),
      );
      touched.set(span.buffer, [...kept, { span, task, isWrite: true }]);
    }
    for (const span of reads) {
      touched.set(span.buffer, [
        ...(touched.get(span.buffer) ?? []),
        { span, task, isWrite: false },
      ]);
    }
    after.delete(task);
    return [...after];
  });
}

function meets(a: Span, b: Span): boolean {
  return a.offset < b.offset + b.count && b.offset < a.offset + a.count;
}

function contains(outer: Span, inner: Span): boolean {
  return outer.offset <= inner.offset && inner.offset + inner.count <= outer.offset + outer.count;
}
