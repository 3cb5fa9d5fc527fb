import type { MilType } from "../../mil/types.ts";
import { staticShape } from "../../mil/types.ts";
import { EngineError } from "../errors.ts";
import { mayStandOn } from "./in-place.ts";
import type { OrtModule, OrtSession, OrtTensor } from "./runtime.ts";
import { overlaps, sameRegion } from "./regions.ts";
import type { Region } from "./regions.ts";
import type { SectionStep } from "./section.ts";
import { ortType } from "./tensor-type.ts";

/** Memory as the runtime sees it, at a byte. */
export interface RuntimePlace {
  readonly buffer: ArrayBuffer;
  readonly byteOffset: number;
  /** Where the runtime works on a copy: brings it up to date, and back. */
  readonly toRuntime?: (byteLength: number) => void;
  readonly fromRuntime?: (byteLength: number) => void;
}

/** A graph step with its tensors made: running it costs one call. */
export interface PreparedGraph {
  readonly session: OrtSession;
  readonly feeds: Readonly<Record<string, OrtTensor>>;
  readonly fetches: Readonly<Record<string, OrtTensor>>;
  readonly before: readonly (() => void)[];
  readonly after: readonly (() => void)[];
  /** Bytes of results kept aside because they could not stand where they belong. */
  readonly asideBytes: number;
}

interface BoundTensor {
  readonly tensor: OrtTensor;
  readonly bytes: Uint8Array;
}

export function prepareGraph(
  runtime: OrtModule,
  session: OrtSession,
  step: Extract<SectionStep, { readonly kind: "graph" }>,
  locate: (region: Region) => RuntimePlace,
): PreparedGraph {
  const { fn, inputs, outputs } = step.joined;
  const feeds: Record<string, OrtTensor> = {};
  const fetches: Record<string, OrtTensor> = {};
  const before: (() => void)[] = [];
  const after: (() => void)[] = [];
  let asideBytes = 0;
  fn.inputs.forEach((value, index) => {
    const region = regionAt(inputs, index);
    const place = locate(region);
    const { tensor, bytes } = bind(runtime, value.type, place);
    // An input nothing reads is still part of the graph's signature.
    feeds[`in:${value.name}`] = tensor;
    if (place.toRuntime !== undefined) {
      const copy = place.toRuntime;
      before.push(() => {
        copy(bytes.byteLength);
      });
    }
  });
  fn.outputs.forEach((value, index) => {
    const region = regionAt(outputs, index);
    const place = locate(region);
    const others = outputs.filter((_, other) => other !== index);
    const isDirect =
      others.every((other) => !overlaps(other, region)) &&
      inputs.every((input, place) => {
        const inputValue = fn.inputs[place];
        return (
          !overlaps(input, region) ||
          (sameRegion(input, region) &&
            inputValue !== undefined &&
            mayStandOn(fn, value, inputValue))
        );
      });
    const target = bind(runtime, value.type, place);
    if (isDirect) fetches[`out:${value.name}`] = target.tensor;
    else {
      const aside = bind(runtime, value.type, {
        buffer: new ArrayBuffer(target.bytes.byteLength),
        byteOffset: 0,
      });
      asideBytes += aside.bytes.byteLength;
      fetches[`out:${value.name}`] = aside.tensor;
      after.push(() => {
        target.bytes.set(aside.bytes);
      });
    }
    if (place.fromRuntime !== undefined) {
      const copy = place.fromRuntime;
      after.push(() => {
        copy(target.bytes.byteLength);
      });
    }
  });
  return { session, feeds, fetches, before, after, asideBytes };
}

function regionAt(regions: readonly Region[], index: number): Region {
  const region = regions[index];
  if (region === undefined)
    throw new EngineError("engine.plan.binding", `port ${index} has no region`);
  return region;
}

function bind(runtime: OrtModule, type: MilType, place: RuntimePlace): BoundTensor {
  if (type.kind !== "tensor") {
    throw new EngineError("engine.cpu.type", "inputs and outputs of programs must be tensors");
  }
  const shape = staticShape(type);
  const count = shape.reduce((product, size) => product * size, 1);
  const { name, arrayClass } = ortType(type.dataType);
  const array = new arrayClass(place.buffer, place.byteOffset, count);
  return {
    tensor: new runtime.Tensor(name, array, shape),
    bytes: new Uint8Array(array.buffer as ArrayBuffer, array.byteOffset, array.byteLength),
  };
}
