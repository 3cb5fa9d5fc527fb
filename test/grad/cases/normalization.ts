import type { OpName } from "../../../src/mil/ops/index.ts";
import type { DrawCase } from "./case.ts";

export const NORMALIZATION_CASES: Partial<Record<OpName, DrawCase>> = {
  layer_norm: (c) => {
    const shape = c.shape(1, 3, 4);
    const axes = c.axes(shape.length);
    const sizes = axes
      .map((axis) => (axis < 0 ? axis + shape.length : axis))
      .toSorted((a, b) => a - b)
      .map((axis) => shape[axis] ?? 1);
    const gamma = c.chance(0.7) ? c.float("gamma", sizes) : undefined;
    const beta = c.chance(0.7) ? c.float("beta", sizes) : undefined;
    return [c.f.op("layer_norm", { x: c.float("x", shape), axes, gamma, beta, epsilon: 0.1 })];
  },
  batch_norm: (c) => {
    const shape = c.shape(3, 4);
    const channels = [shape[1] ?? 1];
    const gamma = c.chance(0.7) ? c.float("gamma", channels) : undefined;
    const beta = c.chance(0.7) ? c.float("beta", channels) : undefined;
    const mean = c.float("mean", channels);
    const variance = c.float("variance", channels, 0.3, 2);
    return [c.f.op("batch_norm", { x: c.float("x", shape), mean, variance, gamma, beta })];
  },
  instance_norm: (c) => {
    const shape = c.shape(3, 4);
    const channels = [shape[1] ?? 1];
    const gamma = c.chance(0.7) ? c.float("gamma", channels) : undefined;
    const beta = c.chance(0.7) ? c.float("beta", channels) : undefined;
    return [c.f.op("instance_norm", { x: c.float("x", shape), gamma, beta, epsilon: 0.1 })];
  },
  l2_norm: (c) => [c.f.op("l2_norm", { x: c.float("x", c.shape(3, 4)), epsilon: 0.1 })],
  local_response_norm: (c) => {
    const x = c.float("x", [c.between(1, 2), c.between(1, 5), c.between(1, 2)]);
    return [
      c.f.op("local_response_norm", { x, size: c.between(1, 4), alpha: 0.5, beta: 0.75, k: 1.5 }),
    ];
  },
};
