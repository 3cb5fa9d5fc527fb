import { setImmediate } from "node:timers/promises";
import { messageOf } from "../../util/errors.ts";
import { EngineError } from "../errors.ts";
import type { Lane, Task } from "./task-graph.ts";

const LANES: readonly Lane[] = ["engine", "host"];

export interface TaskEvent {
  readonly section: string;
  readonly label: string;
  readonly lane: Lane;
  readonly phase: "begin" | "end";
}

export interface TaskActions {
  readonly perform: (task: Task) => Promise<void>;
  /** Told when all tasks of the sequence's first sections, up to this one, are done. */
  readonly onPartDone?: (part: number) => void;
}

/**
 * Runs tasks in two lanes. The engine's go in the plan's order; the host takes, of those that wait for nothing,
 * the one that the engine needs first. When a task fails, those before it in the plan's order still run, as if
 * all ran one after the other, none after it begins, and what runs already comes to its end before the promise
 * rejects.
 */
export function runTasks(
  tasks: readonly Task[],
  partCount: number,
  actions: TaskActions,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (error: Error | undefined): void =>
      error === undefined ? resolve() : reject(error);
    new TaskRun(tasks, partCount, actions, settle).go();
  });
}

class TaskRun {
  readonly #tasks: readonly Task[];
  readonly #actions: TaskActions;
  readonly #settle: (error: Error | undefined) => void;
  /** Tasks that each one still waits for. */
  readonly #missing: number[];
  readonly #waiting: readonly number[][];
  readonly #queues: Readonly<Record<Lane, number[]>>;
  readonly #running = new Set<Lane>();
  /** Tasks of each part that are not done. */
  readonly #open: number[];
  readonly #failures = new Map<number, unknown>();
  #donePart = 0;
  /** No task from here on begins. */
  #end: number;

  constructor(
    tasks: readonly Task[],
    partCount: number,
    actions: TaskActions,
    settle: (error: Error | undefined) => void,
  ) {
    this.#tasks = tasks;
    this.#actions = actions;
    this.#settle = settle;
    this.#end = tasks.length;
    this.#missing = tasks.map(({ after }) => after.length);
    this.#waiting = tasks.map(() => []);
    this.#open = Array.from({ length: partCount }, () => 0);
    for (const [index, { after, part }] of tasks.entries()) {
      for (const earlier of after) this.#waiting[earlier]?.push(index);
      this.#open[part] = (this.#open[part] ?? 0) + 1;
    }
    const inLane = (lane: Lane): number[] =>
      [...tasks.keys()].filter((index) => tasks[index]?.lane === lane);
    const need = (index: number): number => tasks[index]?.neededBy ?? Infinity;
    this.#queues = {
      engine: inLane("engine"),
      // Infinity less infinity is no number: equal needs are compared first.
      host: inLane("host").sort((a, b) => (need(a) === need(b) ? a - b : need(a) - need(b))),
    };
  }

  go(): void {
    this.#tellParts();
    for (const lane of LANES) if (!this.#running.has(lane)) this.#begin(lane);
    if (this.#running.size === 0) this.#settle(this.#error());
  }

  #begin(lane: Lane): void {
    const queue = this.#queues[lane];
    const isReady = (index: number): boolean => index < this.#end && this.#missing[index] === 0;
    // The engine's order is the plan's.
    const at =
      lane === "engine" ? (isReady(queue[0] ?? Infinity) ? 0 : -1) : queue.findIndex(isReady);
    if (at < 0) return;
    const [index = 0] = queue.splice(at, 1);
    const task = this.#tasks[index];
    if (task === undefined) return;
    this.#running.add(lane);
    void this.#perform(task)
      .then(
        () => this.#done(index, task),
        (error: unknown) => this.#failed(index, error),
      )
      .then(() => {
        this.#running.delete(lane);
        this.go();
      });
  }

  async #perform(task: Task): Promise<void> {
    // The engine's call goes out first, and the event loop has its turn between the host's tasks.
    if (task.lane === "host") await setImmediate();
    await this.#actions.perform(task);
  }

  #done(index: number, { part }: Task): void {
    for (const later of this.#waiting[index] ?? [])
      this.#missing[later] = (this.#missing[later] ?? 1) - 1;
    this.#open[part] = (this.#open[part] ?? 1) - 1;
  }

  #failed(index: number, error: unknown): void {
    this.#failures.set(index, error);
    this.#end = Math.min(this.#end, index);
  }

  #tellParts(): void {
    while (this.#donePart < this.#open.length && (this.#open[this.#donePart] ?? 0) === 0) {
      const part = this.#donePart++;
      try {
        this.#actions.onPartDone?.(part);
      } catch (error) {
        const next = this.#tasks.findIndex((task) => task.part > part);
        this.#failed(next < 0 ? this.#tasks.length : next, error);
      }
    }
  }

  /** The first failure in the plan's order, with what else failed at the same time. */
  #error(): Error | undefined {
    const [first, ...others] = [...this.#failures]
      .sort(([a], [b]) => a - b)
      .map(([, error]) => error);
    if (first === undefined) return undefined;
    const error = first instanceof Error ? first : new Error(messageOf(first));
    if (others.length === 0) return error;
    const besides = others.map((other) => messageOf(other)).join("\n  ");
    return new EngineError(
      error instanceof EngineError ? error.code : "engine.ane.tasks",
      `${error.message}\nAt the same time:\n  ${besides}`,
      { cause: error },
    );
  }
}
