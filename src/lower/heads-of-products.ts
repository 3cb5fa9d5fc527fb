import { elementCount, tensorType } from "../mil/types.ts";
import type { MilFunction, Operation, Value } from "../mil/program.ts";
import { makersOf, readersOf } from "../mil/traverse.ts";
import type { Chip, Driver } from "../chip/chip.ts";
import { knownShape, operandOf, scalarConstant } from "../mil/match.ts";
import { permutationOf } from "../passes/merge-transposes.ts";
import { rewritingOnce } from "../passes/rewrite.ts";
import type { EngineProgram } from "./ports.ts";
import { priceOf } from "./split-notched-weights.ts";

/**
 * Rows of a product that are cut into heads and turned, [B S, H D] to [B, H, S, D], as one product that gives heads: the
 * weight's rows are those of its heads one after the other, so that its port is [1, H, D, C] over the same bytes, and
 * the rows multiply each head of it. The sums are the same. Where the cost model finds it cheaper, and through e5rt
 * alone, whose ports are dense in whatever shape a program declares.
 */
export function headsOfProducts(program: EngineProgram, chip: Chip, driver: Driver): EngineProgram {
  if (driver !== "e5rt") return program;
  const heads = headsIn(program.function);
  if (heads.length === 0) return program;
  // Together: what they read is brought into form once for all of them.
  const next = rewritten(program.function, heads);
  return priceOf(next, chip, driver) < priceOf(program.function, chip, driver)
    ? Object.freeze({ ...program, function: next, inputs: renamedPorts(program, heads) })
    : program;
}

function renamedPorts({ inputs }: EngineProgram, heads: readonly Heads[]): EngineProgram["inputs"] {
  const names = new Map(heads.map(({ port, opened }) => [port.name, opened.name]));
  return inputs.map((input) => ({ ...input, name: names.get(input.name) ?? input.name }));
}

/** A product whose rows become heads. */
interface Heads {
  readonly turn: Operation;
  readonly rows: Value;
  readonly port: Value;
  /** The port with its heads apart. */
  readonly opened: Value;
  /** [B, 1, …, S, C] */
  readonly rowShape: readonly number[];
}

function headsIn(fn: MilFunction): readonly Heads[] {
  const readers = readersOf(fn);
  const makers = makersOf(fn);
  const outputs = new Set(fn.outputs);
  const names = new Set([...fn.inputs, ...outputs, ...makers.keys()].map(({ name }) => name));
  /** The op that alone makes a value for the one that reads it. */
  const makerOf = (operation: Operation, type: string): Operation | undefined => {
    const x = operandOf(operation, "x");
    if (x?.kind !== "value" || outputs.has(x) || readers.get(x)?.length !== 1) return undefined;
    const maker = makers.get(x);
    return maker?.type === type ? maker : undefined;
  };
  return fn.operations.flatMap((turn): readonly Heads[] => {
    const perm = permutationOf(turn);
    const cut = perm === undefined ? undefined : makerOf(turn, "reshape");
    const product = cut === undefined ? undefined : makerOf(cut, "matmul");
    const rows = operandOf(product, "x");
    const port = operandOf(product, "y");
    const parts = knownShape(cut?.outputs[0]);
    if (perm === undefined || product === undefined || parts === undefined) return [];
    if (rows?.kind !== "value" || port?.kind !== "value" || !bringsRowsBehindHeads(perm)) return [];
    if (scalarConstant(operandOf(product, "transpose_x")) === 1) return [];
    if (scalarConstant(operandOf(product, "transpose_y")) !== 1) return [];
    if (!fn.inputs.includes(port) || outputs.has(port) || readers.get(port)?.length !== 1)
      return [];
    const [batch = 1, count = 1, ...heads] = parts;
    const [rowCount, channels = 1] = knownShape(rows) ?? [];
    const [outer, inner] = knownShape(port) ?? [];
    const isWhole =
      knownShape(rows)?.length === 2 &&
      knownShape(port)?.length === 2 &&
      rowCount === batch * count &&
      outer === elementCount(heads) &&
      inner === channels;
    if (!isWhole) return [];
    const opened: Value = Object.freeze({
      ...port,
      name: freeName(`${port.name}_heads`, names),
      type: tensorType("fp16", [1, ...heads, channels]),
    });
    const between = heads.slice(1).map(() => 1);
    return [{ turn, rows, port, opened, rowShape: [batch, ...between, count, channels] }];
  });
}

function freeName(base: string, taken: Set<string>): string {
  let name = base;
  for (let count = 2; taken.has(name); count++) name = `${base}_${count}`;
  taken.add(name);
  return name;
}

/** Whether [B, S, …, D] becomes [B, …, S, D], with one size or more between. */
function bringsRowsBehindHeads(perm: readonly number[]): boolean {
  const last = perm.length - 1;
  return (
    last >= 3 &&
    perm.every((axis, place) => {
      if (place === 0 || place === last) return axis === place;
      return axis === (place === last - 1 ? 1 : place + 1);
    })
  );
}

function rewritten(fn: MilFunction, heads: readonly Heads[]): MilFunction {
  const opened = new Map(heads.map((found) => [found.port, found.opened]));
  const byResult = new Map(heads.map((found) => [found.turn.outputs[0]?.name, found]));
  const given = { ...fn, inputs: [...fn.inputs, ...opened.values()] };
  const next = rewritingOnce("heads of products", () => {
    const formed = new Map<string, Value>();
    return (operation, { emit }) => {
      const found = byResult.get(operation.outputs[0]?.name);
      if (found === undefined) return undefined;
      const { rows, rowShape } = found;
      const key = `${rows.name} ${rowShape.join()}`;
      const x = formed.get(key) ?? emit.op("reshape", { x: rows, shape: rowShape });
      formed.set(key, x);
      return emit.op("matmul", { x, y: found.opened, transpose_x: false, transpose_y: true });
    };
  })(given);
  return Object.freeze({
    ...next,
    inputs: Object.freeze(fn.inputs.map((input) => opened.get(input) ?? input)),
  });
}
