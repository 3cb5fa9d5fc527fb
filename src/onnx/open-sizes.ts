import { create, equals } from "@bufbuild/protobuf";
import { OnnxError } from "./errors.ts";
import { madeNode } from "./graph-writer.ts";
import { NodeProtoSchema, TensorProto_DataType, TensorProtoSchema } from "./generated/onnx_pb.ts";
import type {
  GraphProto,
  NodeProto,
  TensorProto,
  TensorShapeProto_Dimension,
  ValueInfoProto,
} from "./generated/onnx_pb.ts";

/** A size that is known when the graph runs, from an input's shape. */
export interface OpenSize {
  /** As the graph's inputs and outputs spell it. */
  readonly name: string;
  readonly input: string;
  readonly axis: number;
}

/** A graph as it is for certain values of the open sizes, which stand in the order of these. */
export interface SizedGraph {
  readonly graph: GraphProto;
  readonly values: readonly number[];
}

/** A whole number that is `factor` times the product of some open sizes. */
interface Monomial {
  readonly factor: number;
  readonly sizes: readonly OpenSize[];
}

/**
 * One graph for all sizes, from what the same function became for several: numbers of shapes, bounds and ports that
 * differ are expressed by the open sizes and computed when the graph runs. The values should be large primes, none of
 * them a size that the function has anyway. Changes and returns the first graph. Throws `OnnxError` where anything else
 * differs, or a number is no product of sizes.
 */
export function withOpenSizes(
  graphs: readonly SizedGraph[],
  openSizes: readonly OpenSize[],
): GraphProto {
  const [first, ...others] = graphs;
  if (first === undefined || others.length === 0)
    throw new OnnxError("onnx.open", "open sizes are found from two graphs at least");
  const { graph } = first;
  const find = (what: string, numbers: readonly number[]): Monomial =>
    monomialOf(what, numbers, graphs, openSizes);
  requireAlike(graphs.map((one) => one.graph));
  const computed = new SizeNodes(graph);
  graph.initializer.forEach((tensor, place) => {
    const alike = others.map((other) => other.graph.initializer[place] ?? tensor);
    if (alike.every((one) => equals(TensorProtoSchema, tensor, one))) return;
    const rows = [tensor, ...alike].map((one) => wholeNumbers(tensor, one));
    const entries = (rows[0] ?? []).map((_, index) =>
      find(
        `constant "${tensor.name}"`,
        rows.map((row) => row[index] ?? Number.NaN),
      ),
    );
    computed.define(tensor, entries);
  });
  graph.initializer = graph.initializer.filter(({ name }) => !computed.defines(name));
  graph.node = [...computed.nodes, ...graph.node];
  openPorts(graphs, find);
  return graph;
}

function requireAlike(graphs: readonly GraphProto[]): void {
  const [first, ...others] = graphs;
  for (const other of others) {
    const difference = first?.node.findIndex((node, place) => {
      const twin = other.node[place];
      return twin === undefined || !equals(NodeProtoSchema, node, twin);
    });
    const isAlike =
      first?.node.length === other.node.length &&
      first.initializer.length === other.initializer.length &&
      difference === -1;
    if (isAlike) continue;
    const node = first?.node[difference ?? -1];
    throw new OnnxError(
      "onnx.open.nodes",
      `for other sizes this function becomes other nodes${node === undefined ? "" : `, from ${node.name} on`}`,
    );
  }
}

/** A constant's whole numbers. Throws `OnnxError` where it holds others, or has another shape in another graph. */
function wholeNumbers({ dims }: TensorProto, tensor: TensorProto): readonly number[] {
  const isAlike =
    dims.length === tensor.dims.length && dims.every((size, axis) => size === tensor.dims[axis]);
  if (!isAlike || dims.length > 1 || tensor.dataType !== TensorProto_DataType.INT64) {
    throw new OnnxError(
      "onnx.open.constant",
      `the numbers of constant "${tensor.name}" depend on the open sizes`,
    );
  }
  const { buffer, byteOffset, byteLength } = tensor.rawData ?? new Uint8Array();
  const view = new DataView(buffer, byteOffset, byteLength);
  return Array.from({ length: byteLength / 8 }, (_, index) =>
    Number(view.getBigInt64(index * 8, true)),
  );
}

function monomialOf(
  what: string,
  numbers: readonly number[],
  graphs: readonly SizedGraph[],
  openSizes: readonly OpenSize[],
): Monomial {
  for (let chosen = 0; chosen < 2 ** openSizes.length; chosen++) {
    const places = openSizes.flatMap((_, place) => ((chosen >> place) & 1 ? [place] : []));
    const factors = numbers.map((number, row) =>
      places.reduce((left, place) => left / (graphs[row]?.values[place] ?? Number.NaN), number),
    );
    const [factor = Number.NaN] = factors;
    if (!Number.isInteger(factor) || factors.some((other) => other !== factor)) continue;
    return { factor, sizes: places.flatMap((place) => openSizes[place] ?? []) };
  }
  const told = openSizes.map(({ name }) => name).join(", ");
  throw new OnnxError(
    "onnx.open.number",
    `${what} has ${numbers.join(", ")}, which are no products of ${told}`,
  );
}

function openPorts(
  graphs: readonly SizedGraph[],
  find: (what: string, numbers: readonly number[]) => Monomial,
): void {
  const portsOf = ({ graph }: SizedGraph): readonly ValueInfoProto[] => [
    ...graph.input,
    ...graph.output,
  ];
  const all = graphs.map(portsOf);
  (all[0] ?? []).forEach((port, place) => {
    const dimensions = all.map((ports) => dimensionsOf(ports[place]));
    dimensions[0]?.forEach((dimension, axis) => {
      const sizes = dimensions.map((row) => Number(row[axis]?.value.value ?? Number.NaN));
      const found = find(`"${port.name}"`, sizes);
      if (found.sizes.length > 0) dimension.value = { case: "dimParam", value: textOf(found) };
    });
  });
}

function dimensionsOf(port: ValueInfoProto | undefined): TensorShapeProto_Dimension[] {
  const value = port?.type?.value;
  return value?.case === "tensorType" ? (value.value.shape?.dim ?? []) : [];
}

function textOf({ factor, sizes }: Monomial): string {
  const names = sizes.map(({ name }) => name);
  return [...(factor === 1 ? [] : [String(factor)]), ...names].join(" * ");
}

/** Nodes that compute open sizes and what is made of them, each once. */
class SizeNodes {
  readonly nodes: NodeProto[] = [];
  readonly #graph: GraphProto;
  readonly #known = new Map<string, string>();
  readonly #defined = new Set<string>();

  constructor(graph: GraphProto) {
    this.#graph = graph;
  }

  defines(name: string): boolean {
    return this.#defined.has(name);
  }

  /** Nodes that give the numbers of a constant, under its name. */
  define({ name, dims }: TensorProto, entries: readonly Monomial[]): void {
    this.#defined.add(name);
    const parts = entries.map((entry) => this.#product(entry));
    this.nodes.push(
      dims.length === 1
        ? madeNode("Concat", parts, name, { axis: 0n })
        : madeNode("Squeeze", parts, name),
    );
  }

  /** The value [1] of a product. */
  #product(product: Monomial): string {
    return this.#once(textOf(product) || "1", (name) => {
      const { factor, sizes } = product;
      const [size, ...rest] = sizes;
      if (size === undefined) {
        const number = new BigInt64Array([BigInt(factor)]);
        const rawData = new Uint8Array(number.buffer);
        const facts = { name, dims: [1n], dataType: TensorProto_DataType.INT64, rawData };
        this.#graph.initializer.push(create(TensorProtoSchema, facts));
      } else if (rest.length === 0 && factor === 1) this.#shape(size, name);
      else {
        const left = factor === 1 ? { factor, sizes: [size] } : { factor, sizes: [] };
        const right = { factor: 1, sizes: factor === 1 ? rest : sizes };
        this.nodes.push(madeNode("Mul", [this.#product(left), this.#product(right)], name));
      }
    });
  }

  #shape({ input, axis }: OpenSize, name: string): void {
    const range = { start: BigInt(axis), end: BigInt(axis + 1) };
    this.nodes.push(madeNode("Shape", [input], name, range));
  }

  #once(text: string, make: (name: string) => void): string {
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    const name = `size.${text.replaceAll(" * ", ".by.")}`;
    this.#known.set(text, name);
    make(name);
    return name;
  }
}
