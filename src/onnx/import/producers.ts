import type { GraphProto, NodeProto } from "../generated/onnx_pb.ts";

export const NESTING_LIMIT = 32;

/** Everything that a node reads, in the graphs inside it too. */
export function readsOf(node: NodeProto, depth = 0): readonly string[] {
  const nested = node.attribute.flatMap(({ g }) =>
    g === undefined || depth > NESTING_LIMIT
      ? []
      : [
          ...g.node.flatMap((inner) => readsOf(inner, depth + 1)),
          ...g.output.map(({ name }) => name),
        ],
  );
  return [...node.input.filter((name) => name !== ""), ...nested];
}

/** The graph's inputs on which a value depends. */
export function inputsBehind(graph: GraphProto, name: string): readonly string[] {
  const makers = new Map<string, NodeProto>();
  const collect = (inner: GraphProto, depth: number): void => {
    for (const node of inner.node) {
      for (const output of node.output) makers.set(output, node);
      if (depth > NESTING_LIMIT) continue;
      for (const { g } of node.attribute) if (g !== undefined) collect(g, depth + 1);
    }
  };
  collect(graph, 0);
  const seen = new Set<string>();
  const open = [name];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (seen.has(next)) continue;
    seen.add(next);
    const maker = makers.get(next);
    if (maker !== undefined) open.push(...readsOf(maker));
  }
  const initialized = new Set(graph.initializer.map((tensor) => tensor.name));
  return graph.input
    .map((port) => port.name)
    .filter((port) => seen.has(port) && !initialized.has(port));
}

/**
 * A graph's nodes, each after those that make what it reads. The format asks writers for that order and not all keep
 * it; nodes that wait for one another stay where they are, so that the reader names the value that is missing.
 */
export function inOrder(graph: GraphProto): readonly NodeProto[] {
  const makers = new Map<string, NodeProto>();
  for (const node of graph.node) for (const name of node.output) makers.set(name, node);
  const made = new Set<string>();
  const isSorted = graph.node.every((node) => {
    const fits = readsOf(node).every((name) => made.has(name) || !makers.has(name));
    for (const name of node.output) made.add(name);
    return fits;
  });
  if (isSorted) return graph.node;
  const sorted: NodeProto[] = [];
  const state = new Map<NodeProto, "open" | "done">();
  for (const start of graph.node) {
    const open = [start];
    for (let node = open.at(-1); node !== undefined; node = open.at(-1)) {
      if (state.get(node) === "done") {
        open.pop();
        continue;
      }
      const before =
        state.get(node) === "open"
          ? []
          : readsOf(node).flatMap((name) => {
              const maker = makers.get(name);
              return maker === undefined || state.has(maker) ? [] : [maker];
            });
      state.set(node, "open");
      if (before.length > 0) {
        open.push(...before);
        continue;
      }
      open.pop();
      state.set(node, "done");
      sorted.push(node);
    }
  }
  return sorted;
}
