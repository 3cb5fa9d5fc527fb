import { OpCall } from "../mil/op-call.ts";
import { opRow } from "../mil/ops/index.ts";
import type { OpName } from "../mil/ops/index.ts";
import { isOperandList, literalOf } from "../mil/program.ts";
import type { Literal, MilFunction, Operand, Operation, Value } from "../mil/program.ts";
import { elementCount, staticShape } from "../mil/types.ts";
import { knownShape, operandOf, scalarConstant } from "../mil/match.ts";

/** How large the elements of a tensor are. Numbers are base-2 logarithms. */
export interface Magnitude {
  /** Of the root mean square; -Infinity for zeros. */
  readonly rms: number;
  /** No element is larger in magnitude; Infinity where no such number is known. */
  readonly bound: number;
  /** No element is negative: sums grow with the number of terms, not with its root. */
  readonly positive: boolean;
  /** It is a multiple of the loss scale, a gradient on its way: it shrinks while the model learns. */
  readonly isGradient: boolean;
  /** One element of 1 a row, zeros elsewhere. */
  readonly oneHot: boolean;
  /**
   * What a row of probabilities, or one with one 1, has been multiplied with, a number a row; -Infinity where it is no
   * such row. The commonest tokens are likely in all rows: where rows are summed, their parts add up.
   */
  readonly ofRows: number;
}

export function magnitudeOf(rms: number, rest: Partial<Omit<Magnitude, "rms">> = {}): Magnitude {
  return {
    ...{ rms, bound: Infinity, positive: false, isGradient: false, oneHot: false },
    ...{ ofRows: -Infinity, ...rest },
  };
}

/** Rows of `depth` elements with one 1 in each. */
export function oneHotMagnitude(depth: number): Magnitude {
  return magnitudeOf(-Math.log2(depth) / 2, { bound: 0, positive: true, oneHot: true, ofRows: 0 });
}

/** Masks and tables are read by every layer: their numbers are gone through once. */
const literalMagnitudes = new WeakMap<Literal, Magnitude>();

export function literalMagnitude(literal: Literal | undefined): Magnitude | undefined {
  if (literal?.data.kind !== "numbers" || literal.data.numbers.length === 0) return undefined;
  const known = literalMagnitudes.get(literal);
  if (known !== undefined) return known;
  let squares = 0;
  let largest = 0;
  let positive = true;
  const { numbers } = literal.data;
  for (let index = 0; index < numbers.length; index++) {
    const number = Number(numbers[index]);
    squares += number * number;
    largest = Math.max(largest, Math.abs(number));
    positive &&= number >= 0;
  }
  const rms = Math.log2(squares / numbers.length) / 2;
  const magnitude = magnitudeOf(rms, { bound: Math.log2(largest), positive });
  literalMagnitudes.set(literal, magnitude);
  return magnitude;
}

interface Site {
  readonly operation: Operation;
  readonly call: OpCall;
  readonly makerOf: (operand: Operand | undefined) => Operation | undefined;
  /** Nothing where an operand is missing or its magnitude unknown. */
  readonly of: (name: string) => Magnitude | undefined;
}

/** The magnitude of an op's results; nothing where it cannot be told. */
type MagnitudeRule = (site: Site) => Magnitude | undefined;

/** Elements of an operand, over its `axes` alone where the op has some. */
function termCount({ operation, call }: Site): number {
  const shape = knownShape(operandOf(operation, "x")) ?? [];
  return elementCount(call.axes("axes", shape.length).map((axis) => shape[axis] ?? 1));
}

/** log2 of sqrt(4^a + 4^b): independent terms add their squares. */
function added(a: number, b: number): number {
  const [small, large] = a < b ? [a, b] : [b, a];
  return small === -Infinity ? large : large + Math.log2(1 + 4 ** (small - large)) / 2;
}

const same: MagnitudeRule = ({ of }) => of("x");

const sum: MagnitudeRule = ({ of, operation }) => {
  const x = of("x");
  const y = of("y");
  if (x === undefined || y === undefined) return undefined;
  return magnitudeOf(added(x.rms, y.rms), {
    bound: Math.max(x.bound, y.bound) + 1,
    positive: operation.type === "add" && x.positive && y.positive,
    isGradient: x.isGradient || y.isGradient,
    ofRows: Math.max(x.ofRows, y.ofRows),
  });
};

/** One number, or one for each row of the other operand. */
function isOneARow(operand: Operand | undefined): boolean {
  return (knownShape(operand)?.at(-1) ?? 1) === 1;
}

const product: MagnitudeRule = ({ of, operation }) => {
  const x = of("x");
  const y = of("y");
  if (x === undefined || y === undefined) return undefined;
  const isSquare = operandOf(operation, "x") === operandOf(operation, "y");
  return magnitudeOf(x.rms + y.rms, {
    bound: x.bound + y.bound,
    positive: isSquare || (x.positive && y.positive),
    isGradient: x.isGradient || y.isGradient,
    ofRows: Math.max(
      isOneARow(operandOf(operation, "y")) ? x.ofRows + y.rms : -Infinity,
      isOneARow(operandOf(operation, "x")) ? y.ofRows + x.rms : -Infinity,
    ),
  });
};

const quotient: MagnitudeRule = ({ of }) => {
  const x = of("x");
  const y = of("y");
  if (x === undefined || y === undefined || y.rms === -Infinity) return undefined;
  const positive = x.positive && y.positive;
  return magnitudeOf(x.rms - y.rms, { positive, isGradient: x.isGradient });
};

/** How many terms count as one in a sum of `count`: all of them, or their root where signs differ. */
function growth(count: number, positive: boolean): number {
  return Math.log2(Math.max(1, count)) * (positive ? 1 : 0.5);
}

const total: MagnitudeRule = (site) => {
  const x = site.of("x");
  if (x === undefined) return undefined;
  const count = termCount(site);
  return {
    ...x,
    oneHot: false,
    ofRows: -Infinity,
    rms: x.rms + growth(count, x.positive),
    bound: x.bound + Math.log2(count),
  };
};

const mean: MagnitudeRule = (site) => {
  const x = site.of("x");
  if (x === undefined) return undefined;
  const count = termCount(site);
  return {
    ...x,
    oneHot: false,
    ofRows: -Infinity,
    rms: x.rms + growth(count, x.positive) - Math.log2(count),
  };
};

const sumOfSquares: MagnitudeRule = (site) => {
  const x = site.of("x");
  if (x === undefined) return undefined;
  const count = Math.log2(termCount(site));
  return magnitudeOf(2 * x.rms + count, {
    bound: 2 * x.bound + count,
    positive: true,
    isGradient: x.isGradient,
  });
};

const largest: MagnitudeRule = ({ of }) => {
  const x = of("x");
  // Three deviations, which is what the largest of some hundred normal numbers has.
  return x === undefined
    ? undefined
    : { ...x, oneHot: false, ofRows: -Infinity, rms: Math.min(x.bound, x.rms + 1.6) };
};

/** Normal numbers through a function that is about x or x/2 near 0 and lets half of the rest pass. */
const gated: MagnitudeRule = ({ of }) => {
  const x = of("x");
  return x === undefined ? undefined : magnitudeOf(x.rms - 1, { bound: x.bound });
};

/** Larger deviations than this are no gates any more, but scores that nobody shifted. */
const WIDEST_GATE = 1;

/**
 * Of numbers of which the largest, or that less a constant, has been taken away, as a softmax has them: how small the
 * others are cancels there. Of others, normal numbers around 0: e^(s^2) for a deviation of s.
 */
const exponential: MagnitudeRule = ({ operation, makerOf, of }) => {
  const difference = makerOf(operandOf(operation, "x"));
  const x = of("x");
  if (difference?.type !== "sub" && x !== undefined) {
    const rms = 4 ** Math.min(x.rms, WIDEST_GATE) / Math.LN2;
    return magnitudeOf(rms, { positive: true });
  }
  const largest = makerOf(operandOf(difference, "y"));
  const raised = largest?.type === "sub" ? scalarConstant(operandOf(largest, "y")) : undefined;
  return magnitudeOf(-3 + (raised ?? 0) / Math.LN2, { positive: true });
};

const softmax: MagnitudeRule = ({ operation, call }) => {
  const shape = knownShape(operandOf(operation, "x"));
  const size = shape?.[call.axis("axis", shape.length)];
  if (size === undefined) return undefined;
  return magnitudeOf(0.5 - Math.log2(size), { bound: 0, positive: true, ofRows: 0 });
};

const matrixProduct: MagnitudeRule = (site) => productOf(site.operation, site.of)?.result;

/** What a matmul, linear or conv multiplies and sums. */
export interface ProductMagnitude {
  /** log2 of the root mean square of the products that are not exactly 0. */
  readonly product: number;
  /** log2 of the largest sum that is to be expected: eight deviations, or what bounds give. */
  readonly sum: number;
  readonly isGradient: boolean;
  readonly result: Magnitude;
}

/** log2 of how many deviations the largest of a matrix's sums is away from 0. */
const EXTREME = 3;
/** log2 of the share of the commonest token: spaces among characters, "a" among words. */
const COMMONEST = -3;
/** log2 of how much larger than the root mean square the mean of a column may be over all rows. */
const ALIKE = 2;

/** Whether a matmul sums over the rows of an operand, which is over the tokens of a gradient. */
function sumsRows(operation: Operation, side: "x" | "y"): boolean {
  const isTransposed = scalarConstant(operandOf(operation, `transpose_${side}`)) === 1;
  return operation.type === "matmul" && isTransposed === (side === "x");
}

export function productOf(
  operation: Operation,
  of: (name: string) => Magnitude | undefined,
): ProductMagnitude | undefined {
  const row = opRow(operation.type);
  if (row?.product === undefined) return undefined;
  const names = row.product.operands;
  const depth = row.product.terms(new OpCall(operation, row));
  if (depth === "?") return undefined;
  const x = of(names[0]);
  const y = of(names[1]);
  if (x === undefined || y === undefined) return undefined;
  const positive = x.positive || y.positive;
  const isGradient = x.isGradient || y.isGradient;
  const rms = x.rms + y.rms + growth(depth, x.positive && y.positive);
  // A row of probabilities, or with one 1 in it, is at most as large as the other side's largest element.
  const expected = x.rms + y.rms + growth(depth, positive) + EXTREME;
  const alike = Math.max(
    x.isGradient && sumsRows(operation, "x") ? x.ofRows + y.rms : -Infinity,
    y.isGradient && sumsRows(operation, "y") ? y.ofRows + x.rms : -Infinity,
  );
  const largest = Math.max(expected, alike + Math.log2(depth) + COMMONEST + ALIKE);
  const bound = x.bound + y.bound + Math.log2(depth);
  const sparse = (side: Magnitude): number => (side.oneHot ? 0 : side.rms);
  return {
    product: sparse(x) + sparse(y),
    sum: Math.min(largest, bound),
    isGradient,
    result: magnitudeOf(rms, { bound, positive: x.positive && y.positive, isGradient }),
  };
}

const joined: MagnitudeRule = ({ operation, of }) => {
  const values = operation.inputs.get("values");
  if (values === undefined || !isOperandList(values)) return undefined;
  let whole: Magnitude | undefined;
  for (let index = 0; index < values.length; index++) {
    const part = of(`values ${index}`);
    if (part === undefined) return undefined;
    whole =
      whole === undefined
        ? { ...part, oneHot: false }
        : {
            rms: Math.max(whole.rms, part.rms),
            bound: Math.max(whole.bound, part.bound),
            positive: whole.positive && part.positive,
            isGradient: whole.isGradient || part.isGradient,
            oneHot: false,
            ofRows: Math.max(whole.ofRows, part.ofRows),
          };
  }
  return whole;
};

/** Results between -1 and 1 that are of the size of 1. */
const bounded =
  (positive: boolean): MagnitudeRule =>
  () =>
    magnitudeOf(-1, { bound: 0, positive });

/** What each op does to magnitudes. An op without a row gives a result of unknown magnitude. */
const MAGNITUDE_RULES: Readonly<Partial<Record<OpName, MagnitudeRule>>> = {
  add: sum,
  sub: sum,
  mul: product,
  real_div: quotient,
  maximum: ({ of }) => {
    const x = of("x");
    const y = of("y");
    if (x === undefined || y === undefined) return undefined;
    return { ...x, rms: Math.max(x.rms, y.rms), positive: x.positive || y.positive, oneHot: false };
  },
  minimum: same,
  abs: ({ of }) => {
    const x = of("x");
    return x === undefined ? undefined : { ...x, positive: true };
  },
  square: ({ of }) => {
    const x = of("x");
    return x === undefined
      ? undefined
      : magnitudeOf(2 * x.rms, { bound: 2 * x.bound, positive: true, isGradient: x.isGradient });
  },
  sqrt: ({ of }) => {
    const x = of("x");
    return x === undefined ? undefined : magnitudeOf(x.rms / 2, { positive: true });
  },
  pow: ({ of, operation }) => {
    const x = of("x");
    const power = scalarConstant(operandOf(operation, "y"));
    if (x === undefined || power === undefined || x.rms === -Infinity) return undefined;
    return magnitudeOf(x.rms * power, { positive: true });
  },
  rsqrt: ({ of }) => {
    const x = of("x");
    if (x === undefined || x.rms === -Infinity) return undefined;
    return magnitudeOf(-x.rms / 2, { positive: true });
  },
  exp: exponential,
  sigmoid: bounded(true),
  tanh: ({ of }) => {
    const x = of("x");
    return magnitudeOf(Math.min(0, x?.rms ?? 0), { bound: 0 });
  },
  silu: gated,
  gelu: gated,
  relu: gated,
  softmax,
  layer_norm: () => magnitudeOf(0),
  reduce_sum: total,
  reduce_mean: mean,
  reduce_sum_square: sumOfSquares,
  reduce_max: largest,
  matmul: matrixProduct,
  linear: matrixProduct,
  conv: matrixProduct,
  conv_transpose: matrixProduct,
  reshape: same,
  transpose: same,
  expand_dims: same,
  squeeze: same,
  slice_by_index: same,
  slice_by_size: same,
  split: same,
  tile: same,
  pad: same,
  identity: same,
  cast: same,
  gather: same,
  concat: joined,
};

/** Magnitudes of a function's values and of its products, by value. What is not known has no entry. */
export interface FunctionMagnitudes {
  readonly values: ReadonlyMap<Value, Magnitude>;
  readonly products: ReadonlyMap<Value, ProductMagnitude>;
}

/** Follows the magnitudes of a function's inputs through its ops. */
export function analyzeMagnitudes(
  fn: MilFunction,
  inputs: ReadonlyMap<string, Magnitude>,
): FunctionMagnitudes {
  const values = new Map<Value, Magnitude>();
  const products = new Map<Value, ProductMagnitude>();
  for (const input of fn.inputs) {
    const magnitude = inputs.get(input.name);
    if (magnitude !== undefined) values.set(input, magnitude);
  }
  const ofOperand = (operand: Operand | undefined): Magnitude | undefined => {
    if (operand === undefined) return undefined;
    const known = operand.kind === "value" ? values.get(operand) : undefined;
    return known ?? literalMagnitude(literalOf(operand));
  };
  const makers = new Map<Operand, Operation>();
  const makerOf = (operand: Operand | undefined): Operation | undefined =>
    operand === undefined ? undefined : makers.get(operand);
  for (const operation of fn.operations) {
    const [output] = operation.outputs;
    const row = opRow(operation.type);
    const rule = Object.hasOwn(MAGNITUDE_RULES, operation.type)
      ? MAGNITUDE_RULES[operation.type as OpName]
      : undefined;
    if (output === undefined || row === undefined || rule === undefined) continue;
    const of = (name: string): Magnitude | undefined => {
      const [parameter = "", index] = name.split(" ");
      const argument = operation.inputs.get(parameter);
      if (argument === undefined) return undefined;
      if (isOperandList(argument)) return ofOperand(argument[Number(index)]);
      return ofOperand(argument);
    };
    const call = new OpCall(operation, row);
    const found = rule({ operation, call, makerOf, of });
    for (const result of operation.outputs) makers.set(result, operation);
    const ofProduct = productOf(operation, of);
    if (ofProduct !== undefined) products.set(output, ofProduct);
    if (found === undefined || Number.isNaN(found.rms)) continue;
    for (const result of operation.outputs) values.set(result, found);
  }
  return { values, products };
}

/** Elements of a value, 0 for what is no tensor of known size. */
export function sizeOf(operand: Operand): number {
  return operand.type.kind === "tensor" && !operand.type.shape.includes("?")
    ? elementCount(staticShape(operand.type))
    : 0;
}
