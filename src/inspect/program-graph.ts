import { literalNumbers } from "../mil/literal.ts";
import { literalOf, operandsIn } from "../mil/program.ts";
import type { Literal, MilFunction, Operation, Value } from "../mil/program.ts";
import { formatType } from "../mil/types.ts";
import type { HwxGraph } from "./hwx/graph.ts";
import { valuesReadBy } from "../mil/traverse.ts";
import { distinct } from "./hwx/graph.ts";

type Node = HwxGraph["nodes"][number];
type Edge = HwxGraph["edges"][number];

/** Ops drawn at most; the rest is told in one node. */
const OPERATION_LIMIT = 400;

/**
 * The data flow of a function: inputs, ops and outputs as nodes, values as edges. Constants are told inside the op
 * that takes them.
 */
export function programGraph(fn: MilFunction): HwxGraph {
  const nodes: Node[] = [];
  const edges: Edge[] = [];
  const maker = new Map<Value, string>();
  const operations = fn.operations.filter(({ type }) => type !== "const");
  const shown = operations.slice(0, OPERATION_LIMIT);
  fn.inputs.forEach((value, index) => {
    const id = `i${index}`;
    nodes.push({ id, kind: "input", lines: [value.name, formatType(value.type)] });
    maker.set(value, id);
  });
  shown.forEach((operation, index) => {
    const id = `n${index}`;
    nodes.push({ id, kind: "task", lines: linesOf(operation) });
    for (const value of valuesReadBy(operation)) {
      const from = maker.get(value);
      if (from !== undefined) edges.push({ from, to: id, label: formatType(value.type) });
    }
    for (const output of operation.outputs) maker.set(output, id);
  });
  const left = operations.length - shown.length;
  if (left > 0) {
    nodes.push({ id: "more", kind: "more", lines: [`${left} more ops`] });
    const last = nodes.at(-2);
    if (last !== undefined) edges.push({ from: last.id, to: "more", label: "…" });
  }
  fn.outputs.forEach((value, index) => {
    const id = `o${index}`;
    nodes.push({ id, kind: "output", lines: [value.name, formatType(value.type)] });
    const from = maker.get(value) ?? (left > 0 ? "more" : undefined);
    if (from !== undefined) edges.push({ from, to: id, label: value.name });
  });
  return { nodes, edges: distinct(edges) };
}

/** Constants told inside one box. */
const CONSTANTS_SHOWN = 4;
/** Numbers of a setting that are written out. */
const NUMBERS_SHOWN = 10;

function linesOf(operation: Operation): string[] {
  const names = operation.outputs.map(({ name }) => name).join(", ");
  const constants = [...operation.inputs].flatMap(([name, argument]) => {
    return operandsIn(argument).flatMap((operand) => {
      const literal = literalOf(operand);
      return literal === undefined ? [] : [{ name, literal, isSetting: isSetting(literal) }];
    });
  });
  // Weights say more than settings do.
  const shown = constants.toSorted((a, b) => Number(a.isSetting) - Number(b.isSetting));
  return [
    operation.type,
    names,
    ...shown.slice(0, CONSTANTS_SHOWN).map(({ name, literal }) => `${name} ${valueText(literal)}`),
    ...(operation.blocks.length > 0 ? [`${operation.blocks.length} nested blocks`] : []),
  ].filter((line) => line !== "");
}

function isSetting({ data }: Literal): boolean {
  return (
    data.kind === "strings" || (data.kind === "numbers" && data.numbers.length < NUMBERS_SHOWN)
  );
}

function valueText(literal: Literal): string {
  const { data, type } = literal;
  if (!isSetting(literal)) return formatType(type);
  if (data.kind === "strings") return data.strings.join(", ");
  if (data.kind !== "numbers" || type.kind !== "tensor") return formatType(type);
  const numbers = literalNumbers(literal).map((number) =>
    type.dataType === "bool" ? String(number !== 0) : String(Number(number.toPrecision(5))),
  );
  return type.shape.length === 0 ? numbers.join() : `[${numbers.join(", ")}]`;
}
