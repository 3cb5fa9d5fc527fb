import { opRow } from "../mil/ops/index.ts";
import { numericLiteral } from "../mil/literal.ts";
import { literalOf } from "../mil/program.ts";
import type { MilFunction, Operand, Operation, Value } from "../mil/program.ts";
import { isFloat } from "../mil/types.ts";
import { operandOf, scalarConstant } from "../mil/match.ts";
import { rewriting, rewritingOnce } from "../passes/rewrite.ts";
import type { Pass, RewriteContext } from "../passes/rewrite.ts";
import { sizeOf } from "./magnitudes.ts";
import type { OperandScale, ProductRange } from "./ports.ts";

export const OPERAND_SCALINGS = ["auto", "off"] as const;
export type OperandScaling = (typeof OPERAND_SCALINGS)[number];

/**
 * Below 2^-6 the grid's rounding of each product, 2^-17.4 in the mean, is more than that of the result to fp16,
 * 2^-12 of it, and products lost in the gap around 0 add to it.
 */
const SMALLEST_PRODUCT = -6;
/** What small products are brought to. */
const WANTED_PRODUCT = -3;
/** Sums to be expected stay 2^3 below the ceiling of 2^15: weights and activations grow while a model learns. */
const LARGEST_SUM = 12;
/**
 * The same for sums of gradients. Their largest grew to 2^7 times what is expected at the start in 300 steps of the
 * nanogpt-char preset, in attention (docs/numerics.md).
 */
const LARGEST_GRADIENT_SUM = 8;
/** Most gradients shrink while a model learns, and the loss scale grows later than they shrink. */
const GRADIENT_DECAY = 2;
/** fp16 holds 2^15; operands are scaled to 2^10 at most, five deviations below it. */
const LARGEST_OPERAND = 10;

/** The power of two by which a product is made larger or, below 0, smaller. */
export function chooseExponent({ product, sum, isGradient }: ProductRange): number {
  if (product === -Infinity) return 0;
  if (sum > LARGEST_SUM + 1) return Math.floor(LARGEST_SUM - sum);
  const least = isGradient ? product - GRADIENT_DECAY : product;
  if (least >= SMALLEST_PRODUCT) return 0;
  const room = (isGradient ? LARGEST_GRADIENT_SUM : LARGEST_SUM) - sum;
  const exponent = Math.floor(Math.min(WANTED_PRODUCT - least, room, LARGEST_OPERAND));
  // A factor of 2 is not worth two multiplications.
  return exponent < 2 ? 0 : exponent;
}

/** The scales of a function whose products have these ranges, in the order of its ops. */
export function chooseScales(
  fn: MilFunction,
  ranges: ReadonlyMap<string, ProductRange>,
): readonly OperandScale[] {
  return fn.operations.flatMap((operation): readonly OperandScale[] => {
    const [output] = operation.outputs;
    const range = output === undefined ? undefined : ranges.get(output.name);
    const names = opRow(operation.type)?.product?.operands;
    if (output === undefined || range === undefined || names === undefined) return [];
    // A bias would have to be scaled as well.
    if (operation.inputs.has("bias")) return [];
    const exponent = chooseExponent(range);
    if (exponent === 0) return [];
    return [{ product: output.name, operand: cheaper(operation, names), exponent, range }];
  });
}

/** The operand that costs less to multiply: a constant, else the smaller one. */
function cheaper(
  operation: Operation,
  [first, second]: readonly [string, string],
): OperandScale["operand"] {
  const cost = (name: string): number => {
    const operand = operandOf(operation, name);
    if (operand === undefined) return Infinity;
    return literalOf(operand) === undefined ? sizeOf(operand) : 0;
  };
  const name = cost(first) < cost(second) ? first : second;
  return name === "x" || name === "y" ? name : "weight";
}

/** Writes scales into a function. The same numbers come out but for what the grid loses. */
export function applyScales(fn: MilFunction, scales: readonly OperandScale[]): MilFunction {
  if (scales.length === 0) return fn;
  const byProduct = new Map(scales.map((scale) => [scale.product, scale]));
  const scaled = rewritingOnce("scale operands", () => {
    const made = new Map<string, Value>();
    return (operation, context) => {
      const scale = byProduct.get(operation.outputs[0]?.name ?? "");
      const operand = operandOf(operation, scale?.operand ?? "");
      if (scale === undefined || operand === undefined) return undefined;
      const inputs = new Map(operation.inputs);
      inputs.set(scale.operand, multiplied(operand, scale.exponent, context, made));
      const [result] = context.emit.append({ ...operation, inputs });
      if (result === undefined) return undefined;
      return context.emit.op("mul", { x: result, y: 2 ** -scale.exponent });
    };
  })(fn);
  return joinFactors(scaled);
}

/** An operand times a power of two, made once for all products that need it. */
function multiplied(
  operand: Operand,
  exponent: number,
  { emit }: RewriteContext,
  made: Map<string, Value>,
): Value {
  const key = operand.kind === "value" ? `${operand.name} ${exponent}` : undefined;
  const known = key === undefined ? undefined : made.get(key);
  if (known !== undefined) return known;
  const literal = literalOf(operand);
  const value =
    literal?.type.kind === "tensor" &&
    isFloat(literal.type.dataType) &&
    literal.data.kind === "numbers"
      ? emit.constant(
          numericLiteral(
            literal.type,
            Float32Array.from(literal.data.numbers as Iterable<number>, (n) => n * 2 ** exponent),
          ),
        )
      : emit.op("mul", { x: operand, y: 2 ** exponent });
  if (key !== undefined) made.set(key, value);
  return value;
}

/** Factors that are ordinary fp16 numbers. */
function isOrdinary(factor: number): boolean {
  const magnitude = Math.abs(factor);
  return magnitude >= 2 ** -14 && magnitude <= 2 ** 15;
}

/** The number a `mul` multiplies with, and what it multiplies. */
function scalarFactor(
  operation: Operation | undefined,
): { readonly x: Operand; readonly factor: number } | undefined {
  if (operation?.type !== "mul") return undefined;
  for (const [one, other] of [
    ["x", "y"],
    ["y", "x"],
  ] as const) {
    const x = operandOf(operation, one);
    const factor = scalarConstant(operandOf(operation, other));
    if (x?.kind === "value" && factor !== undefined && literalOf(x) === undefined)
      return { x, factor };
  }
  return undefined;
}

/** x * a * b as x * (a b), where one of the two is a power of two and nobody else reads x * a. */
const joinFactors: Pass = rewriting("join factors", (operation, context) => {
  const outer = scalarFactor(operation);
  const inner = outer === undefined ? undefined : scalarFactor(context.makerOf(outer.x));
  if (outer === undefined || inner === undefined || !context.isReadOnce(outer.x)) return undefined;
  const isExact = [outer.factor, inner.factor].some((factor) =>
    Number.isInteger(Math.log2(Math.abs(factor))),
  );
  const factor = outer.factor * inner.factor;
  if (!isExact || !isOrdinary(factor)) return undefined;
  return factor === 1 && inner.x.kind === "value"
    ? inner.x
    : context.emit.op("mul", { x: inner.x, y: factor });
});
