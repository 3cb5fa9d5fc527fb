import { create } from "@bufbuild/protobuf";
import { stringLiteral } from "../mil/literal.ts";
import { isConstexpr } from "../mil/ops/index.ts";
import { isOperandList, namesIn, operandsIn } from "../mil/program.ts";
import type { Argument, Block, Literal, MilFunction, Operation, Program } from "../mil/program.ts";
import type { MilType } from "../mil/types.ts";
import { carriedBy } from "./carried.ts";
import {
  ArgumentEntrySchema,
  BindingSchema,
  BlockEntrySchema,
  BlockSchema,
  FunctionEntrySchema,
  FunctionSchema,
  NamedValueTypeSchema,
  OperationSchema,
  ProgramSchema,
  ValueEntrySchema,
} from "./generated/mil_pb.ts";
import type {
  ArgumentEntry,
  Binding,
  Block as BlockMessage,
  BlockEntry,
  FunctionEntry,
  NamedValueType,
  Operation as OperationMessage,
  Program as ProgramMessage,
  ValueEntry,
} from "./generated/mil_pb.ts";
import { opsetToModel } from "./opset-names.ts";
import { writeType } from "./type-message.ts";
import { writeValue } from "./value-message.ts";

/** How closely the message keeps to what exporters write. */
export interface WriteProgramOptions {
  /**
   * Tensors written in place become `const` ops (but for `constexpr_*`) and every op gets its `name`, as exporters
   * write them and Apple's library reads them.
   * On by default; without it the message says exactly what the program says.
   */
  readonly conventional?: boolean;
}

/** Function attributes that belong to the text form; a model says the same in its description. */
const TEXT_ONLY_ATTRIBUTES: ReadonlySet<string> = new Set(["FlexibleShapeInformation"]);

/**
 * The message of a program, entries of maps sorted by key, so that equal programs give equal bytes.
 * Throws `CoreMlError` for what models cannot express.
 */
export function writeProgram(program: Program, options: WriteProgramOptions = {}): ProgramMessage {
  const isConventional = options.conventional ?? true;
  const extra = carriedBy(program);
  const docString = extra?.fields?.["docString"];
  const version = extra?.fields?.["version"];
  const message = create(ProgramSchema, {
    version: typeof version === "bigint" ? version : 1n,
    docString: typeof docString === "string" ? docString : "",
    attributes: entries(program.attributes),
    functions: program.functions
      .map((milFunction) => new FunctionWriter(milFunction, isConventional).entry())
      .toSorted(byKey),
  });
  if (extra?.unknown !== undefined) message.$unknown = [...extra.unknown];
  return message;
}

class FunctionWriter {
  readonly #function: MilFunction;
  readonly #isConventional: boolean;
  #names: Set<string> | undefined;

  constructor(milFunction: MilFunction, isConventional: boolean) {
    this.#function = milFunction;
    this.#isConventional = isConventional;
  }

  entry(): FunctionEntry {
    const milFunction = this.#function;
    const fields = carriedBy(milFunction)?.fields ?? {};
    const opset = opsetToModel(milFunction.opset);
    const block = this.#block(milFunction, fields);
    // The body of a function takes no inputs of its own.
    block.inputs = (fields["blockInputs"] as NamedValueType[] | undefined) ?? [];
    const others = (fields["otherBlocks"] as BlockEntry[] | undefined) ?? [];
    const key = fields["blockKey"];
    const message = create(FunctionSchema, {
      inputs: milFunction.inputs.map(namedType),
      opset,
      blockSpecializations: [
        create(BlockEntrySchema, { key: typeof key === "string" ? key : opset, value: block }),
        ...others,
      ].toSorted(byKey),
      attributes: entries(
        new Map([...milFunction.attributes].filter(([name]) => !TEXT_ONLY_ATTRIBUTES.has(name))),
      ),
    });
    const unknown = carriedBy(milFunction)?.unknown;
    if (unknown !== undefined) message.$unknown = [...unknown];
    return create(FunctionEntrySchema, { key: milFunction.name, value: message });
  }

  #block(block: Block, fields: Readonly<Record<string, unknown>>): BlockMessage {
    const message = create(BlockSchema, {
      inputs: block.inputs.map(namedType),
      outputs: block.outputs.map(({ name }) => name),
      operations: block.operations.flatMap((operation) => this.#operation(operation)),
      attributes: ((fields["blockAttributes"] as ValueEntry[] | undefined) ?? []).toSorted(byKey),
    });
    const unknown = fields["blockUnknown"] as BlockMessage["$unknown"];
    if (unknown !== undefined) message.$unknown = unknown;
    return message;
  }

  /** The op, after the constants that its arguments need. */
  #operation(operation: Operation): OperationMessage[] {
    const constants: OperationMessage[] = [];
    const attributes = new Map(operation.attributes);
    const inputs: ArgumentEntry[] = [];
    const takesAttributes = this.#isConventional && this.#isEarlyConstexpr(operation);
    for (const [parameter, argument] of operation.inputs) {
      const constant = takesAttributes ? constantOf(argument) : undefined;
      if (constant !== undefined) attributes.set(parameter, constant);
      else inputs.push(this.#argument(operation, parameter, argument, constants));
    }
    const [first] = operation.outputs;
    if (this.#isConventional && first !== undefined && !attributes.has("name")) {
      attributes.set("name", stringLiteral(first.name));
    }
    const version = operation.opset === undefined ? "" : `<${operation.opset}>`;
    const message = create(OperationSchema, {
      type: operation.type + version,
      inputs: inputs.toSorted(byKey),
      outputs: operation.outputs.map(namedType),
      blocks: operation.blocks.map((block) => this.#block(block, carriedBy(block)?.fields ?? {})),
      attributes: entries(attributes),
    });
    const unknown = carriedBy(operation)?.unknown;
    if (unknown !== undefined) message.$unknown = [...unknown];
    return [...constants, message];
  }

  /** Before ios18 the inputs of `constexpr_*` ops are attributes (facts: formats, section 5.5). */
  #isEarlyConstexpr(operation: Operation): boolean {
    const { opset } = this.#function;
    return (
      isConstexpr(operation.type) && (opset === "ios15" || opset === "ios16" || opset === "ios17")
    );
  }

  #argument(
    operation: Operation,
    parameter: string,
    argument: Argument,
    constants: OperationMessage[],
  ): ArgumentEntry {
    const bindings = operandsIn(argument).map((operand): Binding => {
      if (operand.kind === "value") {
        return create(BindingSchema, { binding: { case: "name", value: operand.name } });
      }
      if (!this.#isConventional || isConstexpr(operation.type) || operand.type.kind !== "tensor") {
        return create(BindingSchema, { binding: { case: "value", value: writeValue(operand) } });
      }
      const base = operation.outputs[0]?.name ?? operation.type;
      const name = this.#freshName(`${base}_${parameter}`);
      constants.push(constantOperation(name, operand));
      return create(BindingSchema, { binding: { case: "name", value: name } });
    });
    return create(ArgumentEntrySchema, { key: parameter, value: { arguments: bindings } });
  }

  #freshName(base: string): string {
    this.#names ??= namesIn(this.#function);
    for (let count = 0; ; count++) {
      const name = `${base}_${count}`;
      if (!this.#names.has(name)) {
        this.#names.add(name);
        return name;
      }
    }
  }
}

function constantOf(argument: Argument): Literal | undefined {
  if (isOperandList(argument)) return undefined;
  return argument.kind === "literal" ? argument : argument.constant;
}

function constantOperation(name: string, literal: Literal): OperationMessage {
  return create(OperationSchema, {
    type: "const",
    outputs: [create(NamedValueTypeSchema, { name, type: writeType(literal.type) })],
    attributes: entries(
      new Map([
        ["name", stringLiteral(name)],
        ["val", literal],
      ]),
    ),
  });
}

function namedType(value: { readonly name: string; readonly type: MilType }): NamedValueType {
  const message = create(NamedValueTypeSchema, { name: value.name, type: writeType(value.type) });
  const unknown = carriedBy(value)?.unknown;
  if (unknown !== undefined) message.$unknown = [...unknown];
  return message;
}

function entries(literals: ReadonlyMap<string, Literal>): ValueEntry[] {
  return Array.from(literals, ([key, literal]) =>
    create(ValueEntrySchema, { key, value: writeValue(literal) }),
  ).toSorted(byKey);
}

function byKey(a: { readonly key: string }, b: { readonly key: string }): number {
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}
