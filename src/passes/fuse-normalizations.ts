import type { FunctionBuilder } from "../mil/builder.ts";
import { numericLiteral } from "../mil/literal.ts";
import { OpCall } from "../mil/op-call.ts";
import { opRow } from "../mil/ops/index.ts";
import type { Operand, Operation, Value } from "../mil/program.ts";
import { literalOf } from "../mil/program.ts";
import { sameShape, tensorType } from "../mil/types.ts";
import { bothWays, knownShape, operandOf, scalarConstant } from "../mil/match.ts";
import { rewriting } from "./rewrite.ts";
import type { RewriteContext } from "./rewrite.ts";

interface Reduced {
  readonly x: Operand;
  readonly axes: readonly number[];
}

/** The operand and axes of a reduction that keeps its axes. */
function reduced(
  operand: Operand | undefined,
  type: "reduce_mean" | "reduce_sum" | "reduce_max",
  { makerOf }: RewriteContext,
): Reduced | undefined {
  const maker = makerOf(operand, type);
  const row = opRow(type);
  const x = operandOf(maker, "x");
  if (maker === undefined || row === undefined || x === undefined) return undefined;
  const call = new OpCall(maker, row);
  const rank = knownShape(x)?.length;
  if (rank === undefined || !call.bool("keep_dims")) return undefined;
  return { x, axes: call.axes("axes", rank).toSorted((a, b) => a - b) };
}

/** exp(x - max(x)) / sum(exp(x - max(x))) along one axis. */
function softmax(operation: Operation, context: RewriteContext): Value | undefined {
  if (operation.type !== "real_div") return undefined;
  const x = operandOf(operation, "x");
  const sum = reduced(operandOf(operation, "y"), "reduce_sum", context);
  const exp = context.makerOf(x, "exp");
  if (x === undefined || sum?.x !== x || sum.axes.length !== 1) return undefined;
  if (context.readCount(x) !== 2) return undefined;
  const shifted = operandOf(exp, "x");
  const difference = context.makerOf(shifted, "sub");
  const source = operandOf(difference, "x");
  const maximum = reduced(operandOf(difference, "y"), "reduce_max", context);
  if (source === undefined || maximum?.x !== source) return undefined;
  const [axis] = sum.axes;
  if (axis === undefined || !sameShape(maximum.axes, sum.axes)) return undefined;
  return context.emit.op("softmax", { x: source, axis });
}

/** 1 / sqrt(v + epsilon) in its spellings: v and epsilon. */
function inverseDeviation(
  operand: Operand,
  context: RewriteContext,
): readonly [Operand, number] | undefined {
  const { makerOf } = context;
  const rsqrt = makerOf(operand, "rsqrt");
  const inside = operandOf(rsqrt, "x");
  if (rsqrt === undefined || inside === undefined) return undefined;
  const row = opRow("rsqrt");
  const own = row === undefined ? 0 : new OpCall(rsqrt, row).float("epsilon");
  return plusEpsilon(inside, own, context);
}

function plusEpsilon(
  operand: Operand,
  own: number,
  { makerOf }: RewriteContext,
): readonly [Operand, number] {
  for (const [v, epsilon] of bothWays(makerOf(operand, "add"))) {
    const number = scalarConstant(epsilon);
    if (number !== undefined) return [v, number + own];
  }
  return [operand, own];
}

/** What a centered tensor is divided by, as variance and epsilon. */
function deviationOf(operation: Operation, context: RewriteContext) {
  if (operation.type === "mul") {
    for (const [centered, factor] of bothWays(operation)) {
      const deviation = inverseDeviation(factor, context);
      if (deviation !== undefined && context.makerOf(centered, "sub") !== undefined)
        return { centered, variance: deviation[0], epsilon: deviation[1] };
    }
  }
  if (operation.type === "real_div") {
    const centered = operandOf(operation, "x");
    const inside = operandOf(context.makerOf(operandOf(operation, "y"), "sqrt"), "x");
    if (centered === undefined || inside === undefined) return undefined;
    const [variance, epsilon] = plusEpsilon(inside, 0, context);
    return { centered, variance, epsilon };
  }
  return undefined;
}

/** (x - mean(x)) / sqrt(mean((x - mean(x))^2) + epsilon) */
function layerNorm(operation: Operation, context: RewriteContext): Value | undefined {
  const parts = deviationOf(operation, context);
  if (parts === undefined) return undefined;
  const { centered, variance, epsilon } = parts;
  const difference = context.makerOf(centered, "sub");
  const x = operandOf(difference, "x");
  const mean = reduced(operandOf(difference, "y"), "reduce_mean", context);
  const meanSquare = reduced(variance, "reduce_mean", context);
  if (x === undefined || mean?.x !== x || meanSquare === undefined) return undefined;
  if (!sameShape(mean.axes, meanSquare.axes) || !(epsilon > 0)) return undefined;
  const square = context.makerOf(meanSquare.x);
  const isSquare =
    operandOf(square, "x") === centered &&
    (square?.type === "square" || (square?.type === "mul" && operandOf(square, "y") === centered));
  // All else that reads the difference would keep it alive, and nothing would be saved.
  if (!isSquare || context.readCount(centered) !== (square.type === "square" ? 2 : 3))
    return undefined;
  return context.emit.op("layer_norm", { x, axes: mean.axes, epsilon });
}

/** A constant that runs along the normalized axes only, in the shape layer_norm takes. */
function alongAxes(
  emit: FunctionBuilder,
  operand: Operand,
  rank: number,
  axes: readonly number[],
  sizes: readonly number[],
): Value | undefined {
  const literal = literalOf(operand);
  const shape = knownShape(operand);
  if (literal?.data.kind !== "numbers" || shape === undefined) return undefined;
  const full = [...Array.from({ length: rank - shape.length }, () => 1), ...shape];
  const fits = full.every((size, axis) => size === (axes.includes(axis) ? sizes[axis] : 1));
  if (!fits || literal.type.kind !== "tensor") return undefined;
  const wanted = axes.map((axis) => sizes[axis] ?? 1);
  return emit.constant(
    numericLiteral(tensorType(literal.type.dataType, wanted), literal.data.numbers),
  );
}

/** A constant scale, then a constant offset, behind a layer_norm that has none yet. */
function scaleAndOffset(operation: Operation, context: RewriteContext): Value | undefined {
  const name = operation.type === "mul" ? "gamma" : operation.type === "add" ? "beta" : undefined;
  if (name === undefined) return undefined;
  for (const [x, numbers] of bothWays(operation)) {
    const norm = context.makerOf(x, "layer_norm");
    const row = opRow("layer_norm");
    const sizes = knownShape(x);
    if (norm === undefined || row === undefined || sizes === undefined) continue;
    if (norm.inputs.has("beta") || (name === "gamma" && norm.inputs.has("gamma"))) continue;
    if (!context.isReadOnce(x)) continue;
    const axes = new OpCall(norm, row).axes("axes", sizes.length).toSorted((a, b) => a - b);
    const along = alongAxes(context.emit, numbers, sizes.length, axes, sizes);
    if (along === undefined) continue;
    const [value] = context.emit.append({
      ...norm,
      inputs: new Map([...norm.inputs, [name, along]]),
    });
    return value;
  }
  return undefined;
}

/** Softmax and layer normalization, written out, become the ops that engines have kernels for. */
export const fuseNormalizations = rewriting(
  "fuse normalizations",
  (operation, context) =>
    softmax(operation, context) ??
    layerNorm(operation, context) ??
    scaleAndOffset(operation, context),
);
