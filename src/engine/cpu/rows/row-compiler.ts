import { literalNumbers } from "../../../mil/literal.ts";
import { isOperandList, isValue, literalOf } from "../../../mil/program.ts";
import type { Operand, Operation, Value } from "../../../mil/program.ts";
import { staticShape } from "../../../mil/types.ts";
import { bothWays, knownShape, operandOf, scalarConstant } from "../../../passes/match.ts";
import { isTransient } from "../../../plan/plan.ts";
import type { Plan, UnpackedWeight } from "../../../plan/plan.ts";
import { bindDispatch, regionKey } from "../../../plan/regions.ts";
import type { BoundDispatch, Region } from "../../../plan/regions.ts";
import { BINARY_KINDS, HEAD_BYTES, UNARY_KINDS } from "./instructions.ts";
import type { Address, RowProgram } from "./instructions.ts";
import { findPatterns } from "./patterns.ts";
import type { AttentionPattern, Pattern, RmsNormPattern, RotaryPattern } from "./patterns.ts";
import { RowBuilder } from "./row-builder.ts";
import type { Target } from "./row-builder.ts";
import {
  axesByShape,
  countOf,
  dense,
  isDense,
  pieces,
  reshaped,
  rowsOf,
  singleAxis,
  transposed,
} from "./strided.ts";
import type { Strided } from "./strided.ts";
import { storedWeight, StoredProducts, takeStored, unsuited } from "./stored.ts";
import type { StoredWeight } from "./stored.ts";

/** Rows of all sequences that a program takes at once. */
const MOST_ROWS = 64;
/** More new rows of one sequence than this are what a runtime for products does better. */
const MOST_NEW_ROWS = 16;

/** Bytes of a number. */
const STORED_BYTES = { fp32: 4, fp16: 2, bf16: 2, int8: 1, int4: 0.5 } as const;

/** Why a section is no row program. */
class Refusal extends Error {}

function refuse(reason: string): never {
  throw new Refusal(reason);
}

/**
 * A section that continues few rows as one program: embedding, blocks and head of a decoding step, whatever the family,
 * as long as it is made of the ops below. Gives the reason where it is not.
 */
export function compileRows(plan: Plan, section: string): RowProgram | string {
  const builder = new RowBuilder();
  const state: SectionState = {
    ...{ plan, builder, held: new Map(), stored: new Map() },
    products: new StoredProducts(builder),
  };
  try {
    for (const dispatch of plan.sections.get(section) ?? []) {
      if (plan.programs.get(dispatch.program)?.asWritten === true)
        refuse(`${dispatch.label} is to run as it is written`);
      const bound = bindDispatch(plan, dispatch);
      const kernel = plan.programs.get(dispatch.program)?.hostKernel;
      if (kernel?.kind === "unpack") holdStored(state, bound, kernel.weights);
      else new FunctionRows(state, bound).run();
    }
  } catch (error) {
    if (error instanceof Refusal) return error.message;
    throw error;
  }
  return builder.finish();
}

/** What the dispatches of a section share. */
interface SectionState {
  readonly plan: Plan;
  readonly builder: RowBuilder;
  /** Transient regions by their key. */
  readonly held: Map<string, Strided>;
  /** Those that would hold unpacked weights. */
  readonly stored: Map<string, StoredWeight>;
  readonly products: StoredProducts;
}

/** Weights that a dispatch would unpack: whoever reads them takes them as they are stored. */
function holdStored(
  { stored }: SectionState,
  { inputs, outputs }: BoundDispatch,
  weights: readonly UnpackedWeight[],
): void {
  for (const weight of weights) {
    const addressOf = (name: string | undefined): Address | undefined => {
      const port = inputs.find(({ value }) => value.name === name);
      if (port === undefined) return undefined;
      const { buffer, offset } = port.region;
      if (offset !== 0) refuse(`a part of "${buffer}"`);
      return { space: "buffer", buffer, byteOffset: 0 };
    };
    const result = outputs.find(({ value }) => value.name === weight.numbers);
    const codes = addressOf(weight.codes);
    const shape = knownShape(result?.value);
    const unsuitable = unsuited(weight.storage);
    if (unsuitable !== undefined) refuse(unsuitable);
    if (result === undefined || codes === undefined || shape === undefined)
      return refuse(`the storage of "${weight.numbers}"`);
    const addresses = {
      codes,
      scales: addressOf(weight.scales),
      biases: addressOf(weight.biases),
    };
    stored.set(regionKey(result.region), storedWeight(weight, shape, addresses));
  }
}

/** One dispatch. */
class FunctionRows {
  readonly #plan: Plan;
  readonly #builder: RowBuilder;
  readonly #state: SectionState;
  readonly #dispatch: BoundDispatch;
  readonly #values = new Map<Value, Strided>();
  /** Weights that stand otherwise than as fp32. */
  readonly #stored = new Map<Value, StoredWeight>();
  /** Where results of the function belong that stand in persistent buffers. */
  readonly #targets = new Map<Value, Address>();

  constructor(state: SectionState, dispatch: BoundDispatch) {
    this.#plan = state.plan;
    this.#builder = state.builder;
    this.#state = state;
    this.#dispatch = dispatch;
  }

  run(): void {
    const { fn, inputs, outputs, label } = this.#dispatch;
    for (const { value, region } of inputs) {
      const stored = this.#state.stored.get(regionKey(region));
      if (stored !== undefined) this.#stored.set(value, stored);
      else this.#values.set(value, this.#input(value, region));
    }
    for (const { value, region, mode } of outputs) {
      if (mode !== "write") refuse(`${label} adds to "${region.buffer}"`);
      if (!this.#isTransient(region)) this.#targets.set(value, this.#bufferAddress(region));
    }
    this.#aimThroughViews();
    const { byLast, covered } = findPatterns(fn);
    for (const operation of fn.operations) {
      const pattern = byLast.get(operation);
      if (pattern !== undefined) this.#values.set(pattern.result, this.#pattern(pattern));
      else if (!covered.has(operation)) this.#operation(operation);
    }
    for (const { value, region } of outputs) this.#deliver(value, region);
  }

  /** A result that is a view of another value of the same order: that one is written where the result belongs. */
  #aimThroughViews(): void {
    const { fn } = this.#dispatch;
    for (const operation of fn.operations.toReversed()) {
      const [output] = operation.outputs;
      const target = output === undefined ? undefined : this.#targets.get(output);
      const x = operandOf(operation, "x");
      if (operation.type !== "reshape" || target === undefined) continue;
      if (x === undefined || !isValue(x) || fn.inputs.includes(x) || this.#targets.has(x)) continue;
      this.#targets.set(x, target);
    }
  }

  #deliver(value: Value, region: Region): void {
    const result = this.#of(value);
    if (this.#isTransient(region)) {
      this.#state.held.set(regionKey(region), result);
      return;
    }
    const target = this.#bufferAddress(region);
    if (isDense(result) && sameAddress(result.address, target)) return;
    this.#copied(result, target);
  }

  #isTransient({ buffer }: Region): boolean {
    const role = this.#plan.buffers.get(buffer)?.role;
    return role !== undefined && isTransient(role);
  }

  #bufferAddress({ buffer, offset }: Region): Address {
    return { space: "buffer", buffer, byteOffset: 4 * offset };
  }

  #input(value: Value, region: Region): Strided {
    if (value.type.kind !== "tensor") return refuse(`"${value.name}" is no tensor`);
    const { dataType } = value.type;
    if (dataType !== "fp32" && dataType !== "int32")
      return refuse(`"${value.name}" is ${dataType}`);
    const shape = staticShape(value.type);
    if (!this.#isTransient(region)) return dense(this.#bufferAddress(region), shape, 0);
    const held = this.#state.held.get(regionKey(region));
    if (held === undefined) return refuse(`"${value.name}" reads a part of "${region.buffer}"`);
    return reshaped(held, shape);
  }

  #of(operand: Operand | undefined, what = "an operand"): Strided {
    if (operand === undefined || !isValue(operand)) return refuse(`${what} is a constant`);
    const value = this.#values.get(operand);
    return value ?? refuse(`"${operand.name}" is made by what is not run in rows`);
  }

  #storedOf(operand: Operand | undefined): StoredWeight | undefined {
    return operand !== undefined && isValue(operand) ? this.#stored.get(operand) : undefined;
  }

  #targetOf(value: Value): Target {
    return this.#targets.get(value) ?? "own";
  }

  /** The value with its numbers one after the other. */
  #dense(value: Strided): Strided {
    return isDense(value) ? value : this.#copied(value, "own");
  }

  #copied(value: Strided, target: Target): Strided {
    const { shape } = value;
    const width = isDense(value) ? countOf(shape) : (shape.at(-1) ?? 1);
    const rows = rowsOf(value, width);
    if (rows === undefined) return refuse(`a value of ${shape.join(" x ")} stands in pieces`);
    return this.#builder.small("copy", shape, [value], target, (result) => [
      value.address,
      result,
      ...rows.sizes,
      width,
      ...rows.strides,
    ]);
  }

  #operation(operation: Operation): void {
    // Who reads a constant finds its numbers there.
    if (operation.type === "const") return;
    if (operation.type === "split") return this.#split(operation);
    const [output] = operation.outputs;
    if (output === undefined || operation.outputs.length !== 1)
      return refuse(`the op "${operation.type}"`);
    const shape = knownShape(output);
    if (shape === undefined) return refuse(`a result of "${operation.type}" of open size`);
    this.#values.set(output, this.#result(operation, output, shape));
  }

  #result(operation: Operation, output: Value, shape: readonly number[]): Strided {
    const { type } = operation;
    switch (type) {
      case "reshape":
      case "expand_dims":
      case "squeeze":
        return reshaped(this.#of(operandOf(operation, "x")), shape);
      case "identity":
        return this.#of(operandOf(operation, "x"));
      case "transpose":
        return this.#transposed(operation);
      case "gather":
        return this.#gathered(operation, output, shape);
      case "matmul":
        return this.#product(operation, output, shape);
      case "layer_norm":
        return this.#layerNorm(operation, output, shape);
      case "add":
      case "mul":
      case "sub":
        return this.#binary(type, operation, output, shape);
      case "silu":
      case "relu":
      case "tanh":
      case "sigmoid":
        return this.#unary(type, operation, output, shape);
      case "gelu":
        return this.#unary(geluKind(operation), operation, output, shape);
      default:
        return refuse(`the op "${type}"`);
    }
  }

  #transposed(operation: Operation): Strided {
    const x = this.#of(operandOf(operation, "x"));
    const permutation = literalOf(operandOf(operation, "perm") ?? refuse("an open transposition"));
    if (permutation === undefined) return refuse("an open transposition");
    const rank = x.shape.length;
    const order = literalNumbers(permutation).map((axis) => (axis + rank) % rank);
    return transposed(x, order) ?? refuse(`a transposition of ${x.shape.join(" x ")}`);
  }

  #split(operation: Operation): void {
    const x = this.#of(operandOf(operation, "x"));
    const axis = scalarConstant(operandOf(operation, "axis"));
    const rank = x.shape.length;
    const sizes = operation.outputs.map((output) => {
      const shape = knownShape(output);
      return shape?.[((axis ?? 0) + rank) % rank] ?? refuse("a split of open sizes");
    });
    if (axis === undefined) return refuse("a split along an open axis");
    const parts = pieces(x, (axis + rank) % rank, sizes);
    if (parts === undefined) return refuse(`a split of ${x.shape.join(" x ")}`);
    for (const [index, output] of operation.outputs.entries()) {
      const part = parts[index];
      if (part !== undefined) this.#values.set(output, part);
    }
  }

  #gathered(operation: Operation, output: Value, shape: readonly number[]): Strided {
    const indices = this.#dense(this.#of(operandOf(operation, "indices"), "an index"));
    const axis = scalarConstant(operandOf(operation, "axis")) ?? 0;
    const batchDimensions = scalarConstant(operandOf(operation, "batch_dims")) ?? 0;
    if (axis !== 0 || batchDimensions !== 0) refuse(`a gather along axis ${axis}`);
    const rows = countOf(indices.shape);
    this.#checkRows(rows);
    const error = this.#builder.lookup(this.#dispatch.label);
    const target = this.#targetOf(output);
    const stored = this.#storedOf(operandOf(operation, "x"));
    if (stored !== undefined)
      return takeStored(this.#builder, stored, indices, shape, error, target);
    const table = this.#dense(this.#of(operandOf(operation, "x")));
    const [count = 0, ...rest] = table.shape;
    return this.#builder.small("takeRows", shape, [table, indices], target, (result) => [
      indices.address,
      table.address,
      result,
      rows,
      countOf(rest),
      count,
      error,
    ]);
  }

  #checkRows(rows: number): void {
    if (rows > MOST_ROWS) refuse(`${rows} rows at once, more than ${MOST_ROWS}`);
  }

  #product(operation: Operation, output: Value, shape: readonly number[]): Strided {
    const x = this.#dense(this.#of(operandOf(operation, "x")));
    const stored = this.#storedOf(operandOf(operation, "y"));
    const isTransposed = booleanOf(operation, "transpose_y");
    const depth = x.shape.at(-1) ?? 1;
    const rows = countOf(x.shape) / depth;
    const columns = shape.at(-1) ?? 1;
    this.#checkRows(rows);
    this.#builder.countWork(rows * depth * columns);
    if (stored !== undefined) {
      if (!isTransposed || stored.shape.length !== 2 || booleanOf(operation, "transpose_x"))
        return refuse(`a product with columns of ${stored.storage.kind}`);
      const rowBytes = depth * STORED_BYTES[stored.storage.kind];
      const perChunk = RowBuilder.columnsOfChunk(rowBytes, columns, 4);
      const target = this.#targetOf(output);
      return this.#state.products.product(x, stored, shape, perChunk, target);
    }
    const y = this.#dense(this.#of(operandOf(operation, "y")));
    if (y.shape.length !== 2 || booleanOf(operation, "transpose_x"))
      return refuse(`a product with ${y.shape.join(" x ")}`);
    const perChunk = RowBuilder.columnsOfChunk(4 * depth, columns, isTransposed ? 4 : 1024);
    return this.#builder.large(
      isTransposed ? "product" : "productByColumns",
      shape,
      [x, y],
      this.#targetOf(output),
      Math.ceil(columns / perChunk),
      (result) => [x.address, y.address, result, rows, depth, columns, perChunk],
    );
  }

  #layerNorm(operation: Operation, output: Value, shape: readonly number[]): Strided {
    const x = this.#dense(this.#of(operandOf(operation, "x")));
    const axis = scalarConstant(operandOf(operation, "axes"));
    const epsilon = scalarConstant(operandOf(operation, "epsilon")) ?? 1e-5;
    const width = shape.at(-1) ?? 1;
    if (axis !== -1 && axis !== shape.length - 1) return refuse("a norm over several axes");
    const isPlain = ["gamma", "beta"].every((name) => operandOf(operation, name) === undefined);
    const target = this.#targetOf(output);
    const rows = countOf(shape) / width;
    let result = this.#builder.small("layerNorm", shape, [x], isPlain ? target : "own", (out) => [
      ...[x.address, out, rows, width, { float: epsilon }],
    ]);
    const gamma = operandOf(operation, "gamma");
    const beta = operandOf(operation, "beta");
    if (gamma !== undefined)
      result = this.#withRow("mul", result, gamma, beta === undefined ? target : "own");
    if (beta !== undefined) result = this.#withRow("add", result, beta, target);
    return result;
  }

  #withRow(kind: "add" | "mul", x: Strided, row: Operand, target: Target): Strided {
    const y = this.#dense(this.#of(row));
    const width = countOf(y.shape);
    const rows = countOf(x.shape) / width;
    return this.#builder.small("binary", x.shape, [x, y], target, (out) => [
      ...[BINARY_KINDS[kind], x.address, y.address, out, rows, width, 0],
    ]);
  }

  #binary(
    type: keyof typeof BINARY_KINDS,
    operation: Operation,
    output: Value,
    shape: readonly number[],
  ): Strided {
    const kind = BINARY_KINDS[type];
    const target = this.#targetOf(output);
    const ways = [...bothWays(operation)].slice(0, type === "sub" ? 1 : 2);
    const count = countOf(shape);
    for (const [one, other] of ways) {
      if (!isValue(one) || countOf(knownShape(one) ?? []) !== count) continue;
      const scalar = scalarConstant(other);
      const x = this.#dense(this.#of(one));
      if (scalar !== undefined)
        return this.#builder.small("scalar", shape, [x], target, (out) => [
          ...[kind, x.address, { float: scalar }, out, count],
        ]);
      const row = knownShape(other);
      if (row === undefined || !isSuffix(row, shape)) continue;
      const y = this.#dense(this.#operandRow(other));
      const width = countOf(row);
      const step = width === count ? width : 0;
      return this.#builder.small("binary", shape, [x, y], target, (out) => [
        ...[kind, x.address, y.address, out, count / width, width, step],
      ]);
    }
    return refuse(`"${type}" of operands that broadcast`);
  }

  /** A value, or a constant that stands in the program. */
  #operandRow(operand: Operand): Strided {
    if (isValue(operand) && this.#values.has(operand)) return this.#of(operand);
    const literal = literalOf(operand);
    if (literal === undefined) return this.#of(operand);
    const numbers = Float32Array.from(literalNumbers(literal));
    return dense(this.#builder.constant(numbers), knownShape(operand) ?? [], 0);
  }

  #unary(
    kind: keyof typeof UNARY_KINDS,
    operation: Operation,
    output: Value,
    shape: readonly number[],
  ): Strided {
    const x = this.#dense(this.#of(operandOf(operation, "x")));
    return this.#builder.small("unary", shape, [x], this.#targetOf(output), (out) => [
      ...[UNARY_KINDS[kind], x.address, out, countOf(shape)],
    ]);
  }

  #pattern(pattern: Pattern): Strided {
    switch (pattern.kind) {
      case "rms_norm":
        return this.#rmsNorm(pattern);
      case "rotary":
        return this.#rotary(pattern);
      case "attention":
        return this.#attention(pattern);
    }
  }

  #rmsNorm({ x: operand, weight: factor, epsilon, result: value }: RmsNormPattern): Strided {
    const x = this.#dense(this.#of(operand));
    const weight = factor === undefined ? undefined : this.#dense(this.#of(factor));
    const width = x.shape.at(-1) ?? 1;
    const reads = weight === undefined ? [x] : [x, weight];
    return this.#builder.small("rmsNorm", x.shape, reads, this.#targetOf(value), (out) => [
      ...[x.address, weight?.address, out, countOf(x.shape) / width, width, { float: epsilon }],
    ]);
  }

  #rotary({ x: rows, cosines, signedSines, result: value }: RotaryPattern): Strided {
    const x = this.#of(rows);
    const tables = [cosines, signedSines].map((table) => this.#dense(this.#operandRow(table)));
    const [cosine, sine] = tables;
    if (cosine === undefined || sine === undefined) return refuse("rotary tables");
    const { shape } = x;
    const [B = 1] = shape;
    const S = shape.at(-2) ?? 1;
    const D = shape.at(-1) ?? 1;
    const heads = shape.slice(1, -2);
    const isForAll = countOf(cosine.shape) === S * D;
    const isOfEach = countOf(cosine.shape) === B * S * D && cosine.shape[0] === B;
    const isSame = cosine.shape.join() === sine.shape.join();
    if (shape.length < 3 || !isSame || (!isForAll && !isOfEach) || D % 2 !== 0)
      return refuse(`rotary tables of ${cosine.shape.join(" x ")}`);
    const groups = axesByShape(x);
    const axes = groups && [
      singleAxis(groups.slice(0, 1)),
      singleAxis(groups.slice(1, -2)),
      singleAxis(groups.slice(-2, -1)),
    ];
    const rowAxis = groups && singleAxis(groups.slice(-1));
    const [a, b, c] = axes ?? [];
    if (a === undefined || b === undefined || c === undefined || rowAxis?.stride !== 1)
      return refuse("rotary positions of a value in pieces");
    return this.#builder.small("rotate", shape, [x, ...tables], this.#targetOf(value), (out) => [
      ...[x.address, cosine.address, sine.address, out, B, countOf(heads), S, D],
      ...[a.stride, b.stride, c.stride, isForAll ? 0 : S],
    ]);
  }

  #attention(pattern: AttentionPattern): Strided {
    const query = this.#dense(this.#of(pattern.query));
    const [keys, values, ownKeys, ownValues] = [
      pattern.keys,
      pattern.values,
      pattern.ownKeys,
      pattern.ownValues,
    ].map((value) => this.#dense(this.#of(value)));
    if (!keys || !values || !ownKeys || !ownValues) return refuse("attention without a cache");
    const [B = 1, kv = 1, T = 1, D = 1] = keys.shape;
    const S = ownKeys.shape[2] ?? 1;
    if (S > MOST_NEW_ROWS) refuse(`${S} new rows of a sequence, more than ${MOST_NEW_ROWS}`);
    const G = countOf(query.shape) / (B * kv * S * D);
    const fits =
      keys.shape.length === 4 &&
      [values, keys].every(({ shape }) => shape.join() === [B, kv, T, D].join()) &&
      [ownKeys, ownValues].every(({ shape }) => shape.join() === [B, kv, S, D].join()) &&
      query.shape.join() === [B, kv, G * S, D].join();
    if (!fits || D % 4 !== 0) return refuse(`attention heads of ${D} channels`);
    if (G > 1 && S > 1 && pattern.scoreShape.length !== 5) return refuse("folded scores");
    const mask = this.#dense(this.#operandRow(pattern.mask));
    const isWindow = windowOf(mask.shape, pattern.scoreShape, { B, S, T });
    const ownMask =
      pattern.ownMask === undefined ? undefined : this.#dense(this.#operandRow(pattern.ownMask));
    if (ownMask !== undefined && countOf(ownMask.shape) !== S * S) return refuse("an own mask");
    this.#builder.countWork(2 * B * kv * G * S * (T + S) * D);
    const room = this.#builder.own(HEAD_BYTES + 4 * (T + S) + 16);
    const reads = [query, keys, values, ownKeys, ownValues, mask];
    const stored = this.#builder.large(
      "attention",
      [B * S, kv * G * D],
      reads,
      "shared",
      B * kv,
      (out) => [
        ...[query.address, keys.address, values.address, ownKeys.address, ownValues.address],
        ...[mask.address, ownMask?.address, room, out, kv, G, S, T, D],
        { float: pattern.cap ?? 0 },
        isWindow ? 1 : 0,
      ],
    );
    return {
      ...stored,
      shape: [B, kv, G * S, D],
      axes: [
        { size: B, stride: S * kv * G * D },
        { size: kv, stride: G * D },
        { size: G, stride: D },
        { size: S, stride: kv * G * D },
        { size: D, stride: 1 },
      ].filter(({ size }) => size > 1),
    };
  }
}

/**
 * Whether each new row has a mask of its own [B, 1, (1,) S, T], or all of a sequence share one [B, 1, (1,) 1, T]. Others
 * are refused.
 */
function windowOf(
  mask: readonly number[],
  scores: readonly number[],
  { B, S, T }: { readonly B: number; readonly S: number; readonly T: number },
): boolean {
  const padded = [...scores.map(() => 1), ...mask].slice(-scores.length);
  const [sequences = 1, ...others] = padded;
  const [rows = 1, positions] = others.slice(-2);
  const heads = others.slice(0, -2);
  const isKnown = sequences === B && positions === T && heads.every((size) => size === 1);
  if (!isKnown || (rows !== 1 && rows !== S)) refuse(`a mask of ${mask.join(" x ")}`);
  return rows > 1;
}

function geluKind(operation: Operation): "gelu" | "gelu_tanh" {
  const mode = operandOf(operation, "mode");
  const data = mode === undefined ? undefined : literalOf(mode)?.data;
  const name = data?.kind === "strings" ? data.strings[0] : "EXACT";
  if (name === "EXACT") return "gelu";
  if (name === "TANH_APPROXIMATION") return "gelu_tanh";
  return refuse(`gelu in the mode ${name}`);
}

function booleanOf(operation: Operation, name: string): boolean {
  const argument = operation.inputs.get(name);
  if (argument === undefined || isOperandList(argument)) return false;
  const literal = literalOf(argument);
  if (literal === undefined) return refuse(`an open ${name}`);
  return literalNumbers(literal)[0] === 1;
}

/** Whether a shape, its leading ones aside, ends another one. */
function isSuffix(row: readonly number[], shape: readonly number[]): boolean {
  const start = row.findIndex((size) => size !== 1);
  const sizes = start < 0 ? [] : row.slice(start);
  return (
    row.length <= shape.length &&
    sizes.length > 0 &&
    sizes.join() === shape.slice(shape.length - sizes.length).join()
  );
}

function sameAddress(a: Address, b: Address): boolean {
  return (
    a.space === b.space &&
    a.byteOffset === b.byteOffset &&
    (a.space !== "buffer" || b.space !== "buffer" || a.buffer === b.buffer)
  );
}
