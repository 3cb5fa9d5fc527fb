import type { MilFunction } from "../../mil/program.ts";
import { elementCount, staticShape } from "../../mil/types.ts";
import type { Binding, Dispatch } from "../../plan/plan.ts";
import { EngineError } from "../errors.ts";

/** A run of elements of a plan's buffer. */
export interface Region {
  readonly buffer: string;
  readonly offset: number;
  readonly count: number;
}

export function part(whole: Region, start: number, count: number): Region {
  return { buffer: whole.buffer, offset: whole.offset + start, count };
}

export function keyOf({ buffer, offset, count }: Region): string {
  return `${buffer}@${offset}+${count}`;
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

/** The run that an input or output of a dispatch is bound to. */
export function boundRegion(
  dispatch: Dispatch,
  fn: MilFunction,
  side: "inputs" | "outputs",
  name: string,
): Region {
  const binding: Binding | undefined = dispatch[side].get(name);
  const type = fn[side].find((value) => value.name === name)?.type;
  if (binding === undefined || type?.kind !== "tensor") {
    throw new EngineError("engine.plan.binding", `${dispatch.label}: "${name}" is not bound`);
  }
  return { buffer: binding.buffer, offset: binding.offset, count: elementCount(staticShape(type)) };
}
