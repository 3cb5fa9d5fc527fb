import { contains, overlaps } from "../../plan/regions.ts";
import type { Region } from "../../plan/regions.ts";
import type { DeviceId, HostStep, SectionStep, SegmentStep } from "./section-plan.ts";

/** What works at the same time: the engine on one stream, the host on one task. */
export type Lane = "engine" | "host";

export type TaskWork =
  | { readonly kind: "upload" | "execute" | "download"; readonly step: SegmentStep }
  | { readonly kind: "host"; readonly step: HostStep };

/** One thing to do, once everything that it waits for is done. */
export type Task = TaskWork & {
  readonly label: string;
  readonly lane: Lane;
  /** Number of the section in the sequence. */
  readonly part: number;
  /** Earlier tasks that touch the same memory, at least one of the two writing: indices, ascending. */
  readonly after: readonly number[];
  /** The first task of the engine that waits for this one, maybe through others; infinite where none does. */
  readonly neededBy: number;
};

/**
 * The tasks of sections that run one after the other. Their order is a right one, and so is every other in which
 * each task comes after those it waits for: conflicting accesses stay in the plan's order, so that sums add up in
 * the same order and no bit changes.
 */
export function planTasks(sections: readonly (readonly SectionStep[])[]): readonly Task[] {
  const memory = new Accesses();
  const tasks: Omit<Task, "neededBy">[] = [];
  const add = (part: number, work: TaskWork, label: string, access: Access): void => {
    const lane = work.kind === "execute" ? "engine" : "host";
    const after = memory.enter(tasks.length, access);
    tasks.push({ ...work, label, lane, part, after });
  };
  for (const [part, steps] of sections.entries()) {
    for (const step of steps) {
      if (step.kind === "host") {
        const { reads, writes } = step;
        add(part, { kind: "host", step }, step.label, { reads, writes, uses: [], fills: [] });
        continue;
      }
      const { uploads, calls, downloads, label } = step;
      if (uploads.length > 0) {
        add(part, { kind: "upload", step }, `inputs of ${label}`, {
          reads: uploads.map(({ from }) => from),
          writes: [],
          uses: [],
          fills: uploads.map(({ to }) => to),
        });
      }
      if (calls.length > 0) {
        add(part, { kind: "execute", step }, label, {
          reads: [],
          writes: [],
          uses: calls.flatMap(({ inputs }) => inputs),
          fills: calls.flatMap(({ outputs }) => outputs),
        });
      }
      if (downloads.length > 0) {
        add(part, { kind: "download", step }, `results of ${label}`, {
          reads: [],
          writes: downloads.map(({ to }) => to),
          uses: downloads.map(({ from }) => from),
          fills: [],
        });
      }
    }
  }
  return withNeeds(tasks);
}

/** Labels of the tasks that may run while another one does: neither waits for the other. */
export function besides(tasks: readonly Task[]): readonly (readonly number[])[] {
  const before = tasks.map(() => new Set<number>());
  for (const [index, { after }] of tasks.entries()) {
    const mine = before[index];
    for (const earlier of after) {
      mine?.add(earlier);
      for (const further of before[earlier] ?? []) mine?.add(further);
    }
  }
  return tasks.map(({ lane }, index) =>
    [...tasks.keys()].filter(
      (other) =>
        other !== index &&
        tasks[other]?.lane !== lane &&
        before[index]?.has(other) !== true &&
        before[other]?.has(index) !== true,
    ),
  );
}

/** The same tasks, each of which waits for the one before. */
export function inSequence(tasks: readonly Task[]): readonly Task[] {
  return tasks.map((task, index) => ({ ...task, after: index === 0 ? [] : [index - 1] }));
}

function withNeeds(tasks: readonly Omit<Task, "neededBy">[]): readonly Task[] {
  const neededBy = tasks.map(() => Infinity);
  for (let index = tasks.length - 1; index >= 0; index--) {
    const task = tasks[index];
    const need = task?.lane === "engine" ? index : (neededBy[index] ?? Infinity);
    for (const earlier of task?.after ?? [])
      neededBy[earlier] = Math.min(neededBy[earlier] ?? Infinity, need);
  }
  return tasks.map((task, index) => ({ ...task, neededBy: neededBy[index] ?? Infinity }) as Task);
}

interface Access {
  readonly reads: readonly Region[];
  readonly writes: readonly Region[];
  readonly uses: readonly DeviceId[];
  readonly fills: readonly DeviceId[];
}

interface RegionAccess {
  readonly region: Region;
  readonly task: number;
  readonly isWrite: boolean;
}

/** Who touched what last. */
class Accesses {
  readonly #host = new Map<string, RegionAccess[]>();
  readonly #written = new Map<DeviceId, number>();
  readonly #used = new Map<DeviceId, number[]>();

  /** Enters what a task touches and returns the earlier ones that it must wait for. */
  enter(task: number, { reads, writes, uses, fills }: Access): readonly number[] {
    const after = new Set<number>();
    for (const device of uses) {
      const writer = this.#written.get(device);
      if (writer !== undefined) after.add(writer);
    }
    for (const device of fills) {
      const writer = this.#written.get(device);
      if (writer !== undefined) after.add(writer);
      for (const user of this.#used.get(device) ?? []) after.add(user);
    }
    for (const region of reads) {
      for (const other of this.#of(region))
        if (other.isWrite && overlaps(other.region, region)) after.add(other.task);
    }
    for (const region of writes) {
      for (const other of this.#of(region))
        if (overlaps(other.region, region)) after.add(other.task);
    }
    for (const device of fills) {
      this.#written.set(device, task);
      this.#used.delete(device);
    }
    for (const device of uses) this.#used.set(device, [...(this.#used.get(device) ?? []), task]);
    for (const region of writes) {
      // Whoever waits for this write waits for those before it.
      const kept = this.#of(region).filter(
        (other) => other.task === task || !contains(region, other.region),
      );
      this.#host.set(region.buffer, [...kept, { region, task, isWrite: true }]);
    }
    for (const region of reads)
      this.#host.set(region.buffer, [...this.#of(region), { region, task, isWrite: false }]);
    after.delete(task);
    return [...after].sort((a, b) => a - b);
  }

  #of({ buffer }: Region): readonly RegionAccess[] {
    return this.#host.get(buffer) ?? [];
  }
}
