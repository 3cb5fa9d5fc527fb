import { create, toBinary } from "@bufbuild/protobuf";
import { numericArrayBytes } from "./tensor-bytes.ts";
import type { NumericData } from "../mil/program.ts";
import type { DataType } from "../mil/types.ts";
import { elementTypeOf } from "./element-types.ts";
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  StringStringEntryProtoSchema,
  TensorProto_DataLocation,
  TensorProtoSchema,
  TensorShapeProto_DimensionSchema,
  ValueInfoProtoSchema,
} from "./generated/onnx_pb.ts";
import type {
  AttributeProto,
  GraphProto,
  NodeProto,
  TensorProto,
  ValueInfoProto,
} from "./generated/onnx_pb.ts";

/** The operator set nodes are written for, and that of ONNX Runtime's own operators. */
export const ONNX_OPSET = 21;
export const IR_VERSION = 10;
export const MICROSOFT_DOMAIN = "com.microsoft";

/** Integers are `bigint`, reals `number`: the two attribute kinds of ONNX are told apart by that. */
export type AttributeValue =
  | GraphProto
  | bigint
  | number
  | string
  | readonly bigint[]
  | readonly number[]
  | undefined;

/** A value that a nested graph results in. */
export interface SubgraphResult {
  readonly value: string;
  readonly dataType: DataType;
  readonly shape: readonly number[];
}

export interface NodeOptions {
  readonly domain?: string;
  /** Names for the results; an empty name leaves an optional result out. Default: one fresh name. */
  readonly outputs?: readonly string[];
}

/** Collects the nodes, constants, inputs and outputs of one graph and encodes the model. */
export class GraphWriter {
  readonly #nodes: NodeProto[] = [];
  readonly #initializers: TensorProto[] = [];
  readonly #inputs: ValueInfoProto[] = [];
  readonly #outputs: ValueInfoProto[] = [];
  readonly #constants = new Map<string, string>();
  readonly #makers = new Map<string, NodeProto>();
  readonly #renamed = new Map<string, string>();
  readonly #notForDevices = new Set<string>();
  /** What a graph and the graphs inside its nodes have in common. */
  readonly #model: { counter: number; nodeCount: number; readonly domains: Set<string> };
  readonly #outer: GraphWriter | undefined;

  constructor(outer?: GraphWriter) {
    this.#outer = outer;
    this.#model =
      outer !== undefined ? outer.#model : { counter: 0, nodeCount: 0, domains: new Set() };
  }

  /** A name no other value of this model has. */
  fresh(base = "t"): string {
    return `${base}.${this.#model.counter++}`;
  }

  /**
   * A graph for a node that holds one (`If`, `Loop`, `Scan`). What is appended to `inner` stands in it; it may
   * read the values of this graph, and its constants are this graph's. `build` returns the values it results in.
   */
  subgraph(build: (inner: GraphWriter) => readonly SubgraphResult[]): GraphProto {
    const inner = new GraphWriter(this);
    for (const { value, dataType, shape } of build(inner)) {
      // A result must be made inside, and under a name of its own.
      inner.output(inner.node("Identity", [value]), dataType, shape);
    }
    return inner.#graph(this.fresh("body"));
  }

  input(name: string, dataType: DataType, shape: readonly number[]): string {
    this.#inputs.push(valueInfo(name, dataType, shape));
    return name;
  }

  /** A constant whose numbers whoever opens the model gives; they are in no file. */
  givenConstant(name: string, dataType: DataType, shape: readonly number[]): string {
    this.#initializers.push(
      create(TensorProtoSchema, {
        name,
        dataType: elementTypeOf(dataType),
        dims: shape.map(BigInt),
        dataLocation: TensorProto_DataLocation.EXTERNAL,
        externalData: [create(StringStringEntryProtoSchema, { key: "location", value: "given" })],
      }),
    );
    return name;
  }

  output(name: string, dataType: DataType, shape: readonly number[]): void {
    this.#outputs.push(valueInfo(name, dataType, shape));
  }

  /** Appends a node and returns its results' names. */
  nodes(
    opType: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>> = {},
    options: NodeOptions = {},
  ): readonly string[] {
    const outputs = options.outputs ?? [this.fresh(opType.toLowerCase())];
    const domain = options.domain ?? "";
    if (domain !== "") this.#model.domains.add(domain);
    const node = create(NodeProtoSchema, {
      opType,
      domain,
      name: `${opType}.${this.#model.counter++}`,
      input: [...inputs],
      output: [...outputs],
      attribute: Object.entries(attributes).flatMap(([name, value]) =>
        value === undefined ? [] : [attribute(name, value)],
      ),
    });
    this.#nodes.push(node);
    this.#model.nodeCount++;
    for (const output of outputs) this.#makers.set(output, node);
    return outputs;
  }

  /** Appends a node with one result. */
  node(
    opType: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>> = {},
    domain = "",
  ): string {
    const name = this.fresh(opType.toLowerCase());
    this.nodes(opType, inputs, attributes, { domain, outputs: [name] });
    return name;
  }

  /** A constant; small equal ones are kept once. */
  constant(dataType: DataType, shape: readonly number[], numbers: NumericData): string {
    if (this.#outer !== undefined) return this.#outer.constant(dataType, shape, numbers);
    const key =
      numbers.length <= 16
        ? `${dataType}[${shape.join(",")}]${Array.from(numbers, tell).join(",")}`
        : undefined;
    const known = key === undefined ? undefined : this.#constants.get(key);
    if (known !== undefined) return known;
    const name = this.fresh("constant");
    this.#initializers.push(
      create(TensorProtoSchema, {
        name,
        dataType: elementTypeOf(dataType),
        dims: shape.map(BigInt),
        rawData: numericArrayBytes(dataType, numbers),
      }),
    );
    if (key !== undefined) this.#constants.set(key, name);
    return name;
  }

  /** 64-bit integers, as ONNX takes shapes, axes and positions; a vector where no shape is given. */
  ints(values: readonly number[], shape: readonly number[] = [values.length]): string {
    return this.constant("int64", shape, BigInt64Array.from(values, BigInt));
  }

  /**
   * Gives a value the name it must have outside. What a node makes is renamed everywhere; inputs, constants and
   * values with an outside name already are copied by an Identity node.
   */
  rename(from: string, to: string): void {
    const maker = this.#makers.get(from);
    if (maker === undefined || this.#renamed.has(from)) {
      this.nodes("Identity", [from], {}, { outputs: [to] });
      return;
    }
    this.#renamed.set(from, to);
  }

  /** A value that devices compute wrongly or in any order: the node that makes it is for the processor. */
  keepFromDevice(value: string): string {
    this.#notForDevices.add(value);
    return value;
  }

  isKeptFromDevice(value: string): boolean {
    return this.#notForDevices.has(value);
  }

  /** Names of this graph's nodes of which `isWanted` says so. */
  nodeNames(isWanted: (node: NodeProto) => boolean): readonly string[] {
    return this.#nodes.filter(isWanted).map(({ name }) => name);
  }

  /** Nodes of the model, those of nested graphs included. */
  get nodeCount(): number {
    return this.#model.nodeCount;
  }

  /** The encoded model. */
  finish(name: string): Uint8Array {
    renameIn(this.#nodes, (value) => this.#renamed.get(value) ?? value);
    return toBinary(
      ModelProtoSchema,
      create(ModelProtoSchema, {
        irVersion: BigInt(IR_VERSION),
        producerName: "anecdote",
        graph: this.#graph(name),
        opsetImport: [
          { domain: "", version: BigInt(ONNX_OPSET) },
          ...[...this.#model.domains].map((domain) => ({ domain, version: 1n })),
        ],
      }),
    );
  }

  #graph(name: string): GraphProto {
    return create(GraphProtoSchema, {
      name,
      node: this.#nodes,
      initializer: this.#initializers,
      input: this.#inputs,
      output: this.#outputs,
    });
  }
}

/** Gives values other names, in nested graphs too: names are unique in the whole model. */
export function renameIn(nodes: readonly NodeProto[], rename: (name: string) => string): void {
  for (const node of nodes) {
    node.input = node.input.map(rename);
    node.output = node.output.map(rename);
    for (const { g } of node.attribute) if (g !== undefined) renameIn(g.node, rename);
  }
}

/** Keeps -0 apart from 0. */
function tell(value: number | bigint): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

function valueInfo(name: string, dataType: DataType, shape: readonly number[]): ValueInfoProto {
  return create(ValueInfoProtoSchema, {
    name,
    type: {
      value: {
        case: "tensorType",
        value: {
          elemType: elementTypeOf(dataType),
          shape: {
            dim: shape.map((size) =>
              create(TensorShapeProto_DimensionSchema, {
                value: { case: "dimValue", value: BigInt(size) },
              }),
            ),
          },
        },
      },
    },
  });
}

/** A node with one result and named after it, for a graph that is changed after it was written. */
export function madeNode(
  opType: string,
  input: readonly string[],
  output: string,
  attributes: Readonly<Record<string, bigint | string>> = {},
  name = `make.${output}`,
): NodeProto {
  return create(NodeProtoSchema, {
    ...{ opType, name, input: [...input], output: [output] },
    attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
  });
}

function attribute(name: string, value: Exclude<AttributeValue, undefined>): AttributeProto {
  return create(AttributeProtoSchema, { name, ...typedValue(value) });
}

function typedValue(value: Exclude<AttributeValue, undefined>) {
  const { INT, FLOAT, STRING, GRAPH, FLOATS, INTS } = AttributeProto_AttributeType;
  if (typeof value === "bigint") return { type: INT, i: value };
  if (typeof value === "number") return { type: FLOAT, f: value };
  if (typeof value === "string") return { type: STRING, s: new TextEncoder().encode(value) };
  if ("$typeName" in value) return { type: GRAPH, g: value };
  const floats = value.filter((item) => typeof item === "number");
  const ints = value.filter((item) => typeof item === "bigint");
  return floats.length > 0 ? { type: FLOATS, floats } : { type: INTS, ints };
}
