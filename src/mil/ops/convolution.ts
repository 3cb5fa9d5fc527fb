import { hostTensor } from "../host-tensor.ts";
import type { HostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { defineOp, optional, optionalTensor, tensor } from "../op-row.ts";
import { elementCount, staticShape, tensorType } from "../types.ts";
import type { Dimension, TensorType } from "../types.ts";
import { agree, checkRank, formatShape } from "./dimensions.ts";
import { coordinatesOf, forEachWindowElement, windowGeometry } from "./windows.ts";
import type { WindowGeometry } from "./windows.ts";

function kernelOf(call: OpCall): readonly number[] {
  return call
    .shape("weight")
    .slice(2)
    .map((size) => {
      if (size === "?") throw call.fail("weight's kernel sizes must be known");
      return size;
    });
}

export function checkBias(call: OpCall, outputs: Dimension): void {
  if (!call.has("bias")) return;
  const [size, ...rest] = call.shape("bias");
  if (size === undefined || rest.length > 0 || !agree(size, outputs)) {
    throw call.fail(`bias must hold ${outputs} numbers, one for each output channel`);
  }
}

export function convolutionGeometry(call: OpCall): WindowGeometry {
  return windowGeometry(call, call.shape("x").slice(2), kernelOf(call));
}

export function convolutionType(call: OpCall): TensorType {
  checkRank(call, "x", 3);
  const [batch = 1, channels = 1, ...spatial] = call.shape("x");
  const [outputs = 1, inputs = 1, ...kernel] = call.shape("weight");
  const groups = call.int("groups");
  if (kernel.length !== spatial.length) {
    throw call.fail(
      `weight ${formatShape(call.shape("weight"))} needs ${spatial.length} kernel sizes`,
    );
  }
  if (channels !== "?" && inputs !== "?" && inputs * groups !== channels) {
    throw call.fail(
      `weight takes ${inputs} channels in each of ${groups} groups, x has ${channels} channels`,
    );
  }
  if (outputs !== "?" && outputs % groups !== 0) {
    throw call.fail(`${outputs} output channels do not divide into ${groups} groups`);
  }
  checkBias(call, outputs);
  return tensorType(call.dataType("x"), [batch, outputs, ...convolutionGeometry(call).outputs]);
}

/** Direct convolution of x [N, C, ...] with weight [O, C / groups, ...]. */
export function convolve(
  call: OpCall,
  x: HostTensor,
  weight: HostTensor,
  bias: Float64Array | undefined,
): HostTensor {
  const type = convolutionType(call);
  const geometry = convolutionGeometry(call);
  const output = hostTensor(type.dataType, staticShape(type));
  const [batch = 1, channels = 1, ...inputs] = x.shape;
  const [, outputs = 1, ...places] = output.shape;
  const groups = call.int("groups");
  const inputSize = elementCount(inputs);
  const outputSize = elementCount(places);
  const kernelSize = elementCount(geometry.kernel);
  const perGroup = channels / groups;
  const outputsPerGroup = outputs / groups;
  for (let place = 0; place < outputSize; place++) {
    // The elements of the window are the same for every batch and channel.
    const kernelAt: number[] = [];
    const inputAt: number[] = [];
    forEachWindowElement(geometry, inputs, coordinatesOf(place, places), (kernel, input) => {
      kernelAt.push(kernel);
      inputAt.push(input);
    });
    for (let n = 0; n < batch; n++) {
      for (let o = 0; o < outputs; o++) {
        const group = Math.floor(o / outputsPerGroup);
        let total = bias?.[o] ?? 0;
        for (let c = 0; c < perGroup; c++) {
          const xStart = (n * channels + group * perGroup + c) * inputSize;
          const weightStart = (o * perGroup + c) * kernelSize;
          for (let i = 0; i < kernelAt.length; i++) {
            const left = x.data[xStart + (inputAt[i] ?? 0)] ?? 0;
            total += left * (weight.data[weightStart + (kernelAt[i] ?? 0)] ?? 0);
          }
        }
        output.data[(n * outputs + o) * outputSize + place] = total;
      }
    }
  }
  return output;
}

export function convolutionFlops(call: OpCall): number {
  const [, perGroup = 1, ...kernel] = call.staticShape("weight");
  const outputs = elementCount(staticShape(convolutionType(call)));
  return (2 * perGroup * elementCount(kernel) + Number(call.has("bias"))) * outputs;
}

export const WINDOW_SETTINGS = {
  strides: optional("ints"),
  pad_type: optional("string", "valid"),
  pad: optional("ints"),
  dilations: optional("ints"),
  groups: optional("int", 1),
} as const;

export const CONVOLUTION = {
  conv: defineOp({
    parameters: { x: tensor(), weight: tensor(), bias: optionalTensor(), ...WINDOW_SETTINGS },
    since: "ios13",
    infer: (call) => [convolutionType(call)],
    evaluate: (call) => {
      const bias = call.has("bias") ? call.tensor("bias").data : undefined;
      return [convolve(call, call.tensor("x"), call.tensor("weight"), bias)];
    },
    flops: convolutionFlops,
  }),
} as const;
