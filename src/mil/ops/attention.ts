import { hostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { optionalTensor, tensor } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { elementCount, staticShape, tensorType } from "../types.ts";
import type { TensorType } from "../types.ts";
import { softmaxRun } from "./activation.ts";
import { broadcastShapes } from "./broadcast.ts";
import { agree, commonDataType, formatShape, sameOrUnknown } from "./dimensions.ts";
import { expandTo } from "./strided.ts";

function attentionType(call: OpCall): TensorType {
  const dataType = commonDataType(call, "query", "key", "value");
  const query = call.shape("query");
  const key = call.shape("key");
  const value = call.shape("value");
  if (query.length < 3 || key.length !== query.length || value.length !== query.length) {
    throw call.fail("query, key and value must have one rank, 3 or more");
  }
  for (const [name, shape] of [
    ["key", key],
    ["value", value],
  ] as const) {
    if (!sameOrUnknown(shape.slice(0, -2), query.slice(0, -2))) {
      throw call.fail(
        `${name} has batch ${formatShape(shape.slice(0, -2))}, query has ${formatShape(query.slice(0, -2))}`,
      );
    }
  }
  if (!agree(query.at(-1) ?? 1, key.at(-1) ?? 1)) {
    throw call.fail(`query and key have ${query.at(-1)} and ${key.at(-1)} channels`);
  }
  if (!agree(key.at(-2) ?? 1, value.at(-2) ?? 1)) {
    throw call.fail(`key and value have ${key.at(-2)} and ${value.at(-2)} positions`);
  }
  if (call.has("attn_mask")) {
    const scores = [...query.slice(0, -1), key.at(-2) ?? 1];
    const mask = call.shape("attn_mask");
    const joined = broadcastShapes(call, scores, mask);
    if (!sameOrUnknown(joined, scores)) {
      throw call.fail(
        `attn_mask ${formatShape(mask)} does not broadcast to the scores ${formatShape(scores)}`,
      );
    }
  }
  return tensorType(dataType, [...query.slice(0, -1), value.at(-1) ?? 1]);
}

export const ATTENTION = {
  /** softmax(query * key^T / sqrt(channels) + mask) * value; a bool mask keeps what is true. */
  scaled_dot_product_attention: defineOp({
    kind: "costly",
    parameters: {
      query: tensor(),
      key: tensor(),
      value: tensor(),
      attn_mask: optionalTensor(),
    },
    infer: (call) => [attentionType(call)],
    evaluate: (call) => {
      const type = attentionType(call);
      const query = call.tensor("query");
      const key = call.tensor("key");
      const value = call.tensor("value").data;
      const [targets = 1, channels = 1] = query.shape.slice(-2);
      const [sources = 1] = key.shape.slice(-2);
      const output = hostTensor(type.dataType, staticShape(type));
      const width = output.shape.at(-1) ?? 1;
      const batches = elementCount(query.shape.slice(0, -2));
      const scoreShape = [...query.shape.slice(0, -1), sources];
      const isBool = call.has("attn_mask") && call.dataType("attn_mask") === "bool";
      const mask = call.has("attn_mask")
        ? expandTo(call.tensor("attn_mask"), scoreShape)
        : undefined;
      const scores = new Float64Array(sources);
      for (let row = 0; row < batches * targets; row++) {
        const batch = Math.floor(row / targets);
        for (let s = 0; s < sources; s++) {
          let score = 0;
          for (let c = 0; c < channels; c++) {
            const left = query.data[row * channels + c] ?? 0;
            score += left * (key.data[(batch * sources + s) * channels + c] ?? 0);
          }
          score /= Math.sqrt(channels);
          const bias = mask?.[row * sources + s];
          if (bias !== undefined) score = isBool ? (bias === 0 ? -Infinity : score) : score + bias;
          scores[s] = score;
        }
        softmaxRun(scores, scores, 0, 1, sources);
        for (let s = 0; s < sources; s++) {
          const weight = scores[s] ?? 0;
          const start = (batch * sources + s) * width;
          for (let c = 0; c < width; c++) {
            const at = row * width + c;
            output.data[at] = (output.data[at] ?? 0) + weight * (value[start + c] ?? 0);
          }
        }
      }
      return [output];
    },
    flops: (call) => {
      const query = call.staticShape("query");
      const sources = call.staticShape("key").at(-2) ?? 1;
      const scores = elementCount(query.slice(0, -1)) * sources;
      const width = (query.at(-1) ?? 1) + (call.staticShape("value").at(-1) ?? 1);
      return scores * (2 * width + 6);
    },
  }),
} as const;
