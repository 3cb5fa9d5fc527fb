import { isFloat } from "../../src/mil/types.ts";
import type { DataType, TensorType } from "../../src/mil/types.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { PlanBuilder } from "../../src/plan/builder.ts";
import type { Plan } from "../../src/plan/plan.ts";
import { float16Bits, float16Value } from "../../src/util/float16.ts";
import type { CaseInput } from "./case-builder.ts";

function tensorOf({ type }: { readonly type: { readonly kind: string } }): TensorType {
  if (type.kind !== "tensor") throw new Error("conformance cases have tensors only");
  return type as TensorType;
}

/** A plan of one dispatch: inputs and outputs have buffers of their own names. */
export function planOf(fn: MilFunction): Plan {
  const plan = new PlanBuilder("case");
  plan.program("main", fn);
  for (const value of fn.inputs) plan.buffer(value.name, tensorOf(value), "input");
  for (const value of fn.outputs) plan.buffer(value.name, tensorOf(value), "output");
  const same = (values: readonly { readonly name: string }[]): Record<string, string> =>
    Object.fromEntries(values.map(({ name }) => [name, name]));
  plan.dispatch("main", "main", "main", same(fn.inputs), same(fn.outputs));
  return plan.finish();
}

export interface CaseResult {
  readonly name: string;
  readonly dataType: DataType;
  readonly numbers: readonly number[];
  readonly bytes: Uint8Array;
}

/** Runs a case `runs` times in a session of its own and gives the outputs of every run. */
export async function runCase(
  engine: Engine,
  fn: MilFunction,
  inputs: readonly CaseInput[],
  runs = 1,
): Promise<readonly (readonly CaseResult[])[]> {
  const loaded = await engine.load(planOf(fn));
  for (const { name, dataType, numbers } of inputs) {
    const view = loaded.view(name);
    numbers.forEach((value, index) => {
      view[index] = dataType === "fp16" ? float16Bits(value) : value;
    });
  }
  const results: CaseResult[][] = [];
  for (let run = 0; run < runs; run++) {
    await loaded.run("main");
    results.push(
      fn.outputs.map((value) => {
        const view = loaded.view(value.name);
        const { dataType } = tensorOf(value);
        return {
          name: value.name,
          dataType,
          numbers: Array.from(view, (number) =>
            dataType === "fp16" ? float16Value(number) : number,
          ),
          bytes: Uint8Array.from(new Uint8Array(view.buffer, view.byteOffset, view.byteLength)),
        };
      }),
    );
  }
  await loaded.close();
  return results;
}

/**
 * How far an engine may be from the reference, which rounds every op's exact result once.
 * fp32: a result differs by a few units in the last place of the largest number involved (sums are added in
 * another order, functions are approximated to about 4 units): 2^-24 * 32. fp16: the CPU engine keeps fp32
 * inside a program, so at most one rounding of each op on the way differs: 2^-11 times the ops on the path.
 * Everything else is exact.
 */
export function toleranceOf(dataType: DataType, scale: number, pathLength = 1): number {
  if (dataType === "fp16") return 2 ** -11 * Math.max(1, scale) * 2 * pathLength;
  if (isFloat(dataType)) return 2 ** -24 * 32 * Math.max(1, scale) * pathLength;
  return 0;
}

/** The first number that is too far off, or nothing; `precision` "fp16" where floats of every type are held in fp16. */
export function difference(
  actual: CaseResult,
  expected: CaseResult,
  pathLength = 1,
  precision: "as typed" | "fp16" = "as typed",
): string | undefined {
  const finite = expected.numbers.filter(Number.isFinite).map(Math.abs);
  const scale = finite.reduce((a, b) => Math.max(a, b), 0);
  const isNarrow = precision === "fp16" && isFloat(expected.dataType);
  const tolerance = toleranceOf(isNarrow ? "fp16" : expected.dataType, scale, pathLength);
  for (const [index, wanted] of expected.numbers.entries()) {
    const got = actual.numbers[index] ?? Number.NaN;
    if (Object.is(got, wanted) || got === wanted) continue;
    if (Math.abs(got - wanted) <= tolerance) continue;
    return `${expected.name}[${index}] is ${got}, the reference has ${wanted} (tolerance ${tolerance})`;
  }
  return undefined;
}
