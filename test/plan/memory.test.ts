import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { tensorType } from "../../src/mil/types.ts";
import { PlanBuilder } from "../../src/plan/builder.ts";
import { packSection, planMemory, sectionLifetimes } from "../../src/plan/memory.ts";
import { ALIGNMENT } from "../../src/plan/packing.ts";
import type { Plan } from "../../src/plan/plan.ts";
import { planJson, printPlan } from "../../src/plan/print.ts";

/** A chain of copies between buffers of one size each; `edges` are [from, to]. */
function chain(sizes: readonly number[], edges: readonly (readonly [number, number])[]): Plan {
  const plan = new PlanBuilder("chain");
  const type = tensorType("fp32", [1]);
  const f = new FunctionBuilder("copy");
  plan.program("copy", f.finish({ y: f.op("identity", { x: f.input("x", type) }) }));
  plan.buffer("start", type, "input");
  sizes.forEach((size, index) =>
    plan.buffer(`b${index}`, tensorType("fp32", [size]), "activation"),
  );
  sizes.forEach((_, index) =>
    plan.dispatch("run", `make b${index}`, "copy", { x: "start" }, { y: `b${index}` }),
  );
  edges.forEach(([from, to], index) =>
    plan.dispatch("run", `copy ${index}`, "copy", { x: `b${from}` }, { y: `b${to}` }),
  );
  return plan.finish();
}

describe("memory of a section", () => {
  it("never lets two live buffers touch, stays aligned and is no larger than one after the other", () => {
    const count = 12;
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 500 }), { minLength: count, maxLength: count }),
        fc.array(fc.tuple(fc.nat(count - 1), fc.nat(count - 1)), { maxLength: 30 }),
        (sizes, edges) => {
          const memory = packSection(chain(sizes, edges), "run");
          const { placements } = memory;
          expect(placements.length).toBe(count);
          for (const a of placements) {
            expect(a.offset % ALIGNMENT).toBe(0);
            expect(a.offset + a.byteLength).toBeLessThanOrEqual(memory.arenaByteLength);
            for (const b of placements) {
              const together = a.first <= b.last && b.first <= a.last;
              if (a === b || !together) continue;
              const apart =
                a.offset + a.byteLength <= b.offset || b.offset + b.byteLength <= a.offset;
              expect(apart, `${a.buffer} and ${b.buffer}`).toBe(true);
            }
          }
          const total = sizes.reduce((sum, size) => sum + Math.ceil((4 * size) / 64) * 64, 0);
          expect(memory.arenaByteLength).toBeLessThanOrEqual(total);
          expect(memory.arenaByteLength).toBeGreaterThanOrEqual(memory.peakByteLength);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("reuses what is dead: a pipeline needs two buffers, however long", () => {
    const plan = new PlanBuilder("pipeline");
    const type = tensorType("fp32", [1024]);
    const f = new FunctionBuilder("copy");
    plan.program("copy", f.finish({ y: f.op("identity", { x: f.input("x", type) }) }));
    plan.buffer("in", type, "input");
    for (let i = 0; i < 10; i++) {
      plan.buffer(`b${i}`, type, "activation");
      plan.dispatch(
        "run",
        `step ${i}`,
        "copy",
        { x: i === 0 ? "in" : `b${i - 1}` },
        { y: `b${i}` },
      );
    }
    const memory = planMemory(plan.finish());
    expect(memory.transientByteLength).toBe(2 * 4096);
    expect(memory.persistent).toMatchObject({ input: 4096, weight: 0 });
    expect(memory.persistentByteLength).toBe(4096);
  });

  it("refuses a buffer that is read, or added to, before anything wrote it", () => {
    const plan = new PlanBuilder("wrong");
    const type = tensorType("fp32", [4]);
    const f = new FunctionBuilder("copy");
    plan.program("copy", f.finish({ y: f.op("identity", { x: f.input("x", type) }) }));
    plan.buffer("a", type, "activation");
    plan.buffer("b", type, "activation");
    plan.buffer("in", type, "input");
    plan.dispatch("read", "early", "copy", { x: "a" }, { y: "b" });
    plan.dispatch("add", "early", "copy", { x: "in" }, { y: { buffer: "b", mode: "accumulate" } });
    const built = plan.finish();
    expect(() => sectionLifetimes(built, "read")).toThrow(/"a" is read before anything wrote it/);
    expect(() => sectionLifetimes(built, "add")).toThrow(/"b" is read before anything wrote it/);
    expect(() => sectionLifetimes(built, "red")).toThrow(/Did you mean "read"\?/);
  });
});

describe("a printed plan", () => {
  it("names programs, buffers with lifetimes, dispatches and totals", () => {
    const text = printPlan(chain([16, 300], [[0, 1]]));
    expect(text).toMatchInlineSnapshot(`
      "plan chain
        memory     1.25 KiB: all buffers, persistent and transient; what a runtime takes inside programs comes on top
        persistent 4 B: input 4 B
        transient  1.25 KiB: run 1.25 KiB
        flops      run 0 FLOP

      programs: 1
        name  ops   a run  constants  largest value inside  dispatches  host kernel
        copy    1  0 FLOP        0 B  -                              3

      persistent buffers
        role   group or name  buffers  bytes
        input  start                1    4 B

      transient buffers of run: 1.25 KiB in one arena, at most 1.23 KiB alive (make b1)
        name  role           bytes  offset  alive in dispatches
        b0    activation      64 B    1216  0 to 2
        b1    activation  1.17 KiB       0  1 to 2

      section run: 3 dispatches
        0  make b0: copy(x = start) -> y = b0
        1  make b1: copy(x = start) -> y = b1
        2  copy 0: copy(x = b0) -> y = b1
      "
    `);
  });

  it("says the same as JSON", () => {
    const json = planJson(chain([16, 300], [[0, 1]]));
    expect(json).toMatchObject({
      name: "chain",
      memory: { persistent_bytes: 4, transient_bytes: 1280 },
      programs: [{ name: "copy", operations: 1, dispatches: 3, host_kernel: null }],
      sections: [{ name: "run", arena_bytes: 1280, dispatches: [{}, {}, { label: "copy 0" }] }],
    });
    expect(JSON.parse(JSON.stringify(json))).toEqual(json);
  });
});
