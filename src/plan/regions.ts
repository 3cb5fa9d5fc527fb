import type { Binding, Dispatch, Plan } from "./plan.ts";
import type { MilFunction, Value } from "../mil/program.ts";
import { elementCount, staticShape } from "../mil/types.ts";
import { PlanError } from "./errors.ts";

/** A run of elements inside a buffer. */
export interface Region {
  readonly buffer: string;
  readonly offset: number;
  readonly count: number;
}

export function regionOf(binding: Binding, value: Value): Region {
  const count =
    value.type.kind === "tensor" ? elementCount(staticShape(value.type, `"${value.name}"`)) : 0;
  return { buffer: binding.buffer, offset: binding.offset, count };
}

export function regionKey(region: Region): string {
  return `${region.buffer}@${region.offset}+${region.count}`;
}

export function overlaps(a: Region, b: Region): boolean {
  return a.buffer === b.buffer && a.offset < b.offset + b.count && b.offset < a.offset + a.count;
}

export function contains(outer: Region, inner: Region): boolean {
  return (
    outer.buffer === inner.buffer &&
    outer.offset <= inner.offset &&
    inner.offset + inner.count <= outer.offset + outer.count
  );
}

/** `count` elements of a region from `start` on. */
export function part(whole: Region, start: number, count: number): Region {
  return { buffer: whole.buffer, offset: whole.offset + start, count };
}

export function sameRegion(a: Region, b: Region): boolean {
  return a.buffer === b.buffer && a.offset === b.offset && a.count === b.count;
}

export interface BoundPort {
  readonly value: Value;
  readonly region: Region;
}

export interface BoundOutput extends BoundPort {
  readonly mode: "write" | "accumulate";
}

/** A dispatch with its function and where every input and output stands. */
export interface BoundDispatch {
  readonly label: string;
  readonly program: string;
  readonly fn: MilFunction;
  readonly inputs: readonly BoundPort[];
  readonly outputs: readonly BoundOutput[];
}

/** The run that an input or output of a dispatch is bound to. Throws `PlanError` where it is bound to none. */
export function boundRegion(
  dispatch: Dispatch,
  fn: MilFunction,
  side: "inputs" | "outputs",
  name: string,
): Region {
  const binding: Binding | undefined = dispatch[side].get(name);
  const value = fn[side].find((port) => port.name === name);
  if (binding === undefined || value?.type.kind !== "tensor") {
    throw new PlanError("engine.plan.binding", `${dispatch.label}: "${name}" is not bound`);
  }
  return regionOf(binding, value);
}

/** Throws `PlanError` for a plan that a `PlanBuilder` would not have made. */
export function bindDispatch(plan: Plan, dispatch: Dispatch): BoundDispatch {
  const fn = plan.programs.get(dispatch.program)?.function;
  if (fn === undefined) {
    throw new PlanError(
      "engine.plan.program",
      `${dispatch.label}: the plan has no program "${dispatch.program}"`,
    );
  }
  const missing = (port: string): PlanError =>
    new PlanError(
      "engine.plan.binding",
      `${dispatch.label}: "${port}" of ${dispatch.program} is not bound`,
    );
  return {
    label: dispatch.label,
    program: dispatch.program,
    fn,
    inputs: fn.inputs.map((value) => {
      const binding = dispatch.inputs.get(value.name);
      if (binding === undefined) throw missing(value.name);
      return { value, region: regionOf(binding, value) };
    }),
    outputs: fn.outputs.map((value) => {
      const binding = dispatch.outputs.get(value.name);
      if (binding === undefined) throw missing(value.name);
      return { value, region: regionOf(binding, value), mode: binding.mode };
    }),
  };
}
