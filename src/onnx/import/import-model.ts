import { FunctionBuilder, programOf } from "../../mil/builder.ts";
import { boolLiteral, int32Literal } from "../../mil/literal.ts";
import type { OpInputs } from "../../mil/op-row.ts";
import type { OPS, OpName } from "../../mil/ops/index.ts";
import { isOperandList, isValue, plainOperation } from "../../mil/program.ts";
import type { Block, Literal, Operand, Program, Value } from "../../mil/program.ts";
import type { MilType } from "../../mil/types.ts";
import { didYouMean, editDistance } from "../../util/nearest.ts";
import { OnnxError } from "../errors.ts";
import type { GraphProto, NodeProto } from "../generated/onnx_pb.ts";
import { literalOfNumbers, literalOfTensor } from "../read-model.ts";
import type { OnnxFile } from "../read-model.ts";
import { NeededConstant } from "./needed-constant.ts";
import { NESTING_LIMIT, inOrder, inputsBehind, readsOf } from "./producers.ts";
import { IMPORTERS, importerOf } from "./table.ts";
import { ImportSite } from "./site.ts";
import { foldConstants, isOperand } from "./fold-constants.ts";
import { declaredTypes, inheritedType } from "./element-types.ts";
import { checkOptions, inputType } from "./graph-inputs.ts";
import type { ImportOptions } from "./graph-inputs.ts";

export type { ImportOptions } from "./graph-inputs.ts";
import { identifier, portNames } from "./graph-names.ts";
import { WideIntegers } from "./wide-integers.ts";
import type { ImportContext, LoopStart } from "./site.ts";

export interface ImportedModel {
  readonly program: Program;
  /** Inputs that took the numbers of `bindable`, in the order of the model. */
  readonly bound: readonly string[];
  /** The names of inputs and results as MIL spells them, by the model's. */
  readonly portNames: ReadonlyMap<string, string>;
}

/** Constants of so many elements get a name and a place in the weight file; smaller ones stand in place. */
const NAMED_CONSTANT_ELEMENTS = 10;

/**
 * The operator that a name is a slip of the pen for: one letter, or case and underscores. Operators of the standard have
 * names alike and meanings apart (Det and Elu, MaxUnpool and MaxPool), so that anything further off misleads.
 */
function misspelt(name: string): string | undefined {
  const plain = (text: string): string => text.replaceAll("_", "").toLowerCase();
  return Object.keys(IMPORTERS).find(
    (known) => known.length > 3 && editDistance(plain(name), plain(known)) <= 1,
  );
}

/**
 * An ONNX model as a MIL program of one function. Shape arithmetic and other ops over constants are done here.
 * int64 becomes int32 and double fp32. Throws `OnnxError` that names what is missing: an operator, or sizes that the
 * model leaves open.
 */
export function importOnnx(file: OnnxFile, options: ImportOptions = {}): Program {
  return importBound(file, options).program;
}

/** `importOnnx` that also tells which inputs became constants. */
export function importBound(file: OnnxFile, options: ImportOptions = {}): ImportedModel {
  const bound = new Set<string>();
  // Each round binds at least one input more, or ends.
  for (;;) {
    try {
      const program = programOf(new GraphImporter(file, options, bound).run());
      const order = file.graph.input.map(({ name }) => name);
      return {
        program,
        bound: order.filter((name) => bound.has(name)),
        portNames: portNames(file.graph),
      };
    } catch (error) {
      if (!(error instanceof NeededConstant)) throw error;
      bindNeeded(error, file, options, bound);
    }
  }
}

/** Adds the inputs that decide a needed constant to those that are bound. Throws the refusal where they cannot be. */
function bindNeeded(
  { valueName, refusal }: NeededConstant,
  { graph }: OnnxFile,
  { bindable }: ImportOptions,
  bound: Set<string>,
): void {
  const behind = inputsBehind(graph, valueName).filter((name) => !bound.has(name));
  if (behind.length === 0) throw refusal;
  const names = portNames(graph);
  const unknown = behind.filter(
    (name) => bindable?.has(name) !== true && bindable?.has(names.get(name) ?? name) !== true,
  );
  if (unknown.length > 0) {
    const files = behind.map((name) => `--input ${name}=FILE.npy`).join(" ");
    throw new OnnxError(refusal.code, refusal.message, {
      remedy: `Fix what the model leaves to its inputs: --bind-constants ${files}`,
    });
  }
  for (const name of behind) bound.add(name);
}

class GraphImporter {
  readonly #file: OnnxFile;
  readonly #options: ImportOptions;
  readonly #builder: FunctionBuilder;
  readonly #values = new Map<string, Operand>();
  #named = new Map<Literal, Value>();
  readonly #names = new Map<Literal, string>();
  readonly #reads: ReadonlySet<string>;
  readonly #results: ReadonlySet<string>;
  readonly #portNames: ReadonlyMap<string, string>;
  readonly #bound: ReadonlySet<string>;
  readonly #wide: WideIntegers;
  /** ONNX's codes of element types by value, as far as the model tells them. */
  readonly #elementTypes: Map<string, number>;
  #depth = 0;

  constructor(file: OnnxFile, options: ImportOptions, bound: ReadonlySet<string>) {
    this.#file = file;
    this.#options = options;
    this.#bound = bound;
    this.#wide = new WideIntegers(file.name, (literal) => this.#names.get(literal));
    this.#builder = new FunctionBuilder(options.functionName ?? "main", options.opset ?? "ios18");
    this.#results = new Set(file.graph.output.map(({ name }) => name));
    this.#portNames = portNames(file.graph);
    this.#elementTypes = declaredTypes(file.graph);
    this.#reads = new Set([...this.#results, ...file.graph.node.flatMap((node) => readsOf(node))]);
  }

  run() {
    const { graph } = this.#file;
    const initialized = new Set(graph.initializer.map(({ name }) => name));
    checkOptions(graph, initialized, this.#options);
    for (const info of graph.input) {
      if (initialized.has(info.name)) continue;
      const { bindable } = this.#options;
      const numbers = bindable?.get(info.name) ?? bindable?.get(this.#portName(info.name));
      if (numbers !== undefined && this.#bound.has(info.name)) {
        this.#define(info.name, literalOfNumbers(numbers));
        continue;
      }
      const type = inputType(info, this.#portName(info.name), this.#options);
      this.#values.set(info.name, this.#builder.input(this.#portName(info.name), type));
    }
    this.#graph(graph);
    const outputs = graph.output.map(({ name }): readonly [string, Value] => {
      const operand = this.#resolve(name);
      return [this.#portName(name), this.#asResult(operand, this.#portName(name))];
    });
    return this.#builder.finish(Object.fromEntries(outputs));
  }

  #graph(graph: GraphProto): void {
    if (graph.$unknown?.some(({ no }) => no === 15) === true) {
      throw new OnnxError("onnx.import.sparse", `${this.#file.name} has sparse initializers`);
    }
    for (const tensor of graph.initializer) {
      this.#define(tensor.name, literalOfTensor(tensor, this.#file));
    }
    for (const node of inOrder(graph)) this.#node(node);
  }

  #define(name: string, { literal, clamped }: ReturnType<typeof literalOfNumbers>): void {
    if (clamped) this.#wide.note(literal);
    this.#names.set(literal, name);
    this.#values.set(name, literal);
  }

  #node(node: NodeProto): void {
    const importer = importerOf(node.domain, node.opType);
    if (importer === undefined) {
      const spelled = node.domain === "" ? node.opType : `${node.domain}.${node.opType}`;
      const nearest = node.domain === "" ? misspelt(node.opType) : undefined;
      throw new OnnxError(
        "onnx.import.unsupported",
        `${this.#file.name}: the operator ${spelled} (node "${node.name || (node.output[0] ?? "")}") cannot be imported`,
        nearest === undefined ? {} : { remedy: `Did you mean "${nearest}"?` },
      );
    }
    const context: ImportContext = {
      opset: this.#file.opset,
      resolve: (name) => this.#resolve(name),
      emit: (type, inputs, hint) => this.#emit(type, inputs, hint),
      literalOfTensor: (tensor) => {
        const { literal, clamped } = literalOfTensor(tensor, this.#file);
        if (clamped) this.#wide.note(literal);
        return literal;
      },
      elementTypeOf: (name) => this.#elementTypes.get(name),
      noteElementType: (name, code) => this.#elementTypes.set(name, code),
      inline: (graph, inputs) => this.#inline(graph, inputs),
      isRead: (name) => this.#reads.has(name),
      cond: (pred, whenTrue, whenFalse) => this.#cond(pred, whenTrue, whenFalse),
      whileLoop: (loop, body) => this.#whileLoop(loop, body),
      attempt: (run) => this.#attempt(run),
    };
    const site = new ImportSite(node, context);
    const results = importer(site);
    const operands = isOperandList(results) ? results : [results];
    site.onlyResults(operands.length);
    this.#inheritType(node);
    operands.forEach((operand, index) => {
      const name = node.output[index] ?? "";
      if (name === "") return;
      if (operand.kind === "literal" && !this.#names.has(operand)) this.#names.set(operand, name);
      this.#values.set(name, operand);
    });
  }

  /** Where nothing is said, a result has the element type of its node's first input. */
  #inheritType(node: NodeProto): void {
    const [to = ""] = node.output;
    if (to === "" || this.#elementTypes.has(to)) return;
    const code = inheritedType(node, this.#elementTypes);
    if (code !== undefined) this.#elementTypes.set(to, code);
  }

  /** The nodes of a nested graph as if they stood here. */
  #inline(graph: GraphProto, inputs: readonly Operand[]): readonly Operand[] {
    if (++this.#depth > NESTING_LIMIT) {
      throw new OnnxError(
        "onnx.import.depth",
        `${this.#file.name}: graphs are nested deeper than ${NESTING_LIMIT}`,
      );
    }
    graph.input.forEach(({ name }, index) => {
      const operand = inputs[index];
      if (operand !== undefined) this.#values.set(name, operand);
    });
    this.#graph(graph);
    this.#depth--;
    return graph.output.map(({ name }) => this.#resolve(name));
  }

  #cond(pred: Operand, whenTrue: GraphProto, whenFalse: GraphProto): readonly Operand[] {
    const branch = (graph: GraphProto): Block => this.#block([], () => this.#inline(graph, []));
    return this.#builder.append(
      { ...plainOperation("cond", { pred }, []), blocks: [branch(whenTrue), branch(whenFalse)] },
      this.#hint("cond"),
    );
  }

  #whileLoop({ limit, start, initial }: LoopStart, body: GraphProto): readonly Operand[] {
    const named = (operand: Operand): Operand => this.#constantOperand(operand);
    const variables = [int32Literal(0), start ?? boolLiteral(true), ...initial].map(named);
    const types = variables.map(({ type }, index) => [`variable_${index}`, type] as const);
    const condition = this.#block(types, ([round, goes]) => {
      if (round === undefined || goes === undefined) return [];
      if (limit === undefined) return [goes];
      const isWithin = this.#emit("less", { x: round, y: limit }, "within");
      const [x] = isWithin;
      return x === undefined ? [] : this.#emit("logical_and", { x, y: goes }, "goes_on");
    });
    const round = this.#block(types, ([count, goes, ...carried]) => {
      if (count === undefined || goes === undefined) return [];
      const [again, ...results] = this.#inline(body, [count, goes, ...carried]);
      if (again === undefined) return [];
      const next = this.#emit("add", { x: count, y: 1 }, "round");
      const [decided = again] = this.#emit("reshape", { x: again, shape: [] }, "again");
      return [...next, decided, ...results];
    });
    const [, , ...results] = this.#builder.append(
      {
        ...plainOperation("while_loop", { loop_vars: variables }, []),
        blocks: [condition, round],
      },
      this.#hint("loop"),
    );
    return results;
  }

  /** A block of an op. Constants made in it are not for use outside, nor may its results be outer values. */
  #block(
    inputs: readonly (readonly [string, MilType])[],
    build: (inputs: readonly Value[]) => readonly Operand[],
  ): Block {
    const named = new Map(this.#named);
    try {
      return this.#builder.block(inputs, (values) =>
        build(values).map((operand) => this.#copied(operand, "result")),
      );
    } finally {
      this.#named = named;
    }
  }

  #attempt<Result>(run: () => Result | undefined): Result | undefined {
    const count = this.#builder.operationCount;
    const [named, values] = [new Map(this.#named), new Map(this.#values)];
    const result = run();
    if (result !== undefined) return result;
    this.#builder.rewind(count);
    this.#named = named;
    this.#values.clear();
    for (const [name, operand] of values) this.#values.set(name, operand);
    return undefined;
  }

  #resolve(name: string): Operand {
    const operand = this.#values.get(name);
    if (operand === undefined) {
      throw new OnnxError(
        "onnx.import.value",
        `${this.#file.name}: "${name}" is read before anything makes it.${didYouMean(name, this.#values.keys())}`,
      );
    }
    return operand;
  }

  #emit<Name extends OpName>(
    type: Name,
    inputs: OpInputs<(typeof OPS)[Name]>,
    hint: string,
  ): readonly Operand[] {
    const noteResults = this.#wide.follow(type, inputs);
    const folded = foldConstants(type, inputs);
    if (folded !== undefined) {
      noteResults(folded);
      return folded;
    }
    const operands = this.#withNamedConstants(inputs);
    return this.#builder.many(type, operands, { name: this.#hint(hint) });
  }

  /** The inputs with large literals as `const` ops, each made once. */
  #withNamedConstants<Inputs extends object>(inputs: Inputs): Inputs {
    const named = (operand: unknown): unknown =>
      isOperand(operand) && operand.kind === "literal" ? this.#constant(operand) : operand;
    return Object.fromEntries(
      Object.entries(inputs).map(([name, argument]: [string, unknown]) => [
        name,
        Array.isArray(argument) ? argument.map(named) : named(argument),
      ]),
    ) as Inputs;
  }

  #constant(literal: Literal): Operand {
    if (literal.data.kind !== "numbers" || literal.data.numbers.length < NAMED_CONSTANT_ELEMENTS)
      return literal;
    const known = this.#named.get(literal);
    if (known !== undefined) return known;
    const value = this.#builder.constant(
      literal,
      this.#hint(this.#names.get(literal) ?? "constant"),
    );
    this.#named.set(literal, value);
    return value;
  }

  /** A name for an intermediate value, so that results keep theirs. */
  #hint(name: string): string {
    const clean = identifier(name);
    return this.#results.has(name) || [...this.#portNames.values()].includes(clean)
      ? `${clean}_value`
      : clean;
  }

  #portName(name: string): string {
    return this.#portNames.get(name) ?? identifier(name);
  }

  /** A value that can stand among the function's results. */
  #asResult(operand: Operand, name: string): Value {
    const isMade = isValue(operand) && operand.constant === undefined;
    return isMade ? operand : this.#copied(operand, name);
  }

  #copied(operand: Operand, name: string): Value {
    return this.#builder.op("identity", { x: this.#constantOperand(operand) }, { name });
  }

  #constantOperand(operand: Operand): Operand {
    if (operand.kind !== "literal") return operand;
    this.#wide.requireNone(operand, "a result");
    return this.#constant(operand);
  }
}
