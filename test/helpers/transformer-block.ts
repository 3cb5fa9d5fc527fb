import { FunctionBuilder, shaped } from "../../src/mil/builder.ts";
import { tensorLiteral } from "../../src/mil/literal.ts";
import type { MilFunction, Value } from "../../src/mil/program.ts";

export interface BlockSizes {
  readonly batch: number;
  readonly rows: number;
  readonly heads: number;
  readonly headSize: number;
  readonly inner: number;
}

export const SMALL_BLOCK: BlockSizes = { batch: 2, rows: 3, heads: 2, headSize: 4, inner: 6 };

export const BLOCK_WEIGHTS = [
  "attention_norm",
  "query_weight",
  "key_weight",
  "value_weight",
  "output_weight",
  "mlp_norm",
  "gate_weight",
  "up_weight",
  "down_weight",
] as const;

/** A pre-norm transformer block with rotary positions and a gated MLP: hidden [B*S, C] to hidden_out [B*S, C]. */
export function transformerBlock(sizes: BlockSizes = SMALL_BLOCK): MilFunction {
  const { batch: B, rows: S, heads: H, headSize: D, inner } = sizes;
  const C = H * D;
  const f = new FunctionBuilder("block");
  const hidden = f.input("hidden", shaped("fp32", B * S, C));
  const matrices: Readonly<Record<string, readonly [number, number]>> = {
    gate_weight: [inner, C],
    up_weight: [inner, C],
    down_weight: [C, inner],
  };
  const weights = new Map<string, Value>();
  for (const name of BLOCK_WEIGHTS) {
    const shape = name.endsWith("_norm") ? [C] : (matrices[name] ?? [C, C]);
    weights.set(name, f.input(name, shaped("fp32", ...shape)));
  }
  const weight = (name: (typeof BLOCK_WEIGHTS)[number]): Value => {
    const value = weights.get(name);
    if (value === undefined) throw new RangeError(name);
    return value;
  };
  const norm = (x: Value, name: "attention_norm" | "mlp_norm"): Value => {
    const mean = f.op("reduce_mean", { x: f.op("mul", { x, y: x }), axes: [1], keep_dims: true });
    const scale = f.op("rsqrt", { x: mean, epsilon: 1e-5 });
    return f.op("mul", { x: f.op("mul", { x, y: scale }), y: weight(name) }, { name });
  };
  const linear = (x: Value, y: Value): Value => f.op("matmul", { x, y, transpose_y: true });
  const split = (x: Value): Value =>
    f.op("transpose", { x: f.op("reshape", { x, shape: [B, S, H, D] }), perm: [0, 2, 1, 3] });
  const angles = Array.from(
    { length: S * D },
    (_, i) => Math.floor(i / D) * 10 ** -((i % D) % (D / 2)),
  );
  const cosines = f.constant(tensorLiteral("fp32", [S, D], angles.map(Math.cos)), "cosines");
  const sines = f.constant(tensorLiteral("fp32", [S, D], angles.map(Math.sin)), "sines");
  const rotate = (x: Value): Value => {
    const [first, second] = f.many("split", { x, num_splits: 2, axis: 3 });
    if (first === undefined || second === undefined) throw new RangeError("two halves");
    const turned = f.op("concat", { values: [f.op("mul", { x: second, y: -1 }), first], axis: 3 });
    return f.op("add", {
      x: f.op("mul", { x, y: cosines }),
      y: f.op("mul", { x: turned, y: sines }),
    });
  };
  const normal = norm(hidden, "attention_norm");
  const query = rotate(split(linear(normal, weight("query_weight"))));
  const key = rotate(split(linear(normal, weight("key_weight"))));
  const value = split(linear(normal, weight("value_weight")));
  const scores = f.op("matmul", { x: query, y: key, transpose_y: true });
  const hiddenScores = Array.from({ length: S * S }, (_, i) =>
    i % S > Math.floor(i / S) ? -1e9 : 0,
  );
  const mask = f.constant(tensorLiteral("fp32", [S, S], hiddenScores), "mask");
  const masked = f.op("add", { x: f.op("mul", { x: scores, y: D ** -0.5 }), y: mask });
  const attention = f.op("softmax", { x: masked, axis: -1 }, { name: "attention" });
  const mixed = f.op("matmul", { x: attention, y: value });
  const rows = f.op("reshape", {
    x: f.op("transpose", { x: mixed, perm: [0, 2, 1, 3] }),
    shape: [B * S, C],
  });
  const middle = f.op("add", { x: hidden, y: linear(rows, weight("output_weight")) });
  const ready = norm(middle, "mlp_norm");
  const gate = f.op("silu", { x: linear(ready, weight("gate_weight")) });
  const gated = f.op("mul", { x: gate, y: linear(ready, weight("up_weight")) });
  const out = f.op("add", { x: middle, y: linear(gated, weight("down_weight")) });
  return f.finish({ hidden_out: out });
}
