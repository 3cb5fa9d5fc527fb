import { computeTypeOf } from "../element-types.ts";
import type { GraphWriter } from "../graph-writer.ts";
import type { Lowering, LoweringSite } from "./site.ts";

/** Nodes inside a graph, which for the steps of a sequence is a nested one. */
type Node = (opType: string, inputs: readonly string[]) => string;

/** A recurrent layer's activation by its name in MIL, with the constants of the op table. */
function activation(site: LoweringSite, parameter: string): (node: Node, x: string) => string {
  const name = site.call.string(parameter).toLowerCase();
  const type = site.type("x");
  switch (name) {
    case "tanh":
    case "scaled_tanh":
      return (node, x) => node("Tanh", [x]);
    case "sigmoid":
      return (node, x) => node("Sigmoid", [x]);
    case "relu":
      return (node, x) => node("Relu", [x]);
    case "hard_sigmoid":
    case "sigmoid_hard": {
      const [zero, half, one, slope] = [0, 0.5, 1, 0.2].map((value) => site.scalar(value, type));
      return (node, x) =>
        node("Clip", [
          node("Add", [node("Mul", [x, slope ?? ""]), half ?? ""]),
          zero ?? "",
          one ?? "",
        ]);
    }
    case "linear":
      return (_, x) => x;
    default:
      throw site.fail(`${parameter} "${name}" has no ONNX form`);
  }
}

function transposed(site: LoweringSite, weight: string): string {
  return site.node("Transpose", [site.value(weight)], { perm: [1n, 0n] });
}

function split(graph: GraphWriter, value: string, count: number, axis: number): readonly string[] {
  return graph.nodes(
    "Split",
    [value],
    { axis: BigInt(axis), num_outputs: BigInt(count) },
    { outputs: Array.from({ length: count }, () => graph.fresh("split")) },
  );
}

interface Walk {
  /** States before the first step, each [B, H]. */
  readonly initial: readonly string[];
  /** What a step reads of the sequence: [S, B, G * H], products with the input and their bias. */
  readonly projected: string;
  readonly hidden: number;
  readonly reverse: boolean;
  /** Results stand at the place of their input, not in the order of the walk. */
  readonly inPlace?: boolean;
}

/** New states from the step's row [B, G * H] and the old states; the first is the output. */
type Step = (
  graph: GraphWriter,
  node: Node,
  row: string,
  states: readonly string[],
) => readonly string[];

/** Walks a sequence. Returns the outputs [S, B, H] and the final states. */
function walk(
  site: LoweringSite,
  { initial, projected, hidden, reverse, inPlace = false }: Walk,
  step: Step,
): { readonly sequence: string; readonly finals: readonly string[] } {
  const [, batch = 1] = site.shape("x");
  const [rows = 1] = site.shape("weight_ih");
  const dataType = computeTypeOf(site.type("x"));
  const state = { dataType, shape: [batch, hidden] };
  const body = site.graph.subgraph((inner) => {
    const states = initial.map(() => inner.input(inner.fresh("state"), dataType, state.shape));
    const row = inner.input(inner.fresh("row"), dataType, [batch, rows]);
    const next = step(inner, (opType, inputs) => inner.node(opType, inputs), row, states);
    return [...next, next[0] ?? ""].map((value) => ({ value, ...state }));
  });
  const results = site.graph.nodes(
    "Scan",
    [...initial, projected],
    {
      body,
      num_scan_inputs: 1n,
      scan_input_directions: [reverse ? 1n : 0n],
      scan_output_directions: [reverse && inPlace ? 1n : 0n],
    },
    { outputs: [...initial, ""].map(() => site.graph.fresh("scan")) },
  );
  return { sequence: results.at(-1) ?? "", finals: results.slice(0, -1) };
}

/** The walks of one or two directions side by side, as the op's results. */
function collected(site: LoweringSite, walks: readonly ReturnType<typeof walk>[]): string[] {
  const beside = (parts: readonly string[]): string =>
    parts.length === 1 ? (parts[0] ?? "") : site.node("Concat", parts, { axis: -1n });
  const states = walks[0]?.finals ?? [];
  const finals = states.map((_, index) => beside(walks.map((one) => one.finals[index] ?? "")));
  const sequence = site.call.bool("output_sequence")
    ? beside(walks.map((one) => one.sequence))
    : site.reshape(finals[0] ?? "", site.resultShape(0));
  return [sequence, ...finals];
}

/** x times the weight [G * H, I], plus the biases that are there: [S, B, G * H]. */
function project(site: LoweringSite, suffix: string, biases: readonly string[]): string {
  let result = site.node("MatMul", [site.value("x"), transposed(site, `weight_ih${suffix}`)]);
  for (const bias of biases)
    if (site.has(bias)) result = site.node("Add", [result, site.value(bias)]);
  return result;
}

const isReverse = (site: LoweringSite): boolean => site.call.string("direction") === "reverse";

const hiddenOf = (site: LoweringSite): number => site.shape("weight_hh")[1] ?? 1;

/** The gates stand in the order input, forget, output, cell; peepholes input, forget, output. */
const lstm: Lowering = (site) => {
  const hidden = hiddenOf(site);
  const gate = activation(site, "recurrent_activation");
  const cell = activation(site, "cell_activation");
  const output = activation(site, "activation");
  const clip = site.has("clip") ? site.call.float("clip") : undefined;
  const limits = clip === undefined ? undefined : [site.scalar(-clip), site.scalar(clip)];
  const both = site.call.string("direction") === "bidirectional";
  const initial = ["initial_h", "initial_c"].map((name) =>
    both ? split(site.graph, site.value(name), 2, 1) : [site.value(name)],
  );
  const run = (suffix: string, index: number, reverse: boolean) => {
    const recurrent = transposed(site, `weight_hh${suffix}`);
    const holes = site.has(`peephole${suffix}`)
      ? split(site.graph, site.value(`peephole${suffix}`), 3, 0)
      : undefined;
    return walk(
      site,
      {
        initial: initial.map((states) => states[index] ?? ""),
        projected: project(site, suffix, [`bias${suffix}`]),
        hidden,
        reverse,
        inPlace: index === 1,
      },
      (graph, node, row, [h = "", c = ""]) => {
        const sums = node("Add", [row, node("MatMul", [h, recurrent])]);
        const [i = "", f = "", o = "", z = ""] = split(graph, sums, 4, 1);
        const look = (place: number, sum: string, state: string): string => {
          const hole = holes?.[place];
          return hole === undefined ? sum : node("Add", [sum, node("Mul", [hole, state])]);
        };
        const kept = node("Mul", [gate(node, look(1, f, c)), c]);
        const added = node("Mul", [gate(node, look(0, i, c)), cell(node, z)]);
        const sum = node("Add", [kept, added]);
        const next = limits === undefined ? sum : node("Clip", [sum, ...limits]);
        return [node("Mul", [gate(node, look(2, o, next)), output(node, next)]), next];
      },
    );
  };
  const walks = [run("", 0, isReverse(site))];
  if (both) walks.push(run("_back", 1, true));
  return collected(site, walks);
};

/** The gates stand in the order reset, output, update. */
const gru: Lowering = (site) => {
  const hidden = hiddenOf(site);
  const gate = activation(site, "recurrent_activation");
  const output = activation(site, "activation");
  const resetAfter = site.call.bool("reset_after");
  const recurrent = transposed(site, "weight_hh");
  const candidateWeight = split(site.graph, recurrent, 3, 1)[1] ?? "";
  const bias = site.has("bias") ? site.value("bias") : undefined;
  const candidateBias = bias === undefined ? undefined : split(site.graph, bias, 3, 0)[1];
  const one = site.scalar(1);
  const walked = walk(
    site,
    {
      initial: [site.value("initial_h")],
      projected: project(site, "", ["input_bias"]),
      hidden,
      reverse: isReverse(site),
    },
    (graph, node, row, [h = ""]) => {
      const product = node("MatMul", [h, recurrent]);
      const biased = bias === undefined ? product : node("Add", [product, bias]);
      const [rIn = "", oIn = "", zIn = ""] = split(graph, row, 3, 1);
      const [r = "", o = "", z = ""] = split(graph, biased, 3, 1);
      const reset = gate(node, node("Add", [rIn, r]));
      const update = gate(node, node("Add", [zIn, z]));
      const gated = (): string => {
        if (resetAfter) return node("Mul", [reset, o]);
        const again = node("MatMul", [node("Mul", [reset, h]), candidateWeight]);
        return candidateBias === undefined ? again : node("Add", [again, candidateBias]);
      };
      const candidate = output(node, node("Add", [oIn, gated()]));
      const fresh = node("Mul", [node("Sub", [one, update]), candidate]);
      return [node("Add", [fresh, node("Mul", [update, h])])];
    },
  );
  return collected(site, [walked]);
};

const rnn: Lowering = (site) => {
  const output = activation(site, "activation");
  const recurrent = transposed(site, "weight_hh");
  const walked = walk(
    site,
    {
      initial: [site.value("initial_h")],
      projected: project(site, "", ["bias"]),
      hidden: hiddenOf(site),
      reverse: isReverse(site),
    },
    (_, node, row, [h = ""]) => [output(node, node("Add", [row, node("MatMul", [h, recurrent])]))],
  );
  return collected(site, [walked]);
};

/** Recurrent layers as `Scan` over the sequence: every activation, clip and peephole MIL has, which ONNX's own have not. */
export const LOWER_RECURRENT = { lstm, gru, rnn } as const satisfies Record<string, Lowering>;
