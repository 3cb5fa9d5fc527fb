import { setImmediate } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { overlaps } from "../../../src/plan/regions.ts";
import type { Region } from "../../../src/plan/regions.ts";
import type { SectionStep } from "../../../src/engine/ane/section-plan.ts";
import { inSequence, planTasks } from "../../../src/engine/ane/task-graph.ts";
import type { Task } from "../../../src/engine/ane/task-graph.ts";
import { runTasks } from "../../../src/engine/ane/task-runner.ts";

const region = fc.record({
  buffer: fc.constantFrom("a", "b"),
  offset: fc.nat(6),
  count: fc.integer({ min: 1, max: 4 }),
});
const device = fc.nat(4);
const devices = fc.uniqueArray(device, { minLength: 1, maxLength: 3 });
const half = { kind: "half", start: 0, count: 1 } as const;

const segment = fc
  .record({
    uploads: fc.array(fc.tuple(region, device), { maxLength: 2 }),
    calls: fc.array(fc.tuple(devices, devices), { maxLength: 2 }),
    downloads: fc.array(fc.tuple(device, region), { maxLength: 2 }),
  })
  .map(({ uploads, calls, downloads }): SectionStep => ({
    kind: "segment",
    label: "segment",
    uploads: uploads.map(([from, to]) => ({
      from,
      to,
      conversion: half,
      count: 1,
      isKept: false,
    })),
    calls: calls.map(([inputs, outputs]) => ({
      ...{ label: "", place: 0, program: "" },
      inputs,
      outputs,
    })),
    downloads: downloads.map(([from, to]) => ({ label: "", from, to, count: 1, how: "add" })),
  }));
const dispatch = { label: "", program: "", inputs: new Map(), outputs: new Map() };
const host = fc
  .record({ reads: fc.array(region, { maxLength: 2 }), writes: fc.array(region, { maxLength: 2 }) })
  .map(({ reads, writes }): SectionStep => {
    return { kind: "host", label: "host", place: 0, dispatch, reads, writes };
  });
const sections = fc.array(fc.array(fc.oneof(segment, host), { maxLength: 8 }), {
  minLength: 1,
  maxLength: 3,
});

/** Memory that a task touches: host regions and, as regions of their own buffers, device buffers. */
function touched(task: Task): {
  readonly reads: readonly Region[];
  readonly writes: readonly Region[];
} {
  const whole = (id: number): Region => ({ buffer: `device ${id}`, offset: 0, count: 1 });
  switch (task.kind) {
    case "upload": {
      const { uploads } = task.step;
      return { reads: uploads.map(({ from }) => from), writes: uploads.map(({ to }) => whole(to)) };
    }
    case "execute": {
      const { calls } = task.step;
      return {
        reads: calls.flatMap(({ inputs }) => inputs.map(whole)),
        writes: calls.flatMap(({ outputs }) => outputs.map(whole)),
      };
    }
    case "download": {
      const { downloads } = task.step;
      return {
        reads: downloads.map(({ from }) => whole(from)),
        writes: downloads.map(({ to }) => to),
      };
    }
    case "host":
      return task.step;
  }
}

function conflict(a: Task, b: Task): boolean {
  const [first, second] = [touched(a), touched(b)];
  const meet = (some: readonly Region[], others: readonly Region[]): boolean =>
    some.some((one) => others.some((other) => overlaps(one, other)));
  return (
    meet(first.writes, [...second.reads, ...second.writes]) || meet(first.reads, second.writes)
  );
}

describe("tasks of a section", () => {
  test("that touch the same memory run in the plan's order and never at the same time", async () => {
    await fc.assert(
      fc.asyncProperty(sections, fc.infiniteStream(fc.nat(4)), async (steps, pauses) => {
        const tasks = planTasks(steps);
        const running = new Set<Task>();
        const done: number[] = [];
        const parts: number[] = [];
        await runTasks(tasks, steps.length, {
          perform: async (task) => {
            const index = tasks.indexOf(task);
            for (const other of running) expect(conflict(task, other)).toBe(false);
            for (const [earlier, other] of tasks.entries()) {
              if (earlier < index && conflict(task, other)) expect(done).toContain(earlier);
            }
            running.add(task);
            for (let turn = pauses.next().value ?? 0; turn > 0; turn--) await setImmediate();
            running.delete(task);
            done.push(index);
          },
          onPartDone: (part) => {
            parts.push(part);
            for (const [index, task] of tasks.entries())
              if (task.part <= part) expect(done).toContain(index);
          },
        });
        expect(done.length).toBe(tasks.length);
        expect(parts).toEqual([...steps.keys()]);
      }),
      { numRuns: 300 },
    );
  });

  test("before one that fails all run, and none after it in one lane; what runs comes to its end", async () => {
    await fc.assert(
      fc.asyncProperty(sections, fc.nat(), async (steps, choice) => {
        const tasks = planTasks(steps);
        if (tasks.length === 0) return;
        const bad = choice % tasks.length;
        const done = new Set<number>();
        let running = 0;
        const run = runTasks(tasks, steps.length, {
          perform: async (task) => {
            const index = tasks.indexOf(task);
            running++;
            await setImmediate();
            running--;
            if (index === bad) throw new Error(`task ${bad}`);
            done.add(index);
          },
        });
        await expect(run).rejects.toThrow(`task ${bad}`);
        expect(running).toBe(0);
        for (let index = 0; index < bad; index++) expect(done).toContain(index);
        for (const index of done) expect(reaches(tasks, bad, index)).toBe(false);
      }),
    );
  });

  test("that fail at the same time are all told, the first in the plan's order with its code", async () => {
    const steps: SectionStep[] = [
      { kind: "host", label: "host", place: 0, dispatch, reads: [], writes: [] },
      {
        kind: "segment",
        label: "engine",
        uploads: [],
        calls: [{ label: "", place: 0, program: "", inputs: [0], outputs: [1] }],
        downloads: [],
      },
    ];
    const tasks = planTasks([steps]);
    await expect(
      runTasks(tasks, 1, {
        perform: async ({ label }) => {
          await setImmediate();
          throw new Error(`${label} fails`);
        },
      }),
    ).rejects.toThrow("host fails\nAt the same time:\n  engine fails");
  });

  test("wait for the one before each when nothing may overlap", async () => {
    await fc.assert(
      fc.asyncProperty(sections, async (steps) => {
        const tasks = inSequence(planTasks(steps));
        const order: number[] = [];
        await runTasks(tasks, steps.length, {
          perform: async (task) => {
            order.push(tasks.indexOf(task));
            await setImmediate();
          },
        });
        expect(order).toEqual([...tasks.keys()]);
      }),
    );
  });
});

/** Whether `to` waits for `from`, maybe through others. */
function reaches(tasks: readonly Task[], from: number, to: number): boolean {
  const after = tasks[to]?.after ?? [];
  return after.some((earlier) => earlier === from || reaches(tasks, from, earlier));
}
