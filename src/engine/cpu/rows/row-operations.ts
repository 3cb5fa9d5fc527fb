// Single ops as instructions of a row program.
import { literalNumbers } from "../../../mil/literal.ts";
import { isOperandList, isValue, literalOf } from "../../../mil/program.ts";
import type { Operand, Operation, Value } from "../../../mil/program.ts";
import { bothWays, knownShape, operandOf, scalarConstant } from "../../../mil/match.ts";
import { BINARY_KINDS, UNARY_KINDS } from "./instructions.ts";
import { refuse } from "./refusal.ts";
import { RowBuilder } from "./row-builder.ts";
import type { Target } from "./row-builder.ts";
import type { RowValues } from "./row-values.ts";
import { takeStored } from "./stored.ts";
import { countOf, pieces, reshaped, transposed } from "./strided.ts";
import type { Strided } from "./strided.ts";

/** Rows of all sequences that a program takes at once. */
const MOST_ROWS = 64;

/** Bytes of a number. */
const STORED_BYTES = { fp32: 4, fp16: 2, bf16: 2, int8: 1, int4: 0.5 } as const;

/** Writes the instructions of an op, and tells its results to `values`. Refuses what is not understood. */
export function addOperation(values: RowValues, operation: Operation): void {
  // Who reads a constant finds its numbers there.
  if (operation.type === "const") return;
  if (operation.type === "split") return addPieces(values, operation);
  const [output] = operation.outputs;
  if (output === undefined || operation.outputs.length !== 1)
    return refuse(`the op "${operation.type}"`);
  const shape = knownShape(output);
  if (shape === undefined) return refuse(`a result of "${operation.type}" of open size`);
  values.set(output, resultOf(values, operation, output, shape));
}

function resultOf(
  values: RowValues,
  operation: Operation,
  output: Value,
  shape: readonly number[],
): Strided {
  const { type } = operation;
  switch (type) {
    case "reshape":
    case "expand_dims":
    case "squeeze":
      return reshaped(values.of(operandOf(operation, "x")), shape);
    case "identity":
      return values.of(operandOf(operation, "x"));
    case "transpose":
      return transposition(values, operation);
    case "gather":
      return gathered(values, operation, output, shape);
    case "matmul":
      return product(values, operation, output, shape);
    case "layer_norm":
      return layerNorm(values, operation, output, shape);
    case "add":
    case "mul":
    case "sub":
      return binary(values, type, operation, output, shape);
    case "silu":
    case "relu":
    case "tanh":
    case "sigmoid":
      return unary(values, type, operation, output, shape);
    case "gelu":
      return unary(values, geluKind(operation), operation, output, shape);
    default:
      return refuse(`the op "${type}"`);
  }
}

function transposition(values: RowValues, operation: Operation): Strided {
  const x = values.of(operandOf(operation, "x"));
  const permutation = literalOf(operandOf(operation, "perm") ?? refuse("an open transposition"));
  if (permutation === undefined) return refuse("an open transposition");
  const rank = x.shape.length;
  const order = literalNumbers(permutation).map((axis) => (axis + rank) % rank);
  return transposed(x, order) ?? refuse(`a transposition of ${x.shape.join(" x ")}`);
}

function addPieces(values: RowValues, operation: Operation): void {
  const x = values.of(operandOf(operation, "x"));
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
    if (part !== undefined) values.set(output, part);
  }
}

function gathered(
  values: RowValues,
  operation: Operation,
  output: Value,
  shape: readonly number[],
): Strided {
  const indices = values.dense(values.of(operandOf(operation, "indices"), "an index"));
  const axis = scalarConstant(operandOf(operation, "axis")) ?? 0;
  const batchDimensions = scalarConstant(operandOf(operation, "batch_dims")) ?? 0;
  if (axis !== 0 || batchDimensions !== 0) refuse(`a gather along axis ${axis}`);
  const rows = countOf(indices.shape);
  checkRows(rows);
  const error = values.builder.lookup(values.label);
  const target = values.targetOf(output);
  const stored = values.storedOf(operandOf(operation, "x"));
  if (stored !== undefined)
    return takeStored(values.builder, stored, indices, shape, error, target);
  const table = values.dense(values.of(operandOf(operation, "x")));
  const [count = 0, ...rest] = table.shape;
  return values.builder.small("takeRows", shape, [table, indices], target, (result) => [
    indices.address,
    table.address,
    result,
    rows,
    countOf(rest),
    count,
    error,
  ]);
}

function checkRows(rows: number): void {
  if (rows > MOST_ROWS) refuse(`${rows} rows at once, more than ${MOST_ROWS}`);
}

function product(
  values: RowValues,
  operation: Operation,
  output: Value,
  shape: readonly number[],
): Strided {
  const x = values.dense(values.of(operandOf(operation, "x")));
  const stored = values.storedOf(operandOf(operation, "y"));
  const isTransposed = booleanOf(operation, "transpose_y");
  const depth = x.shape.at(-1) ?? 1;
  const rows = countOf(x.shape) / depth;
  const columns = shape.at(-1) ?? 1;
  checkRows(rows);
  values.builder.countWork(rows * depth * columns);
  if (stored !== undefined) {
    if (!isTransposed || stored.shape.length !== 2 || booleanOf(operation, "transpose_x"))
      return refuse(`a product with columns of ${stored.storage.kind}`);
    const rowBytes = depth * STORED_BYTES[stored.storage.kind];
    const perChunk = RowBuilder.columnsOfChunk(rowBytes, columns, 4);
    const target = values.targetOf(output);
    return values.products.product(x, stored, shape, perChunk, target);
  }
  const y = values.dense(values.of(operandOf(operation, "y")));
  if (y.shape.length !== 2 || booleanOf(operation, "transpose_x"))
    return refuse(`a product with ${y.shape.join(" x ")}`);
  const perChunk = RowBuilder.columnsOfChunk(4 * depth, columns, isTransposed ? 4 : 1024);
  const tiles = isTransposed ? values.tiles.of(x) : undefined;
  return values.builder.large(
    isTransposed ? "product" : "productByColumns",
    shape,
    tiles === undefined ? [x, y] : [x, y, tiles],
    values.targetOf(output),
    Math.ceil(columns / perChunk),
    (result) => [x.address, y.address, result, rows, depth, columns, perChunk, tiles?.address],
  );
}

function layerNorm(
  values: RowValues,
  operation: Operation,
  output: Value,
  shape: readonly number[],
): Strided {
  const x = values.dense(values.of(operandOf(operation, "x")));
  const axis = scalarConstant(operandOf(operation, "axes"));
  const epsilon = scalarConstant(operandOf(operation, "epsilon")) ?? 1e-5;
  const width = shape.at(-1) ?? 1;
  if (axis !== -1 && axis !== shape.length - 1) return refuse("a norm over several axes");
  const isPlain = ["gamma", "beta"].every((name) => operandOf(operation, name) === undefined);
  const target = values.targetOf(output);
  const rows = countOf(shape) / width;
  let result = values.builder.small("layerNorm", shape, [x], isPlain ? target : "own", (out) => [
    ...[x.address, out, rows, width, { float: epsilon }],
  ]);
  const gamma = operandOf(operation, "gamma");
  const beta = operandOf(operation, "beta");
  if (gamma !== undefined)
    result = withRow(values, "mul", result, gamma, beta === undefined ? target : "own");
  if (beta !== undefined) result = withRow(values, "add", result, beta, target);
  return result;
}

function withRow(
  values: RowValues,
  kind: "add" | "mul",
  x: Strided,
  row: Operand,
  target: Target,
): Strided {
  const y = values.dense(values.of(row));
  const width = countOf(y.shape);
  const rows = countOf(x.shape) / width;
  return values.builder.small("binary", x.shape, [x, y], target, (out) => [
    ...[BINARY_KINDS[kind], x.address, y.address, out, rows, width, 0],
  ]);
}

function binary(
  values: RowValues,
  type: keyof typeof BINARY_KINDS,
  operation: Operation,
  output: Value,
  shape: readonly number[],
): Strided {
  const kind = BINARY_KINDS[type];
  const target = values.targetOf(output);
  const ways = [...bothWays(operation)].slice(0, type === "sub" ? 1 : 2);
  const count = countOf(shape);
  for (const [one, other] of ways) {
    if (!isValue(one) || countOf(knownShape(one) ?? []) !== count) continue;
    const scalar = scalarConstant(other);
    const x = values.dense(values.of(one));
    if (scalar !== undefined)
      return values.builder.small("scalar", shape, [x], target, (out) => [
        ...[kind, x.address, { float: scalar }, out, count],
      ]);
    const row = knownShape(other);
    if (row === undefined || !isSuffix(row, shape)) continue;
    const y = values.dense(values.operandRow(other));
    const width = countOf(row);
    const step = width === count ? width : 0;
    return values.builder.small("binary", shape, [x, y], target, (out) => [
      ...[kind, x.address, y.address, out, count / width, width, step],
    ]);
  }
  return refuse(`"${type}" of operands that broadcast`);
}

function unary(
  values: RowValues,
  kind: keyof typeof UNARY_KINDS,
  operation: Operation,
  output: Value,
  shape: readonly number[],
): Strided {
  const x = values.dense(values.of(operandOf(operation, "x")));
  return values.builder.small("unary", shape, [x], values.targetOf(output), (out) => [
    ...[UNARY_KINDS[kind], x.address, out, countOf(shape)],
  ]);
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
