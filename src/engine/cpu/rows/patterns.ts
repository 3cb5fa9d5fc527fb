// What a decoding block is made of, found among its ops: norms, rotary positions, attention over a cache.
import { isOperandList, isValue, literalOf, operandsOf } from "../../../mil/program.ts";
import type { MilFunction, Operand, Operation, Value } from "../../../mil/program.ts";
import { literalNumbers } from "../../../mil/literal.ts";
import { bothWays, knownShape, operandOf, scalarConstant } from "../../../mil/match.ts";

/** x / sqrt(mean(x^2) + epsilon), times `weight` where there is one. */
export interface RmsNormPattern {
  readonly kind: "rms_norm";
  readonly x: Operand;
  readonly weight: Operand | undefined;
  readonly epsilon: number;
  readonly result: Value;
}

/** x * cosines + (second half, first half) * signedSines. */
export interface RotaryPattern {
  readonly kind: "rotary";
  readonly x: Value;
  readonly cosines: Operand;
  readonly signedSines: Operand;
  readonly result: Value;
}

/** softmax(query (keys, ownKeys)^T + (mask, ownMask)) (values, ownValues). */
export interface AttentionPattern {
  readonly kind: "attention";
  /** [B, Hkv, G*S, D]. */
  readonly query: Value;
  /** [B, Hkv, T, D]. */
  readonly keys: Value;
  readonly values: Value;
  /** [B, Hkv, S, D]. */
  readonly ownKeys: Value;
  readonly ownValues: Value;
  readonly mask: Operand;
  /** Sizes of the scores that the mask is added to: [B, Hkv, (G,) S, T]. */
  readonly scoreShape: readonly number[];
  /** [S, S]. */
  readonly ownMask: Operand | undefined;
  /** Scores s become cap * tanh(s / cap). */
  readonly cap: number | undefined;
  readonly result: Value;
}

export type Pattern = RmsNormPattern | RotaryPattern | AttentionPattern;

/** Ops that are done as one, by the last of them; the others are left out. */
export interface FoundPatterns {
  readonly byLast: ReadonlyMap<Operation, Pattern>;
  readonly covered: ReadonlySet<Operation>;
}

class Uses {
  readonly #producers = new Map<Value, Operation>();
  readonly #readers = new Map<Value, Operation[]>();
  readonly #outputs: ReadonlySet<Value>;

  constructor(fn: MilFunction) {
    this.#outputs = new Set(fn.outputs);
    for (const operation of fn.operations) {
      for (const output of operation.outputs) this.#producers.set(output, operation);
      for (const operand of operandsOf(operation)) {
        if (!isValue(operand)) continue;
        const readers = this.#readers.get(operand) ?? [];
        readers.push(operation);
        this.#readers.set(operand, readers);
      }
    }
  }

  /** The op of a type that makes an operand. */
  made(operand: Operand | undefined, type: string): Operation | undefined {
    if (operand === undefined || !isValue(operand)) return undefined;
    const producer = this.#producers.get(operand);
    return producer?.type === type ? producer : undefined;
  }

  /** The one op that reads a value which is no result. */
  onlyReader(value: Value | undefined): Operation | undefined {
    if (value === undefined || this.#outputs.has(value)) return undefined;
    const readers = new Set(this.#readers.get(value) ?? []);
    const [first] = readers;
    return readers.size === 1 ? first : undefined;
  }

  /** Whether nobody outside these ops reads what they make, but for one result. */
  isClosed(operations: ReadonlySet<Operation>, result: Value): boolean {
    for (const operation of operations) {
      for (const output of operation.outputs) {
        if (output === result) continue;
        if (this.#outputs.has(output)) return false;
        if ((this.#readers.get(output) ?? []).some((reader) => !operations.has(reader)))
          return false;
      }
    }
    return true;
  }
}

/** The patterns of a function, none inside another. */
export function findPatterns(fn: MilFunction): FoundPatterns {
  const uses = new Uses(fn);
  const byLast = new Map<Operation, Pattern>();
  const covered = new Set<Operation>();
  for (const operation of fn.operations) {
    const operations = new Set<Operation>();
    const pattern =
      rmsNormAt(operation, uses, operations) ??
      rotaryAt(operation, uses, operations) ??
      attentionAt(operation, uses, operations);
    if (pattern === undefined || !uses.isClosed(operations, pattern.result)) continue;
    if ([...operations].some((one) => covered.has(one))) continue;
    for (const one of operations) covered.add(one);
    for (const one of operations)
      if (one.outputs.includes(pattern.result)) byLast.set(one, pattern);
  }
  return { byLast, covered };
}

function lastAxisOf(operand: Operand | undefined): number {
  return (knownShape(operand)?.length ?? 0) - 1;
}

/** Whether an argument names the last axis of a tensor. */
function isLastAxis(axis: Operand | undefined, of: Operand | undefined): boolean {
  const number = scalarConstant(axis);
  return number === -1 || number === lastAxisOf(of);
}

function rmsNormAt(
  operation: Operation,
  uses: Uses,
  found: Set<Operation>,
): RmsNormPattern | undefined {
  if (operation.type !== "rsqrt") return undefined;
  const mean = uses.made(operandOf(operation, "x"), "reduce_mean");
  const square = uses.made(operandOf(mean, "x"), "mul");
  const x = operandOf(square, "x");
  if (mean === undefined || square === undefined || x === undefined) return undefined;
  if (operandOf(square, "y") !== x || !isLastAxis(operandOf(mean, "axes"), x)) return undefined;
  const keeps = literalOf(operandOf(mean, "keep_dims") ?? x);
  if (keeps === undefined || literalNumbers(keeps)[0] !== 1) return undefined;
  const [scale] = operation.outputs;
  const scaled = uses.onlyReader(scale);
  const [normal] = scaled?.outputs ?? [];
  if (scaled?.type !== "mul" || normal === undefined) return undefined;
  if (![...bothWays(scaled)].some(([one, other]) => one === x && other === scale)) return undefined;
  found.clear();
  for (const one of [square, mean, operation, scaled]) found.add(one);
  const epsilon = scalarConstant(operandOf(operation, "epsilon")) ?? 1e-12;
  const weighted = uses.onlyReader(normal);
  const [result] = weighted?.outputs ?? [];
  const width = knownShape(x)?.at(-1);
  if (weighted?.type === "mul" && result !== undefined) {
    for (const [one, weight] of bothWays(weighted)) {
      const shape = knownShape(weight);
      if (one !== normal || !isValue(weight) || shape?.length !== 1 || shape[0] !== width) continue;
      found.add(weighted);
      return { kind: "rms_norm", x, weight, epsilon, result };
    }
  }
  return { kind: "rms_norm", x, weight: undefined, epsilon, result: normal };
}

function rotaryAt(
  operation: Operation,
  uses: Uses,
  found: Set<Operation>,
): RotaryPattern | undefined {
  const [result] = operation.outputs;
  if (operation.type !== "add" || result === undefined) return undefined;
  for (const [first, second] of bothWays(operation)) {
    const kept = uses.made(first, "mul");
    const turned = uses.made(second, "mul");
    for (const [swappedRows, signedSines] of bothWays(turned)) {
      const swapped = uses.made(swappedRows, "concat");
      const halves = swapped?.inputs.get("values");
      if (swapped === undefined || halves === undefined || !isOperandList(halves)) continue;
      const split = uses.made(halves[0], "split");
      const x = operandOf(split, "x");
      if (split === undefined || x === undefined || !isValue(x)) continue;
      const [low, high] = split.outputs;
      const isSwapped = halves.length === 2 && halves[0] === high && halves[1] === low;
      const isHalved =
        split.outputs.length === 2 && knownShape(low)?.at(-1) === knownShape(high)?.at(-1);
      if (!isSwapped || !isHalved) continue;
      if (!isLastAxis(operandOf(split, "axis"), x) || !isLastAxis(operandOf(swapped, "axis"), x))
        continue;
      for (const [rows, cosines] of bothWays(kept)) {
        if (rows !== x || kept === undefined || turned === undefined) continue;
        found.clear();
        for (const one of [split, swapped, kept, turned, operation]) found.add(one);
        return { kind: "rotary", x, cosines, signedSines, result };
      }
    }
  }
  return undefined;
}

/** An operand behind reshapes, which keep the order of its elements. */
function behindReshapes(
  operand: Operand | undefined,
  uses: Uses,
  found: Set<Operation>,
): Operand | undefined {
  const reshape = uses.made(operand, "reshape");
  if (reshape === undefined) return operand;
  found.add(reshape);
  return behindReshapes(operandOf(reshape, "x"), uses, found);
}

/** Scores before their cap. */
function beforeCap(
  scores: Operand | undefined,
  uses: Uses,
  found: Set<Operation>,
): { readonly scores: Operand | undefined; readonly cap: number | undefined } {
  const plain = { scores, cap: undefined };
  const grown = uses.made(scores, "mul");
  for (const [curveValue, factor] of bothWays(grown)) {
    const curve = uses.made(curveValue, "tanh");
    const shrunk = uses.made(operandOf(curve, "x"), "mul");
    const cap = scalarConstant(factor);
    if (curve === undefined || cap === undefined) continue;
    for (const [before, inverse] of bothWays(shrunk)) {
      const part = scalarConstant(inverse);
      if (part === undefined || Math.abs(part * cap - 1) > 1e-6) continue;
      for (const one of [grown, curve, shrunk]) if (one !== undefined) found.add(one);
      return { scores: before, cap };
    }
  }
  return plain;
}

interface Scores {
  readonly product: Operation;
  readonly cap: number | undefined;
  readonly mask: Operand | undefined;
  /** Sizes of what the mask is added to. */
  readonly shape: readonly number[];
}

/** matmul(query, keys^T), capped, in another shape, plus a mask. */
function scoresBehind(
  operand: Operand | undefined,
  uses: Uses,
  found: Set<Operation>,
): Scores | undefined {
  const start = behindReshapes(operand, uses, found);
  const added = uses.made(start, "add");
  const ways = added === undefined ? [[start, undefined] as const] : [...bothWays(added)];
  for (const [scores, mask] of ways) {
    const tried = new Set<Operation>();
    const capped = behindReshapes(scores, uses, tried);
    const { scores: plain, cap } = beforeCap(capped, uses, tried);
    const product = uses.made(behindReshapes(plain, uses, tried), "matmul");
    if (product === undefined || !isTrue(product, "transpose_y") || isTrue(product, "transpose_x"))
      continue;
    for (const one of [...tried, product]) found.add(one);
    if (added !== undefined) found.add(added);
    return { product, cap, mask, shape: knownShape(scores) ?? [] };
  }
  return undefined;
}

function isTrue(operation: Operation, name: string): boolean {
  const operand = operandOf(operation, name);
  const literal = operand === undefined ? undefined : literalOf(operand);
  return literal !== undefined && literalNumbers(literal)[0] === 1;
}

/** From a value through reshapes to the product that alone reads it. */
function productOf(
  value: Value | undefined,
  uses: Uses,
  found: Set<Operation>,
): Operation | undefined {
  const reader = uses.onlyReader(value);
  if (reader === undefined) return undefined;
  if (reader.type !== "reshape" && reader.type !== "matmul") return undefined;
  found.add(reader);
  if (reader.type === "reshape") return productOf(reader.outputs[0], uses, found);
  if (isTrue(reader, "transpose_x") || isTrue(reader, "transpose_y")) return undefined;
  return reader;
}

function attentionAt(
  operation: Operation,
  uses: Uses,
  found: Set<Operation>,
): AttentionPattern | undefined {
  if (operation.type !== "softmax") return undefined;
  found.clear();
  found.add(operation);
  const joined = uses.made(operandOf(operation, "x"), "concat");
  const parts = joined?.inputs.get("values");
  if (joined === undefined || parts === undefined || !isOperandList(parts)) return undefined;
  const [weights] = operation.outputs;
  const split = uses.onlyReader(weights);
  if (parts.length !== 2 || split?.type !== "split" || split.outputs.length !== 2) return undefined;
  const last = operandOf(operation, "x");
  for (const axis of [
    operandOf(operation, "axis"),
    operandOf(joined, "axis"),
    operandOf(split, "axis"),
  ])
    if (!isLastAxis(axis, last)) return undefined;
  found.add(joined).add(split);
  const earlier = scoresBehind(parts[0], uses, found);
  const own = scoresBehind(parts[1], uses, found);
  const earlierMix = productOf(split.outputs[0], uses, found);
  const ownMix = productOf(split.outputs[1], uses, found);
  const [mixed] = earlierMix?.outputs ?? [];
  const sum = uses.onlyReader(mixed);
  const [result] = sum?.outputs ?? [];
  if (earlier?.mask === undefined || own === undefined || own.cap !== earlier.cap) return undefined;
  if (sum?.type !== "add" || result === undefined || ownMix === undefined) return undefined;
  if (![...bothWays(sum)].some(([one, other]) => one === mixed && other === ownMix.outputs[0]))
    return undefined;
  found.add(sum);
  const [query, keys, values] = [
    operandOf(earlier.product, "x"),
    operandOf(earlier.product, "y"),
    operandOf(earlierMix, "y"),
  ];
  const [ownKeys, ownValues] = [operandOf(own.product, "y"), operandOf(ownMix, "y")];
  if (operandOf(own.product, "x") !== query) return undefined;
  // The split falls where the scores were joined.
  const joinedAt = knownShape(split.outputs[0])?.at(-1);
  if (joinedAt !== knownShape(parts[0])?.at(-1)) return undefined;
  for (const value of [query, keys, values, ownKeys, ownValues])
    if (value === undefined || !isValue(value)) return undefined;
  return {
    kind: "attention",
    query: query as Value,
    keys: keys as Value,
    values: values as Value,
    ownKeys: ownKeys as Value,
    ownValues: ownValues as Value,
    mask: earlier.mask,
    scoreShape: earlier.shape,
    ownMask: own.mask,
    cap: earlier.cap,
    result,
  };
}
