import { plainOperation } from "../mil/program.ts";
import type { Operand, Operation, Value } from "../mil/program.ts";
import { sameType } from "../mil/types.ts";
import { bothWays, operandOf, scalarConstant } from "../mil/match.ts";
import { rewriting } from "./rewrite.ts";
import type { RewriteContext } from "./rewrite.ts";

/** A product taken apart: its constant factor and its other factors. */
interface Product {
  readonly scale: number;
  readonly factors: readonly Operand[];
}

/** Factors of nested products, as far as they serve this product alone. */
function productOf(operation: Operation | undefined, context: RewriteContext): Product {
  let scale = 1;
  const factors: Operand[] = [];
  const visit = (operand: Operand): void => {
    const number = scalarConstant(operand);
    if (number !== undefined) {
      scale *= number;
      return;
    }
    const maker = context.makerOf(operand);
    if (maker !== undefined && context.isReadOnce(operand)) {
      if (maker.type === "mul") {
        for (const name of ["x", "y"]) visitNamed(maker, name);
        return;
      }
      const divisor = scalarConstant(operandOf(maker, "y"));
      if (maker.type === "real_div" && divisor !== undefined && divisor !== 0) {
        scale /= divisor;
        visitNamed(maker, "x");
        return;
      }
    }
    factors.push(operand);
  };
  const visitNamed = (from: Operation, name: string): void => {
    const operand = operandOf(from, name);
    if (operand !== undefined) visit(operand);
  };
  if (operation?.type === "mul") for (const name of ["x", "y"]) visitNamed(operation, name);
  return { scale, factors };
}

/** The scale and the single factor of an operand that is x times a number. */
function scaledOperand(operand: Operand, context: RewriteContext): readonly [Operand, number] {
  const maker = context.makerOf(operand);
  if (maker?.type === "mul" || maker?.type === "real_div") {
    const wrapped: Product = productOf(
      { ...maker, type: "mul", inputs: new Map([["x", operand]]) },
      context,
    );
    const [only, ...others] = wrapped.factors;
    if (only !== undefined && others.length === 0) return [only, wrapped.scale];
  }
  return [operand, 1];
}

const near = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-3 * Math.abs(b);

/** `1 + f(u)`: the operand of f. */
function onePlus(type: "erf" | "tanh", operand: Operand, context: RewriteContext) {
  if (!context.isReadOnce(operand)) return undefined;
  for (const [x, one] of bothWays(context.makerOf(operand, "add"))) {
    if (scalarConstant(one) !== 1 || !context.isReadOnce(x)) continue;
    const inner = operandOf(context.makerOf(x, type), "x");
    if (inner !== undefined) return inner;
  }
  return undefined;
}

/** Whether an operand is x^3 times a factor; the factor. */
function cubeFactor(operand: Operand, x: Operand, context: RewriteContext): number | undefined {
  const { scale, factors } = productOf(plainOperation("mul", { x: operand }, []), context);
  let exponent = 0;
  for (const factor of factors) {
    const maker = context.makerOf(factor);
    if (factor === x) exponent += 1;
    else if (maker?.type === "square" && operandOf(maker, "x") === x) exponent += 2;
    else if (maker?.type === "mul" && operandOf(maker, "x") === x && operandOf(maker, "y") === x)
      exponent += 2;
    else if (maker?.type === "pow" && operandOf(maker, "x") === x)
      exponent += scalarConstant(operandOf(maker, "y")) ?? Number.NaN;
    else return undefined;
  }
  return exponent === 3 ? scale : undefined;
}

/** Whether u is sqrt(2 / pi) (x + 0.044715 x^3). */
function isGeluTanhArgument(u: Operand, x: Operand, context: RewriteContext): boolean {
  const k = Math.sqrt(2 / Math.PI);
  const [sum, scale] = scaledOperand(u, context);
  if (!context.isReadOnce(sum) || !near(scale, k)) return false;
  for (const [linear, cubic] of bothWays(context.makerOf(sum, "add"))) {
    const factor = linear === x ? cubeFactor(cubic, x, context) : undefined;
    if (factor !== undefined && near(factor, 0.044715)) return true;
  }
  return false;
}

function fused(operation: Operation, context: RewriteContext): Value | undefined {
  const [result] = operation.outputs;
  const { scale, factors } = productOf(operation, context);
  const [first, second, ...others] = factors;
  if (first === undefined || second === undefined || others.length > 0 || result === undefined)
    return undefined;
  for (const [x, factor] of [
    [first, second],
    [second, first],
  ] as const) {
    if (!sameType(x.type, result.type)) continue;
    if (scale === 1 && context.isReadOnce(factor)) {
      const inner = operandOf(context.makerOf(factor, "sigmoid"), "x");
      if (inner === x) return context.emit.op("silu", { x });
    }
    if (scale !== 0.5) continue;
    const erf = onePlus("erf", factor, context);
    if (erf !== undefined) {
      const [inner, stretch] = scaledOperand(erf, context);
      if (inner === x && near(stretch, Math.SQRT1_2))
        return context.emit.op("gelu", { x, mode: "EXACT" });
    }
    const tanh = onePlus("tanh", factor, context);
    if (tanh !== undefined && isGeluTanhArgument(tanh, x, context))
      return context.emit.op("gelu", { x, mode: "TANH_APPROXIMATION" });
  }
  return undefined;
}

/** x sigmoid(x) and both forms of gelu, written out, become the ops that engines have kernels for. */
export const fuseActivations = rewriting("fuse activations", (operation, context) =>
  operation.type === "mul" ? fused(operation, context) : undefined,
);
