import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCpuEngine } from "../../src/engine/cpu/index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { createReferenceEngine } from "../../src/engine/reference/index.ts";
import type { FunctionBuilder } from "../../src/mil/builder.ts";
import type { Value } from "../../src/mil/program.ts";
import { isFloat, staticShape, tensorType } from "../../src/mil/types.ts";
import type { DataType } from "../../src/mil/types.ts";
import { CaseBuilder } from "./case-builder.ts";
import type { Range } from "./case-builder.ts";
import { OP_CASES } from "./op-cases.ts";
import { difference, runCase } from "./run-case.ts";

/** How an operand comes about before an op reads it and the function returns it. */
const MAKERS: Readonly<Record<string, (f: FunctionBuilder, x: Value) => Value>> = {
  "transposed last": (f, x) => {
    const rank = rankOf(x);
    const order = Array.from({ length: rank }, (_, axis) => axis);
    if (rank >= 2) order.splice(rank - 2, 2, rank - 1, rank - 2);
    return f.op("transpose", { x, perm: order });
  },
};

function rankOf({ type }: Value): number {
  return type.kind === "tensor" ? type.shape.length : 0;
}

/** Floats with axes come through a maker; what it makes is a result too. */
class ReturningBuilder extends CaseBuilder {
  readonly made: Value[] = [];
  readonly #make: (f: FunctionBuilder, x: Value) => Value;

  constructor(dataType: DataType, make: (f: FunctionBuilder, x: Value) => Value) {
    super(dataType);
    this.#make = make;
  }

  override x(shape: readonly number[], range: Range = {}, dataType = this.dataType): Value {
    if (!isFloat(dataType) || shape.length < 2) return super.x(shape, range, dataType);
    // What the maker needs to give the wanted shape: both orders of axes are their own inverse.
    const name = `x${this.inputs.length}`;
    const probe = this.#make(this.f, { kind: "value", name, type: tensorType(dataType, shape) });
    const stored = probe.type.kind === "tensor" ? staticShape(probe.type) : shape;
    this.f.rewind(this.f.operationCount - 1);
    const value = this.#make(this.f, super.x(stored, range, dataType));
    this.made.push(value);
    return value;
  }
}

describe("operands that are results as well", () => {
  const reference = createReferenceEngine();
  let cpu: Engine;
  beforeAll(async () => {
    cpu = await createCpuEngine({ threads: 2 });
  });
  afterAll(async () => {
    await cpu.close();
  });

  for (const [how, make] of Object.entries(MAKERS)) {
    it(`${how}, of every op, are written`, async () => {
      for (const [name, recipes] of Object.entries(OP_CASES)) {
        for (const [index, recipe] of recipes.entries()) {
          const builder = new ReturningBuilder("fp32", make);
          const results = recipe(builder);
          const fn = builder.f.finish(
            Object.fromEntries(
              [...builder.made, ...(Array.isArray(results) ? results : [results])].map(
                (value: Value, place) => [`result${place}`, value],
              ),
            ),
          );
          const [expected = []] = await runCase(reference, fn, builder.inputs);
          const [actual = []] = await runCase(cpu, fn, builder.inputs);
          for (const [place, wanted] of expected.entries()) {
            const got = actual[place];
            const problem = got === undefined ? "no result" : difference(got, wanted, 4);
            expect(problem, `${name}, case ${index}, result ${place}`).toBeUndefined();
          }
        }
      }
    });
  }
});
