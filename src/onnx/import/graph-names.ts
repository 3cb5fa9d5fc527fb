import type { GraphProto } from "../generated/onnx_pb.ts";

/** Letters, digits and underscores, as Core ML wants names. */
export function identifier(name: string): string {
  const clean = name.replaceAll(/[^A-Za-z0-9_]/g, "_");
  return /^[A-Za-z_]/.test(clean) ? clean : `_${clean}`;
}

/** Names of inputs and outputs as MIL can spell them, all different. */
export function portNames(graph: GraphProto): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  const taken = new Set<string>();
  for (const { name } of [...graph.input, ...graph.output]) {
    if (names.has(name)) continue;
    let unique = identifier(name);
    while (taken.has(unique)) unique = `${unique}_`;
    taken.add(unique);
    names.set(name, unique);
  }
  return names;
}
