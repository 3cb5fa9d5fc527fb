import { evaluateConstants } from "../mil/evaluate-operation.ts";
import { MilError } from "../mil/errors.ts";
import type { HostTensor } from "../mil/host-tensor.ts";
import { opRow } from "../mil/ops/index.ts";
import { isValue, literalOf } from "../mil/program.ts";
import type { Block, Literal, MilFunction, Operand, Operation, Value } from "../mil/program.ts";
import { valuesReadBy } from "../mil/traverse.ts";
import { formatType, staticShape } from "../mil/types.ts";
import { numbersAs, tensorLiteral } from "../mil/literal.ts";
import { didYouMean } from "../util/nearest.ts";
import { computeTypeOf, elementTypeOf } from "./element-types.ts";
import { OnnxError } from "./errors.ts";
import { findFusions } from "./fuse/index.ts";
import type { Fusions } from "./fuse/index.ts";
import { hazardsOf } from "./device-hazards.ts";
import type { DeviceHazards } from "./device-hazards.ts";
import { GraphWriter } from "./graph-writer.ts";
import { intermediateBytes } from "./intermediates.ts";
import { LOWERINGS, loweringOf } from "./lower/index.ts";
import { LoweringSite } from "./lower/site.ts";
import type { Lowering } from "./lower/site.ts";

export interface ToOnnxOptions {
  /** A file for other runtimes: only operators of the standard, and random numbers that are drawn anew. Default false. */
  readonly isForOthers?: boolean;
  /**
   * For a device that has kernels of fp32, int32 and bool and lacks some operators: inputs and outputs have the types
   * in which their values are computed (`computeTypeOf`), without casts. Default false.
   */
  readonly isForDevice?: boolean;
  /** The runtime has the operators of `foreign-products.ts`. Default false. */
  readonly hasForeignProducts?: boolean;
  /** Inputs that are constants of the model, whose numbers are given with it when it is opened (`in:<name>`). */
  readonly given?: ReadonlySet<string>;
}

export interface OnnxModel {
  readonly bytes: Uint8Array;
  /** ONNX nodes, for reports. */
  readonly nodeCount: number;
  /** What the runtime's arena is estimated to grow to. */
  readonly intermediateBytes: number;
  /** Names of nodes that not every device gets right. */
  readonly hazards: DeviceHazards;
}

/** Results that hold only numbers of operands need no wrapping; casts wrap by themselves. */
const keepsNumbers = ({ type }: Operation): boolean =>
  type === "cast" || opRow(type)?.numbersOf !== undefined;

/**
 * One MIL function as an ONNX model whose inputs and outputs carry the function's names and types.
 * Every size must be known. Throws `OnnxError` naming the op where one has no lowering.
 */
export function functionToOnnx(fn: MilFunction, options: ToOnnxOptions = {}): OnnxModel {
  const graph = new GraphWriter();
  const lowered = new FunctionLowering(fn, graph, options);
  const fusions = findFusions(fn, (options.given?.size ?? 0) > 0);
  lowered.run(fusions);
  // Before values get their names outside.
  const hazards = hazardsOf(graph);
  return {
    bytes: graph.finish(fn.name),
    nodeCount: graph.nodeCount,
    intermediateBytes: intermediateBytes(fn, fusions),
    hazards,
  };
}

class FunctionLowering {
  readonly #fn: MilFunction;
  /** The graph that nodes are written into: the function's, or that of a nested block. */
  #graph: GraphWriter;
  readonly #names = new Map<Value, string>();
  readonly #literals = new Map<Literal, string>();
  /** Results of ops over constants. */
  readonly #numbers = new Map<Value, HostTensor>();

  readonly #options: ToOnnxOptions;

  constructor(fn: MilFunction, graph: GraphWriter, options: ToOnnxOptions) {
    this.#options = options;
    this.#fn = fn;
    this.#graph = graph;
  }

  run(fusions: Fusions): void {
    const graph = this.#graph;
    const used = new Set<Operand>(
      this.#fn.operations.flatMap((operation) => [...valuesReadBy(operation)]),
    );
    for (const input of this.#fn.inputs) {
      const { type, name } = input;
      if (type.kind !== "tensor") {
        throw new OnnxError(
          "onnx.input",
          `${this.#fn.name}: input "${name}" is ${formatType(type)}; only tensors can be inputs`,
        );
      }
      const computed = computeTypeOf(type.dataType);
      const held = this.#options.isForDevice === true ? computed : type.dataType;
      const shape = staticShape(type, `${this.#fn.name}'s input "${name}"`);
      if (this.#options.given?.has(name) === true) graph.givenConstant(`in:${name}`, held, shape);
      else graph.input(`in:${name}`, held, shape);
      const isUsed = used.has(input) || this.#fn.outputs.includes(input);
      this.#names.set(
        input,
        computed === held || !isUsed
          ? `in:${name}`
          : graph.node("Cast", [`in:${name}`], { to: BigInt(elementTypeOf(computed)) }),
      );
    }
    for (const operation of this.#fn.operations) {
      if (fusions.consumed.has(operation)) continue;
      const fused = fusions.roots.get(operation);
      if (fused === undefined) this.#lower(operation);
      else fused(this.#site(operation), (value, name) => this.#names.set(value, name));
    }
    for (const output of this.#fn.outputs) {
      const { type, name } = output;
      if (type.kind !== "tensor") {
        throw new OnnxError("onnx.output", `${this.#fn.name}: output "${name}" is not a tensor`);
      }
      const value = this.#resolve(output);
      const computed = computeTypeOf(type.dataType);
      const held = this.#options.isForDevice === true ? computed : type.dataType;
      if (computed === held) graph.rename(value, `out:${name}`);
      else {
        graph.nodes(
          "Cast",
          [value],
          { to: BigInt(elementTypeOf(held)) },
          { outputs: [`out:${name}`] },
        );
      }
      graph.output(`out:${name}`, held, staticShape(type));
    }
  }

  #site(operation: Operation): LoweringSite {
    return new LoweringSite(this.#graph, operation, {
      resolve: (operand) => this.#resolve(operand),
      block: (graph, block, inputs) => this.#block(graph, block, inputs),
      isForOthers: this.#options.isForOthers ?? false,
      isForDevice: this.#options.isForDevice ?? false,
      hasForeignProducts: this.#options.hasForeignProducts ?? false,
    });
  }

  #block(graph: GraphWriter, block: Block, inputs: readonly string[]): readonly string[] {
    const outer = this.#graph;
    this.#graph = graph;
    block.inputs.forEach((input, index) => {
      const name = inputs[index];
      if (name !== undefined) this.#names.set(input, name);
    });
    for (const operation of block.operations) this.#lower(operation);
    const results = block.outputs.map((output) => this.#resolve(output));
    this.#graph = outer;
    return results;
  }

  #lower(operation: Operation): void {
    if (operation.type === "const") return;
    const lowering = loweringOf(operation.type);
    if (lowering === undefined) {
      throw new OnnxError(
        "onnx.op.unknown",
        `${this.#fn.name}: "${operation.type}" has no ONNX form.${didYouMean(operation.type, Object.keys(LOWERINGS))}`,
      );
    }
    if (typeof lowering !== "function") {
      if ("evaluatedNow" in lowering) {
        this.#evaluate(operation);
        return;
      }
      throw new OnnxError(
        "onnx.op.refused",
        `${this.#fn.name}: "${operation.type}" (${operation.outputs[0]?.name ?? ""}) has no ONNX form: ${lowering.notLowered}`,
      );
    }
    const results = this.#written(operation, lowering);
    const names = typeof results === "string" ? [results] : results;
    operation.outputs.forEach((output, index) => {
      const name = names[index];
      if (name === undefined)
        throw new OnnxError("onnx.op.results", `${operation.type} lacks results`);
      this.#names.set(output, this.#wrapped(operation, output, name));
    });
  }

  /** Results of ops over constants become constants where an op that runs reads them; masks and codes never do. */
  #evaluate(operation: Operation): void {
    const results = evaluateConstants(operation, (operand) => {
      const known = isValue(operand) ? this.#numbers.get(operand) : undefined;
      if (known !== undefined) return known;
      const name = isValue(operand) ? `"${operand.name}"` : "a literal";
      const isFar = literalOf(operand)?.data.kind === "blob";
      throw new OnnxError(
        "onnx.op.constant",
        `${this.#fn.name}: ${operation.type} needs constants, ${name} is none`,
        isFar ? { remedy: "Load the program's weights first." } : {},
      );
    });
    operation.outputs.forEach((output, index) => {
      const result = results[index];
      if (result !== undefined) this.#numbers.set(output, result);
    });
  }

  #written(operation: Operation, lowering: Lowering): string | readonly string[] {
    try {
      return lowering(this.#site(operation));
    } catch (error) {
      // Sizes and settings that are only known at run time.
      if (!(error instanceof MilError)) throw error;
      throw new OnnxError("onnx.op.open", `${this.#fn.name}: ${error.message}`, { cause: error });
    }
  }

  /** Small integers are computed in int32; what overflows is wrapped where it arises. */
  #wrapped(operation: Operation, output: Value, name: string): string {
    if (output.type.kind !== "tensor" || keepsNumbers(operation)) return name;
    const { dataType } = output.type;
    if (!LoweringSite.wraps(dataType)) return name;
    const narrow = this.#graph.node("Cast", [name], { to: BigInt(elementTypeOf(dataType)) });
    return this.#graph.node("Cast", [narrow], {
      to: BigInt(elementTypeOf(computeTypeOf(dataType))),
    });
  }

  #resolve(operand: Operand): string {
    const literal = isValue(operand) ? operand.constant : operand;
    if (literal !== undefined) return this.#constant(literal);
    const name = isValue(operand) ? (this.#names.get(operand) ?? this.#known(operand)) : undefined;
    if (name === undefined) {
      const what = isValue(operand) ? `"${operand.name}"` : "an operand";
      throw new OnnxError("onnx.value", `${this.#fn.name}: ${what} is used before it is made`);
    }
    return name;
  }

  /** The numbers of an op over constants as a constant of the model. */
  #known(value: Value): string | undefined {
    const tensor = this.#numbers.get(value);
    if (tensor === undefined) return undefined;
    const literal = tensorLiteral(tensor.dataType, tensor.shape, tensor.data);
    const name = this.#constant(literal);
    this.#names.set(value, name);
    return name;
  }

  #constant(literal: Literal): string {
    const known = this.#literals.get(literal);
    if (known !== undefined) return known;
    if (literal.type.kind !== "tensor" || literal.data.kind !== "numbers") {
      throw new OnnxError(
        "onnx.constant",
        `${this.#fn.name}: a ${formatType(literal.type)} literal with ${literal.data.kind} cannot be a tensor`,
      );
    }
    const { numbers } = literal.data;
    const computed = computeTypeOf(literal.type.dataType);
    const shape = staticShape(literal.type);
    const name = this.#graph.constant(computed, shape, numbersAs(computed, numbers));
    this.#literals.set(literal, name);
    return name;
  }
}
