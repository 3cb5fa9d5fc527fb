import type { MilType } from "../../mil/types.ts";
import { byteLengthOf, staticShape } from "../../mil/types.ts";
import { EngineError } from "../errors.ts";
import type { BoundFunction, CompiledFunction, TensorPlace } from "./compiler.ts";
import { mayStandOn } from "./in-place.ts";
import { overlaps, sameRegion } from "../../plan/regions.ts";
import type { Region } from "../../plan/regions.ts";
import type { SectionStep } from "./section.ts";

/** Memory at a byte. */
export interface MemoryPlace {
  readonly buffer: ArrayBuffer | SharedArrayBuffer;
  readonly byteOffset: number;
}

/** A graph step bound to its buffers. */
export interface PreparedGraph extends BoundFunction {
  /** Bytes of results kept aside because they could not stand where they belong. */
  readonly asideBytes: number;
}

export function prepareGraph(
  compiled: CompiledFunction,
  step: Extract<SectionStep, { readonly kind: "graph" }>,
  locate: (region: Region) => MemoryPlace,
): PreparedGraph {
  const { fn, inputs, outputs } = step.joined;
  const copies: (() => void)[] = [];
  let asideBytes = 0;
  const inputPlaces = fn.inputs.map((value, index) =>
    tensorPlace(value.name, value.type, locate(regionAt(inputs, index))),
  );
  const outputPlaces = fn.outputs.map((value, index) => {
    const region = regionAt(outputs, index);
    const place = tensorPlace(value.name, value.type, locate(region));
    const isApart = outputs.every((other, at) => at === index || !overlaps(other, region));
    const isDirect = inputs.every((input, at) => {
      const inputValue = fn.inputs[at];
      if (!overlaps(input, region)) return true;
      return (
        sameRegion(input, region) && inputValue !== undefined && mayStandOn(fn, value, inputValue)
      );
    });
    if (isApart && isDirect) return place;
    const aside = { ...place, buffer: new ArrayBuffer(place.byteLength), byteOffset: 0 };
    asideBytes += place.byteLength;
    const source = new Uint8Array(aside.buffer);
    const target = new Uint8Array(place.buffer, place.byteOffset, place.byteLength);
    copies.push(() => {
      target.set(source);
    });
    return aside;
  });
  const { run, release } = compiled.bind(inputPlaces, outputPlaces);
  if (copies.length === 0) return { run, release, asideBytes };
  return {
    run: async () => {
      await run();
      for (const copy of copies) copy();
    },
    release,
    asideBytes,
  };
}

function regionAt(regions: readonly Region[], index: number): Region {
  const region = regions[index];
  if (region === undefined)
    throw new EngineError("engine.plan.binding", `port ${index} has no region`);
  return region;
}

function tensorPlace(name: string, type: MilType, place: MemoryPlace): TensorPlace {
  if (type.kind !== "tensor")
    throw new EngineError("engine.cpu.type", "inputs and outputs of programs must be tensors");
  return {
    name,
    dataType: type.dataType,
    shape: staticShape(type),
    byteLength: byteLengthOf(type),
    ...place,
  };
}
