import type { MilType } from "../../mil/types.ts";
import { byteLengthOf, staticShape } from "../../mil/types.ts";
import { AnecdoteError, messageOf } from "../../util/errors.ts";
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
  const { run: runBound, release } = compiled.bind(inputPlaces, outputPlaces);
  const run = async (): Promise<void> => {
    try {
      await runBound();
    } catch (error) {
      if (error instanceof AnecdoteError) throw error;
      // An index outside its axis, for one: what the runtime only sees while it runs.
      throw new EngineError(
        "engine.cpu.run",
        `${step.label} cannot be run on these inputs: ${messageOf(error)}`,
        { cause: error },
      );
    }
  };
  // What a run accumulates to or stands on holds numbers that a mark would spoil.
  const apart = outputPlaces.filter(({ buffer }, index) => {
    const region = regionAt(outputs, index);
    return !inputPlaces.some(
      (input, at) => input.buffer === buffer && overlaps(regionAt(inputs, at), region),
    );
  });
  let isChecked = false;
  return {
    run: async () => {
      if (isChecked) await run();
      else
        await runChecked(run, apart, {
          what: step.label,
          mayRepeat: apart.length === outputPlaces.length,
        });
      isChecked = true;
      for (const copy of copies) copy();
    },
    release,
    asideBytes,
  };
}

/** No result of a graph is made of these bytes alone twice. */
const MARKS = [0xa5, 0x5a] as const;

/** So many bytes of one mark in a row are no accident. */
const SURE_BYTES = 16;

/**
 * The first run of a graph: every result is marked before, and one that still holds nothing but the mark was not
 * written. A fault of the runtime's fusions would otherwise pass as numbers. Throws `EngineError`.
 */
async function runChecked(
  run: BoundFunction["run"],
  places: readonly TensorPlace[],
  { what, mayRepeat }: { readonly what: string; readonly mayRepeat: boolean },
): Promise<void> {
  // A graph that adds to its memory runs once: then only what no number looks like is a suspect.
  let suspects = places.filter(({ byteLength }) => byteLength > (mayRepeat ? 0 : SURE_BYTES));
  for (const mark of mayRepeat ? MARKS : MARKS.slice(0, 1)) {
    const marked = suspects.map((place) => bytesAt(place));
    for (const bytes of marked) bytes.fill(mark);
    await run();
    // Most results show with their first byte that they were written.
    suspects = suspects.filter(
      (_, index) => marked[index]?.every((byte) => byte === mark) === true,
    );
    if (suspects.length === 0) return;
  }
  const names = suspects.map(({ name }) => `"${name}"`).join(", ");
  throw new EngineError(
    "engine.cpu.unwritten",
    `ONNX Runtime did not write ${names} of ${what}: a fault of its fusions or of this engine`,
    { remedy: "Run it with --engine reference, and please report it." },
  );
}

function bytesAt({ buffer, byteOffset, byteLength }: TensorPlace): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function regionAt(regions: readonly Region[], index: number): Region {
  const region = regions[index];
  if (region === undefined)
    throw new EngineError("engine.plan.binding", `port ${index} has no region`);
  return region;
}

/** Memory of a port. */
export function tensorPlace(name: string, type: MilType, place: MemoryPlace): TensorPlace {
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
