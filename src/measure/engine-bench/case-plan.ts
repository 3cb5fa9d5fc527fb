import type { LoadedPlan } from "../../engine/engine.ts";
import { staticShape } from "../../mil/types.ts";
import type { MilFunction } from "../../mil/program.ts";
import type { TensorType } from "../../mil/types.ts";
import { PlanBuilder } from "../../plan/builder.ts";
import { float16Bits } from "../../util/float16.ts";
import type { BenchCase, BuildOptions, CasePlan, RowShape } from "./case.ts";
import { MeasureError } from "../errors.ts";
import { fixedInput, rowFunction } from "./programs.ts";

/**
 * A program as a plan. Without host copies the input is a weight, which engines keep where they need it, and the
 * timed result a value between dispatches, which nobody takes home; `check` runs the same program with a result
 * that the host sees. With copies both are the host's, every time.
 */
export function rowPlan(
  name: string,
  shape: RowShape,
  { hostCopies, dispatches, calls }: Pick<BenchCase, "hostCopies" | "dispatches" | "calls">,
  options: BuildOptions,
): CasePlan {
  const fn = rowFunction(shape, options);
  const input = portType(fn, "inputs");
  const output = portType(fn, "outputs");
  const builder = new PlanBuilder(name);
  builder.program("program", fn, undefined, { asWritten: true });
  builder.buffer("x", input, hostCopies ? "input" : "weight");
  builder.buffer("y", output, "output");
  const isHosts = hostCopies || options.readsResults;
  const timed = isHosts ? "y" : builder.buffer("timed_y", output, "activation");
  const perCall = calls === "one" ? dispatches : 1;
  // Each dispatch reads what the one before wrote, so that none can be left out.
  let from = "x";
  for (let index = 1; index <= perCall; index++) {
    const to = index === perCall ? timed : builder.buffer(`y_${index}`, output, "activation");
    builder.dispatch("time", `dispatch ${index}`, "program", { x: from }, { y: to });
    from = to;
  }
  builder.dispatch("check", "check", "program", { x: "x" }, { y: "y" });
  return {
    plan: builder.finish(),
    time: Array.from({ length: calls === "one" ? 1 : dispatches }, () => "time"),
    check: ["check"],
    outputs: ["y"],
    fill: (loaded) => writeFloats(loaded, "x", fixedInput(staticShape(input))),
  };
}

function portType(fn: MilFunction, side: "inputs" | "outputs"): TensorType {
  const type = fn[side][0]?.type;
  if (type?.kind === "tensor") return type;
  throw new MeasureError("measure.case", `function ${fn.name} has no tensor among its ${side}`);
}

/** Writes floats into a buffer of fp16 or fp32. */
export function writeFloats(loaded: LoadedPlan, buffer: string, numbers: Float32Array): void {
  const view = loaded.view(buffer);
  if (view instanceof Uint16Array) view.set(Uint16Array.from(numbers, float16Bits));
  else view.set(numbers);
}
