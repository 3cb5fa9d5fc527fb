import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { createAneEngine } from "../../../src/engine/ane/index.ts";
import type { ExpectedRuns } from "../../../src/lower/join-dispatches.ts";
import type { Engine } from "../../../src/engine/engine.ts";
import { FunctionBuilder } from "../../../src/mil/builder.ts";
import type { MilFunction } from "../../../src/mil/program.ts";
import { tensorType } from "../../../src/mil/types.ts";
import { PlanBuilder } from "../../../src/plan/builder.ts";
import type { Plan } from "../../../src/plan/plan.ts";
import { openDouble } from "./double-library.ts";
import { simulator } from "./training.ts";

const cacheFolder = mkdtempSync(join(tmpdir(), "anecdote-ane-"));
afterAll(() => rmSync(cacheFolder, { recursive: true, force: true }));

const WIDTHS = [8, 16] as const;
const BUFFER_WIDTH = 16;
const BUFFERS = ["input", "weight", "state", "output", "t0", "t1", "t2"] as const;

/** x + 2 y and x - y on the engine. */
function blend(width: number): MilFunction {
  const f = new FunctionBuilder(`blend${width}`);
  const x = f.input("x", tensorType("fp32", [1, width]));
  const y = f.input("y", tensorType("fp32", [1, width]));
  return f.finish({
    sum: f.op("add", { x, y: f.op("mul", { x: y, y: 0.5 }) }),
    difference: f.op("mul", { x: f.op("sub", { x, y }), y: 0.75 }),
  });
}

/** Reversed rows: gather stays on the host. */
function shuffle(width: number): MilFunction {
  const f = new FunctionBuilder(`shuffle${width}`);
  const x = f.input("x", tensorType("fp32", [width]));
  const indices = f.input("indices", tensorType("int32", [width]));
  return f.finish({ y: f.op("gather", { x, indices, axis: 0 }) });
}

const step = fc.record({
  program: fc.constantFrom("blend", "blend", "blend", "shuffle"),
  width: fc.constantFrom(...WIDTHS),
  buffers: fc.array(fc.nat(BUFFERS.length - 1), { minLength: 4, maxLength: 4 }),
  offsets: fc.array(fc.constantFrom(0, 4, 8), { minLength: 4, maxLength: 4 }),
  modes: fc.array(fc.constantFrom("write", "write", "accumulate"), { minLength: 2, maxLength: 2 }),
});
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

/** Sections that once gave other bits. */
const KNOWN: [Step[], Step[]][] = [
  // Joined, one buffer is written at one place and added to at another.
  [
    [blendStep([0, 0, 0, 0], [0, 0, 0, 0], ["write", "accumulate"])],
    [
      blendStep([0, 0, 3, 0], [0, 0, 8, 0], ["write", "write"]),
      blendStep([0, 0, 3, 1], [0, 0, 0, 0], ["accumulate", "write"]),
    ],
  ],
  // The same the other way round: added to first.
  [
    [blendStep([0, 1, 2, 3], [0, 0, 0, 0], ["write", "write"])],
    [
      blendStep([0, 1, 3, 2], [0, 0, 8, 8], ["accumulate", "write"]),
      blendStep([0, 1, 3, 2], [8, 8, 0, 0], ["write", "accumulate"]),
    ],
  ],
  // Nobody reads what two neighbours give: as one they would be a program without results.
  [
    [
      blendStep([0, 0, 4, 5], [0, 0, 8, 0], ["write", "write"]),
      blendStep([0, 0, 4, 6], [0, 0, 0, 0], ["write", "write"]),
    ],
    [blendStep([0, 0, 0, 0], [0, 0, 0, 0], ["write", "write"])],
  ],
];

function blendStep(buffers: number[], offsets: Step["offsets"], modes: Step["modes"]): Step {
  return { program: "blend", width: 8, buffers, offsets, modes };
}

/** A section of any dispatches over few buffers: in place, overlapping, accumulating, on engine and host. */
function planOf(sections: readonly (readonly Step[])[]): Plan {
  const builder = new PlanBuilder("random");
  for (const name of BUFFERS) {
    const role = name.startsWith("t") ? "activation" : (name as "input");
    builder.buffer(name, tensorType("fp32", [BUFFER_WIDTH]), role);
  }
  for (const width of WIDTHS) {
    builder.buffer(`order${width}`, tensorType("int32", [width]), "input");
    builder.program(`blend${width}`, blend(width));
    builder.program(`shuffle${width}`, shuffle(width));
  }
  for (const [number, steps] of sections.entries()) {
    const section = `section${number}`;
    // Transient buffers hold nothing at a section's begin: give them something.
    for (const [index, name] of ["t0", "t1", "t2"].entries()) {
      builder.dispatch(
        section,
        `fill ${name}`,
        "blend16",
        { x: "input", y: BUFFERS[index + 1] ?? "input" },
        { sum: name, difference: { buffer: "state", mode: "accumulate" } },
      );
    }
    for (const [index, { program, width, buffers, offsets, modes }] of steps.entries()) {
      const [a, b, c, d] = buffers.map((buffer, port) => ({
        buffer: BUFFERS[buffer] ?? "input",
        offset: Math.min(offsets[port] ?? 0, BUFFER_WIDTH - width),
      }));
      if (a === undefined || b === undefined || c === undefined || d === undefined) continue;
      // Two results must not overlap: nobody says which one stands.
      const apart = c.buffer === d.buffer ? { ...d, buffer: "output" } : d;
      const label = `${index} ${program}`;
      const first = { ...c, mode: modes[0] ?? "write" } as const;
      if (program === "shuffle") {
        const inputs = { x: a, indices: `order${width}` };
        builder.dispatch(section, label, `shuffle${width}`, inputs, { y: first });
      } else if (c.buffer !== apart.buffer) {
        const second = { ...apart, mode: modes[1] ?? "write" } as const;
        const inputs = { x: a, y: b };
        builder.dispatch(section, label, `blend${width}`, inputs, {
          sum: first,
          difference: second,
        });
      }
    }
  }
  return builder.finish();
}

/** So many that dispatches are joined wherever they may be. */
const OFTEN = { section0: { count: 1e9 }, section1: { count: 1e9 } };

async function results(
  engine: Engine,
  plan: Plan,
  expectedRuns?: ExpectedRuns,
): Promise<readonly number[][]> {
  const loaded = await engine.load(plan, { expectedRuns });
  try {
    for (const width of WIDTHS)
      loaded.view(`order${width}`).set(Array.from({ length: width }, (_, i) => width - 1 - i));
    const seen: number[][] = [];
    const persistent = ["input", "weight", "state", "output"];
    persistent.forEach((name, index) =>
      loaded
        .view(name)
        .set(Array.from({ length: BUFFER_WIDTH }, (_, i) => Math.fround(Math.sin(i + 5 * index)))),
    );
    for (const section of ["section0", "section1", "section0"]) {
      await loaded.run(section);
      for (const name of persistent) seen.push([...loaded.view(name)]);
      loaded.view("weight")[3] = 0.3;
    }
    return seen;
  } finally {
    await loaded.close();
  }
}

describe("plans through the double", () => {
  test("any plan gives what the simulator gives, bit for bit", async () => {
    const doubles = [openDouble("e5rt"), openDouble("objc")] as const;
    const [double, objc] = doubles;
    const sim = simulator("m4");
    const common = { library: double.path, chip: "m4", host: sim, cacheFolder };
    const engines = [
      await createAneEngine(common),
      await createAneEngine({ ...common, operationLimit: 3 }),
      // A stream for nearly every dispatch: as much overlap as there can be.
      await createAneEngine({ ...common, bytesPerPiece: 1 }),
      await createAneEngine({ ...common, library: objc.path, driver: "in-memory" }),
    ];
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 1, maxLength: 12 }),
        fc.array(step, { minLength: 1, maxLength: 6 }),
        async (first, second) => {
          const plan = planOf([first, second]);
          const wanted = await results(sim, plan);
          for (const engine of engines) expect(await results(engine, plan)).toEqual(wanted);
          for (const engine of [sim, ...engines.slice(0, 1)])
            expect(await results(engine, plan, OFTEN)).toEqual(wanted);
          for (const each of doubles) expect(each.violations()).toEqual({ count: 0, first: "" });
        },
      ),
      { numRuns: 40, examples: KNOWN },
    );
    for (const engine of engines) await engine.close();
    await sim.close();
    for (const each of doubles) expect(each.count("live handles")).toBe(0);
  }, 180_000);
});
