import type { Block, Value } from "../../mil/program.ts";
import { formatType } from "../../mil/types.ts";
import type { MilType } from "../../mil/types.ts";
import { computeTypeOf } from "../element-types.ts";
import type { GraphWriter, SubgraphResult } from "../graph-writer.ts";
import type { Lowering, LoweringSite } from "./site.ts";

/** The type a value has inside graphs. ONNX Runtime would take open sizes; the engine's plans do not. */
function typeOf(site: LoweringSite, { name, type }: Value): Omit<SubgraphResult, "value"> {
  if (type.kind !== "tensor") throw site.fail(`"${name}" is a ${formatType(type)}, not a tensor`);
  const shape = type.shape.map((size) => {
    if (size === "?") throw site.fail(`the size of "${name}" changes while the program runs`);
    return size;
  });
  return { dataType: computeTypeOf(type.dataType), shape };
}

function blocksOf(site: LoweringSite): readonly [Block, Block] {
  const [first, second] = site.operation.blocks;
  if (first === undefined || second === undefined) throw site.fail("two blocks are needed");
  return [first, second];
}

function resultsOf(
  site: LoweringSite,
  graph: GraphWriter,
  block: Block,
  inputs: readonly string[],
): readonly SubgraphResult[] {
  const values = site.block(graph, block, inputs);
  // The op's own results say the sizes: a branch may know fewer of them than the two have in common.
  return site.operation.outputs.map((output, index) => ({
    value: values[index] ?? "",
    ...typeOf(site, output),
  }));
}

/** A condition of one element, in any number of axes, as the scalar that ONNX's operators take. */
function scalarCondition(graph: GraphWriter, value: string, type: MilType | undefined): string {
  const isScalar = type?.kind === "tensor" && type.shape.length === 0;
  return isScalar ? value : graph.node("Reshape", [value, graph.ints([])]);
}

export const LOWER_CONTROL_FLOW = {
  cond: (site) => {
    const [whenTrue, whenFalse] = blocksOf(site);
    const branch = (block: Block) =>
      site.graph.subgraph((inner) => resultsOf(site, inner, block, []));
    return site.graph.nodes(
      "If",
      [scalarCondition(site.graph, site.value("pred"), site.call.operand("pred").type)],
      { then_branch: branch(whenTrue), else_branch: branch(whenFalse) },
      { outputs: site.operation.outputs.map(() => site.graph.fresh("if")) },
    );
  },

  /** ONNX decides at the end of a round whether there is another: the condition is written twice. */
  while_loop: (site) => {
    const [condition, body] = blocksOf(site);
    const start = site.values("loop_vars");
    const decided = condition.outputs[0]?.type;
    const [first = ""] = site.block(site.graph, condition, start);
    const goes = scalarCondition(site.graph, first, decided);
    const round = site.graph.subgraph((inner) => {
      inner.input(inner.fresh("round"), "int64", []);
      inner.input(inner.fresh("goes"), "bool", []);
      const variables = body.inputs.map((input) => {
        const { dataType, shape } = typeOf(site, input);
        return inner.input(inner.fresh("variable"), dataType, shape);
      });
      const results = resultsOf(site, inner, body, variables);
      const [again = ""] = site.block(
        inner,
        condition,
        results.map(({ value }) => value),
      );
      const value = scalarCondition(inner, again, decided);
      return [{ value, dataType: "bool", shape: [] }, ...results];
    });
    return site.graph.nodes(
      "Loop",
      ["", goes, ...start],
      { body: round },
      { outputs: site.operation.outputs.map(() => site.graph.fresh("loop")) },
    );
  },
} as const satisfies Record<string, Lowering>;
