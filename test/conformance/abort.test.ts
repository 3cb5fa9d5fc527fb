import { describe, expect, test } from "vitest";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { tensorType } from "../../src/mil/types.ts";
import { PlanBuilder } from "../../src/plan/builder.ts";
import type { Plan } from "../../src/plan/plan.ts";
import { ENGINES } from "./all-engines.ts";

const TYPE = tensorType("fp16", [4, 64]);

/** Three programs, one after the other, in a section of their own each. */
function plan(): Plan {
  const builder = new PlanBuilder("three");
  builder.buffer("x", TYPE, "input");
  for (const [index, op] of (["relu", "abs", "square"] as const).entries()) {
    const f = new FunctionBuilder(op);
    const x = f.input("x", TYPE);
    builder.program(op, f.finish({ y: f.op(op, { x }) }));
    builder.buffer(`y${index}`, TYPE, "output");
    builder.dispatch(op, op, op, { x: "x" }, { y: `y${index}` });
  }
  return builder.finish();
}

describe.each(Object.entries(ENGINES))("%s", (_, { missing, open }) => {
  test.skipIf(missing !== undefined)(
    "stops to load and to prepare once nobody wants it, and loads again",
    async () => {
      const { engine, close } = await open();
      const reason = new Error("nobody waits any more");
      await expect(engine.load(plan(), { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);

      const abort = new AbortController();
      const loaded = await engine.load(plan(), { signal: abort.signal });
      await loaded.prepare("relu");
      await loaded.run("relu");
      abort.abort(reason);
      await expect(loaded.prepare("abs")).rejects.toBe(reason);
      // What is prepared still runs, and the plan is closed as any other.
      await loaded.run("relu");
      await loaded.close();

      const again = await engine.load(plan());
      for (const section of ["relu", "abs", "square"]) await again.run(section);
      await again.close();
      expect(await close()).toBeUndefined();
    },
  );
});
