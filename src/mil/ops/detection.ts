import { hostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { optional, required, tensor } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { elementCount, formatType, scalarType, tensorType } from "../types.ts";
import type { MilType, TensorType } from "../types.ts";
import { checkRank, commonDataType } from "./dimensions.ts";

/** Up to ios16 boxes stand before coordinates and classes, from ios17 on behind them. */
const boxesFirst = (call: OpCall): boolean => call.has("score_threshold");

function suppressionTypes(call: OpCall): readonly TensorType[] {
  checkRank(call, "boxes", 3, 3);
  checkRank(call, "scores", 3, 3);
  const dataType = commonDataType(call, "boxes", "scores");
  const limit = call.int("max_boxes");
  if (!Number.isInteger(limit) || limit < 1) throw call.fail("max_boxes must be 1 or more");
  const [batch = 1, second = 1, third = 1] = call.shape("scores");
  const coordinates = call.shape("boxes")[boxesFirst(call) ? 2 : 1];
  if (coordinates !== 4 && coordinates !== "?") {
    throw call.fail(`a box has 4 coordinates, not ${coordinates}`);
  }
  const indices = tensorType("int32", [batch, limit]);
  return boxesFirst(call)
    ? [
        tensorType(dataType, [batch, limit, 4]),
        tensorType(dataType, [batch, limit, third]),
        indices,
        tensorType("int32", [batch]),
      ]
    : [
        tensorType(dataType, [batch, 4, limit]),
        tensorType(dataType, [batch, second, limit]),
        indices,
      ];
}

/** Centre x, centre y, width, height. */
type Box = readonly [number, number, number, number];

/** Shared area by joint area. */
function overlap(a: Box, b: Box): number {
  const along = (centre: 0 | 1, size: 2 | 3): number =>
    Math.max(
      0,
      Math.min(a[centre] + a[size] / 2, b[centre] + b[size] / 2) -
        Math.max(a[centre] - a[size] / 2, b[centre] - b[size] / 2),
    );
  const shared = along(0, 2) * along(1, 3);
  return shared / (a[2] * a[3] + b[2] * b[3] - shared);
}

interface Candidate {
  readonly index: number;
  readonly box: Box;
  readonly scores: readonly number[];
  readonly score: number;
  readonly group: number;
}

/** The kept boxes of one batch, best first. Where none passes the threshold, the best one is kept. */
function suppress(
  candidates: readonly Candidate[],
  threshold: number,
  limit: number,
  scoreThreshold: number,
): readonly Candidate[] {
  const ordered = candidates.toSorted((a, b) => b.score - a.score || a.index - b.index);
  const kept: Candidate[] = [];
  for (const candidate of ordered) {
    if (kept.length === limit || !(candidate.score > scoreThreshold)) break;
    const hidden = kept.some(
      (other) => other.group === candidate.group && overlap(other.box, candidate.box) > threshold,
    );
    if (!hidden) kept.push(candidate);
  }
  return kept.length === 0 ? ordered.slice(0, 1) : kept;
}

function candidatesOf(call: OpCall, batch: number): readonly Candidate[] {
  const first = boxesFirst(call);
  const boxes = call.tensor("boxes");
  const scores = call.tensor("scores");
  const count = boxes.shape[first ? 1 : 2] ?? 0;
  const classes = scores.shape[first ? 2 : 1] ?? 1;
  const separate = call.bool("per_class_suppression");
  return Array.from({ length: count }, (_, index) => {
    const coordinate = (c: number): number =>
      boxes.data[first ? (batch * count + index) * 4 + c : (batch * 4 + c) * count + index] ?? 0;
    const own = Array.from(
      { length: classes },
      (__, c) =>
        scores.data[
          first ? (batch * count + index) * classes + c : (batch * classes + c) * count + index
        ] ?? 0,
    );
    const score = own.reduce((a, b) => Math.max(a, b), -Infinity);
    return {
      index,
      box: [coordinate(0), coordinate(1), coordinate(2), coordinate(3)],
      scores: own,
      score,
      group: separate ? own.indexOf(score) : 0,
    };
  });
}

function classifyTypes(call: OpCall): readonly MilType[] {
  const { type } = call.operand("classes");
  const element = type.kind === "list" ? type.element : undefined;
  if (element?.kind !== "tensor" || !["string", "int64"].includes(element.dataType)) {
    throw call.fail(`classes must be a list of strings or int64, not ${formatType(type)}`);
  }
  return [element, { kind: "dict", key: element, value: scalarType("fp64") }];
}

export const DETECTION = {
  non_maximum_suppression: defineOp({
    kind: "costly",
    parameters: {
      boxes: tensor(),
      scores: tensor(),
      iou_threshold: required("float"),
      score_threshold: { ...required("float"), optional: true },
      max_boxes: required("int"),
      per_class_suppression: optional("bool", false),
    },
    infer: suppressionTypes,
    // Boxes, scores and indices are padded with 0, 0 and -1.
    evaluate: (call) => {
      const first = boxesFirst(call);
      const scores = call.tensor("scores");
      const batch = scores.shape[0] ?? 1;
      const classes = scores.shape[first ? 2 : 1] ?? 1;
      const limit = call.int("max_boxes");
      const { dataType } = scores;
      const boxShape = first ? [batch, limit, 4] : [batch, 4, limit];
      const scoreShape = first ? [batch, limit, classes] : [batch, classes, limit];
      const boxes = hostTensor(dataType, boxShape);
      const kept = hostTensor(dataType, scoreShape);
      const indices = hostTensor("int32", [batch, limit]);
      const counts = hostTensor("int32", [batch]);
      indices.data.fill(-1);
      const threshold = call.float("iou_threshold");
      const scoreThreshold = first ? call.float("score_threshold") : -Infinity;
      for (let b = 0; b < batch; b++) {
        const selected = suppress(candidatesOf(call, b), threshold, limit, scoreThreshold);
        counts.data[b] = selected.length;
        selected.forEach((candidate, place) => {
          indices.data[b * limit + place] = candidate.index;
          candidate.box.forEach((value, c) => {
            boxes.data[first ? (b * limit + place) * 4 + c : (b * 4 + c) * limit + place] = value;
          });
          candidate.scores.forEach((value, c) => {
            const at = first
              ? (b * limit + place) * classes + c
              : (b * classes + c) * limit + place;
            kept.data[at] = value;
          });
        });
      }
      return first ? [boxes, kept, indices, counts] : [boxes, kept, indices];
    },
    flops: (call) => 10 * elementCount(call.staticShape("boxes")),
  }),

  classify: defineOp({
    kind: "movement",
    parameters: { probabilities: tensor("fp32"), classes: { ...tensor(), constant: true } },
    infer: classifyTypes,
  }),
} as const;
