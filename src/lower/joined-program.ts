import { int32sLiteral } from "../mil/literal.ts";
import { replaceOperands } from "../mil/traverse.ts";
import { namedValue, plainOperation } from "../mil/program.ts";
import type { MilFunction, Operand, Operation, Value } from "../mil/program.ts";
import { byteLengthOf, elementCount, sameType, staticShape } from "../mil/types.ts";
import type { TensorType } from "../mil/types.ts";
import { weightInputs } from "../chip/cost/work.ts";
import { shareCommonSubexpressions } from "../passes/common-subexpressions.ts";
import { removeDeadCode } from "../passes/dead-code.ts";
import type { Binding, Dispatch, OutputBinding, PlanProgram } from "../plan/plan.ts";
import { boundRegion, overlaps, part, regionKey, sameRegion } from "../plan/regions.ts";
import type { Region } from "../plan/regions.ts";
import type { EngineInput, EngineOutput, EngineProgram } from "./ports.ts";

/** A port of one of the programs that are joined. */
interface MemberPort {
  readonly value: Value;
  readonly type: TensorType;
  /** What the plan's function has there. */
  readonly whole: Region;
  readonly planType: TensorType;
  /** The elements of the port itself. */
  readonly own: Region;
}

interface MemberInput extends MemberPort {
  readonly conversion: EngineInput["conversion"];
  readonly isWeight: boolean;
}

interface MemberOutput extends MemberPort {
  readonly conversion: EngineOutput["conversion"];
  readonly mode: OutputBinding["mode"];
}

/** A dispatch of a program of the engine, as joining sees it. */
export interface JoinMember {
  readonly dispatch: Dispatch;
  readonly program: EngineProgram;
  readonly inputs: readonly MemberInput[];
  readonly outputs: readonly MemberOutput[];
  readonly operationCount: number;
}

/** Nothing for a program that cannot be part of another: with nested blocks, with results that it passes through. */
export function joinMember(
  dispatch: Dispatch,
  fn: MilFunction,
  program: EngineProgram,
): JoinMember | undefined {
  const { operations } = program.function;
  if (operations.some(({ blocks }) => blocks.length > 0)) return undefined;
  const weights = weightInputs(program.function);
  const inputs = program.inputs.flatMap(({ name, from, conversion }): MemberInput[] => {
    const port = memberPort(dispatch, { fn, program, side: "inputs", name, of: from, conversion });
    return port === undefined ? [] : [{ ...port, conversion, isWeight: weights.has(port.value) }];
  });
  const outputs = program.outputs.flatMap(({ name, to, conversion }): MemberOutput[] => {
    const port = memberPort(dispatch, { fn, program, side: "outputs", name, of: to, conversion });
    const mode = dispatch.outputs.get(to)?.mode;
    return port === undefined || mode === undefined ? [] : [{ ...port, conversion, mode }];
  });
  const made = new Set(operations.flatMap((operation) => operation.outputs));
  if (inputs.length < program.inputs.length || outputs.length < program.outputs.length)
    return undefined;
  if (outputs.some(({ value }) => !made.has(value))) return undefined;
  const operationCount = operations.filter(({ type }) => type !== "const").length;
  return { dispatch, program, inputs, outputs, operationCount };
}

function memberPort(
  dispatch: Dispatch,
  at: {
    readonly fn: MilFunction;
    readonly program: EngineProgram;
    readonly side: "inputs" | "outputs";
    readonly name: string;
    readonly of: string;
    readonly conversion: EngineInput["conversion"] | EngineOutput["conversion"];
  },
): MemberPort | undefined {
  const { fn, program, side, name, of, conversion } = at;
  const value = program.function[side].find((port) => port.name === name);
  const planType = fn[side].find((port) => port.name === of)?.type;
  if (value?.type.kind !== "tensor" || planType?.kind !== "tensor") return undefined;
  const whole = boundRegion(dispatch, fn, side, of);
  const { kind } = conversion;
  const isRun = kind === "half" || kind === "write";
  const count = elementCount(staticShape(value.type));
  const own = isRun ? part(whole, conversion.start, count) : whole;
  return { value, type: value.type, whole, planType, own };
}

/** Joined programs with what they are called by: equal keys compute the same over ports of the same order. */
export interface JoinedDispatch {
  readonly key: string;
  /** The dispatch of a program of that name. */
  readonly bind: (program: string) => Dispatch;
  readonly build: (name: string) => {
    readonly plan: PlanProgram;
    readonly engine: EngineProgram;
  };
}

interface ExternalInput {
  readonly key: string;
  readonly input: MemberInput;
}

interface Result {
  readonly output: MemberOutput;
  readonly member: number;
}

/**
 * Joins programs that run one after the other into one. What one writes and the next reads as the same run of the same
 * buffer is a value inside, fp16 as it is between programs: the same bits come out.
 */
export class ProgramJoiner {
  readonly #members: JoinMember[] = [];
  readonly #external = new Map<string, ExternalInput>();
  readonly #results: Result[] = [];
  /** Of each member's inputs: the result it reads, or the key of what comes from outside. */
  readonly #sources: (number | string)[][] = [];
  operationCount = 0;
  /** Bytes that no longer cross an edge because what reads them is inside. */
  readBytes = 0;

  get memberCount(): number {
    return this.#members.length;
  }

  /** Whether a dispatch reads and writes only runs that are those of earlier ones, or lie apart from them. */
  accepts({ inputs, outputs }: JoinMember): boolean {
    const isReadable = ({ own, conversion }: MemberInput): boolean =>
      this.#results.every(
        ({ output }) =>
          !overlaps(own, output.own) ||
          (conversion.kind === "half" && isPassedOn(output) && sameRegion(own, output.own)),
      );
    const isFree = ({ own }: MemberOutput): boolean =>
      this.#results.every(({ output }) => !overlaps(own, output.own)) &&
      [...this.#external.values()].every(({ input }) => !overlaps(own, input.own));
    return inputs.every(isReadable) && outputs.every(isFree);
  }

  add(member: JoinMember): void {
    const number = this.#members.push(member) - 1;
    this.operationCount += member.operationCount;
    this.#sources.push(
      member.inputs.map((input) => {
        const found = this.#results.findIndex(({ output }) => sameRegion(output.own, input.own));
        const key = externalKey(input);
        const isInside = found >= 0 || this.#external.has(key);
        if (isInside && !input.isWeight) this.readBytes += byteLengthOf(input.type);
        if (found >= 0) return found;
        if (!this.#external.has(key)) this.#external.set(key, { key, input });
        return key;
      }),
    );
    for (const output of member.outputs) this.#results.push({ output, member: number });
  }

  /** Ports of the joined program. */
  portCount(isNeeded: (region: Region) => boolean): number {
    return this.#external.size + this.#kept(isNeeded).length;
  }

  /** Whether nobody outside reads anything of it: a program has to give something. */
  isIdle(isNeeded: (region: Region) => boolean): boolean {
    return this.#kept(isNeeded).length === 0;
  }

  /** Bytes of results that nobody outside reads. */
  unwrittenBytes(isNeeded: (region: Region) => boolean): number {
    const kept = new Set(this.#kept(isNeeded));
    return this.#results.reduce(
      (sum, result) => (kept.has(result) ? sum : sum + byteLengthOf(result.output.type)),
      0,
    );
  }

  finish(isNeeded: (region: Region) => boolean): JoinedDispatch {
    const kept = this.#kept(isNeeded);
    const externals = [...this.#external.values()];
    const inputs = new Places(externals.map(({ input }) => input));
    const outputs = new Places(kept.map(({ output }) => output));
    const numbers = new Map(externals.map(({ key }, index) => [key, index]));
    const key = [
      ...this.#members.map(({ dispatch }, index) => {
        const sources = this.#sources[index] ?? [];
        const read = sources.map((source) =>
          typeof source === "number" ? `r${source}` : `i${numbers.get(source) ?? -1}`,
        );
        return `${dispatch.program}(${read.join(",")})`;
      }),
      `in ${inputs.pattern}`,
      `out ${kept.map((result) => this.#results.indexOf(result)).join(",")} ${outputs.pattern}`,
    ].join("\n");
    return {
      key,
      bind: (program) => ({
        label: labelOf(this.#members),
        program,
        inputs: new Map(
          inputs.ports.map(({ whole: { buffer, offset } }, index): [string, Binding] => [
            `input_${index}`,
            { buffer, offset },
          ]),
        ),
        outputs: new Map(
          outputs.ports.map(
            ({ whole: { buffer, offset }, mode }, index): [string, OutputBinding] => [
              `output_${index}`,
              { buffer, offset, mode },
            ],
          ),
        ),
      }),
      build: (name) => this.#build(name, { kept, externals, inputs, outputs }),
    };
  }

  #kept(isNeeded: (region: Region) => boolean): readonly Result[] {
    return this.#results.filter(({ output }) => !isPassedOn(output) || isNeeded(output.own));
  }

  #build(
    name: string,
    ports: {
      readonly kept: readonly Result[];
      readonly externals: readonly ExternalInput[];
      readonly inputs: Places<MemberInput>;
      readonly outputs: Places<MemberOutput>;
    },
  ): { readonly plan: PlanProgram; readonly engine: EngineProgram } {
    const { kept, externals, inputs, outputs } = ports;
    const operations: Operation[] = [];
    const outside = new Map(
      externals.map(({ key, input }, index) => [key, namedValue(`port_${index}`, input.type)]),
    );
    const results: Value[] = [];
    for (const [index, member] of this.#members.entries()) {
      const values = new Map<Operand, Value>();
      for (const [at, input] of member.inputs.entries()) {
        const source = this.#sources[index]?.[at];
        const given = typeof source === "number" ? results[source] : outside.get(source ?? "");
        if (given === undefined) continue;
        values.set(input.value, asShape(given, input.type, `part${index}_${at}`, operations));
      }
      const swap = (operand: Operand): Operand => values.get(operand) ?? operand;
      for (const operation of member.program.function.operations) {
        const made = operation.outputs.map((output): Value => {
          const value = Object.freeze({ ...output, name: `part${index}_${output.name}` });
          values.set(output, value);
          return value;
        });
        operations.push(Object.freeze({ ...replaceOperands(operation, swap), outputs: made }));
      }
      for (const { value } of member.outputs) results.push(values.get(value) ?? value);
    }
    const given = kept.map((result) => results[this.#results.indexOf(result)]);
    const renamed = renameResults(operations, given);
    const fn: MilFunction = Object.freeze({
      name,
      opset: this.#members[0]?.program.function.opset ?? "ios18",
      inputs: Object.freeze([...outside.values()]),
      operations: Object.freeze(renamed.operations),
      outputs: Object.freeze(renamed.outputs),
      attributes: new Map(),
    });
    const engine: EngineProgram = Object.freeze({
      function: removeDeadCode(shareCommonSubexpressions(fn)),
      inputs: externals.map(({ input }, index): EngineInput => {
        const { conversion } = input;
        return { name: `port_${index}`, from: `input_${inputs.numberOf(input)}`, conversion };
      }),
      outputs: kept.map(({ output }, index): EngineOutput => ({
        name: `result_${index}`,
        to: `output_${outputs.numberOf(output)}`,
        conversion: output.conversion,
      })),
      scales: this.#members.flatMap(({ program }, index) =>
        program.scales.map((scale) => ({ ...scale, product: `part${index}_${scale.product}` })),
      ),
    });
    // Its ports are the plan's; what it computes stands in the engine's program alone.
    const plan: PlanProgram = Object.freeze({
      name,
      function: Object.freeze({
        ...fn,
        inputs: inputs.values("input"),
        operations: [],
        outputs: outputs.values("output"),
      }),
    });
    return { plan, engine };
  }
}

/** Whether a result is what the buffer holds afterwards: as it is, in fp16. */
function isPassedOn({ conversion, mode }: MemberOutput): boolean {
  return conversion.kind === "write" && conversion.factor === undefined && mode === "write";
}

function externalKey({ own, conversion, type }: MemberInput): string {
  const { kind } = conversion;
  const how =
    kind === "one-hot"
      ? `one-hot ${conversion.first} ${conversion.depth} ${conversion.size} ${conversion.negative}`
      : kind;
  return `${regionKey(own)} ${how} ${type.shape.join("x")}`;
}

/** The plan's runs behind ports, each once, in the order in which ports come. */
class Places<Port extends MemberPort> {
  /** The first port of each run. A run belongs to one port of one dispatch, or is only read: all its ports say the same of it. */
  readonly ports: readonly Port[];
  readonly #numbers = new Map<string, number>();
  /** Which port is of which run. */
  readonly pattern: string;

  constructor(ports: readonly Port[]) {
    const firsts: Port[] = [];
    for (const port of ports) {
      const key = regionKey(port.whole);
      if (!this.#numbers.has(key)) this.#numbers.set(key, firsts.push(port) - 1);
    }
    this.ports = firsts;
    this.pattern = ports.map((port) => this.numberOf(port)).join(",");
  }

  numberOf({ whole }: MemberPort): number {
    return this.#numbers.get(regionKey(whole)) ?? -1;
  }

  values(name: string): readonly Value[] {
    return this.ports.map(({ planType }, index) => namedValue(`${name}_${index}`, planType));
  }
}

function asShape(value: Value, type: TensorType, name: string, operations: Operation[]): Value {
  if (sameType(value.type, type)) return value;
  const result = namedValue(`${name}_shaped`, type);
  const shape = int32sLiteral(staticShape(type));
  operations.push(plainOperation("reshape", { x: value, shape }, [result]));
  return result;
}

/** Results under the names of their ports. */
function renameResults(
  operations: readonly Operation[],
  results: readonly (Value | undefined)[],
): { readonly operations: readonly Operation[]; readonly outputs: readonly Value[] } {
  const names = new Map<Operand, Value>();
  for (const [index, value] of results.entries())
    if (value !== undefined) names.set(value, Object.freeze({ ...value, name: `result_${index}` }));
  const swap = (operand: Operand): Operand => names.get(operand) ?? operand;
  return {
    operations: operations.map((operation) =>
      Object.freeze({
        ...replaceOperands(operation, swap),
        outputs: operation.outputs.map((output) => names.get(output) ?? output),
      }),
    ),
    outputs: results.flatMap((value) => {
      const renamed = value === undefined ? undefined : names.get(value);
      return renamed === undefined ? [] : [renamed];
    }),
  };
}

function labelOf(members: readonly JoinMember[]): string {
  const first = members[0]?.dispatch.label ?? "";
  return members.length === 1 ? first : `${first} … ${members.at(-1)?.dispatch.label ?? ""}`;
}
