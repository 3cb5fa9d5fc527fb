import { didYouMean } from "../util/nearest.ts";
import type { MilFunction } from "../mil/program.ts";
import { elementCount, formatType, staticShape } from "../mil/types.ts";
import type { MilType, TensorType } from "../mil/types.ts";
import { PlanError } from "./errors.ts";
import type {
  BufferRole,
  BufferSpec,
  Dispatch,
  HostKernel,
  OutputBinding,
  Plan,
  PlanProgram,
} from "./plan.ts";

/** A buffer name, or a run of elements inside a buffer. */
export type BindingInput = string | { readonly buffer: string; readonly offset: number };
/** Where a result goes: a buffer or a run inside one, written or added. */
export type OutputBindingInput =
  | BindingInput
  | { readonly buffer: string; readonly offset?: number; readonly mode: OutputBinding["mode"] };

/** Puts a plan together and checks every binding as it is made. */
export class PlanBuilder {
  readonly #name: string;
  readonly #programs = new Map<string, PlanProgram>();
  readonly #buffers = new Map<string, BufferSpec>();
  readonly #sections = new Map<string, Dispatch[]>();

  constructor(name: string) {
    this.#name = name;
  }

  /** Adds a program. Throws `PlanError` for a name that is taken. */
  program(
    name: string,
    fn: MilFunction,
    hostKernel?: HostKernel,
    { asWritten }: Pick<PlanProgram, "asWritten"> = {},
  ): void {
    if (this.#programs.has(name))
      throw new PlanError("plan.program.twice", `program "${name}" exists already`);
    this.#programs.set(
      name,
      Object.freeze({
        name,
        function: fn,
        ...(hostKernel !== undefined && { hostKernel }),
        ...(asWritten !== undefined && { asWritten }),
      }),
    );
  }

  /** Whether a program of this name was added. */
  hasProgram(name: string): boolean {
    return this.#programs.has(name);
  }

  /** Declares a buffer and returns its name. */
  buffer(
    name: string,
    type: TensorType,
    role: BufferRole,
    group?: string,
    rms?: number,
    { isInFile }: Pick<BufferSpec, "isInFile"> = {},
  ): string {
    if (this.#buffers.has(name))
      throw new PlanError("plan.buffer.twice", `buffer "${name}" exists already`);
    staticShape(type, `buffer "${name}"`);
    this.#buffers.set(
      name,
      Object.freeze({
        name,
        type,
        role,
        ...(group !== undefined && { group }),
        ...(rms !== undefined && { rms }),
        ...(isInFile === true && { isInFile }),
      }),
    );
    return name;
  }

  /** Whether a buffer of this name was added. */
  hasBuffer(name: string): boolean {
    return this.#buffers.has(name);
  }

  /** Appends a dispatch to a section. Throws `PlanError` where a binding does not fit the program. */
  dispatch(
    section: string,
    label: string,
    program: string,
    inputs: Readonly<Record<string, BindingInput>>,
    outputs: Readonly<Record<string, OutputBindingInput>>,
  ): void {
    const fn = this.#programs.get(program)?.function;
    if (fn === undefined) {
      throw new PlanError(
        "plan.program.unknown",
        `${label}: there is no program "${program}".${didYouMean(program, this.#programs.keys())}`,
      );
    }
    const bound = new Map<string, { buffer: string; offset: number }>();
    for (const value of fn.inputs) {
      const input = inputs[value.name];
      if (input === undefined)
        throw new PlanError(
          "plan.binding.missing",
          `${label}: input "${value.name}" of ${program} is not bound`,
        );
      const binding = typeof input === "string" ? { buffer: input, offset: 0 } : input;
      this.#check(label, program, value.name, value.type, binding);
      bound.set(value.name, Object.freeze(binding));
    }
    const results = new Map<string, OutputBinding>();
    for (const value of fn.outputs) {
      const output = outputs[value.name];
      if (output === undefined)
        throw new PlanError(
          "plan.binding.missing",
          `${label}: output "${value.name}" of ${program} is not bound`,
        );
      const binding: OutputBinding =
        typeof output === "string"
          ? { buffer: output, offset: 0, mode: "write" }
          : {
              buffer: output.buffer,
              offset: output.offset ?? 0,
              mode: "mode" in output ? output.mode : "write",
            };
      this.#check(label, program, value.name, value.type, binding);
      results.set(value.name, Object.freeze(binding));
    }
    for (const name of Object.keys(inputs)) {
      if (!bound.has(name))
        throw new PlanError(
          "plan.binding.unknown",
          `${label}: ${program} has no input "${name}".${didYouMean(name, bound.keys())}`,
        );
    }
    for (const name of Object.keys(outputs)) {
      if (!results.has(name))
        throw new PlanError(
          "plan.binding.unknown",
          `${label}: ${program} has no output "${name}".${didYouMean(name, results.keys())}`,
        );
    }
    const dispatches = this.#sections.get(section) ?? [];
    dispatches.push(Object.freeze({ label, program, inputs: bound, outputs: results }));
    this.#sections.set(section, dispatches);
  }

  /** The plan. Throws `PlanError` for what does not hold together. */
  finish(): Plan {
    return Object.freeze({
      name: this.#name,
      programs: this.#programs,
      buffers: this.#buffers,
      sections: this.#sections,
    });
  }

  #check(
    label: string,
    program: string,
    port: string,
    type: MilType,
    binding: { buffer: string; offset: number },
  ): void {
    const buffer = this.#buffers.get(binding.buffer);
    const where = `${label}: ${program}'s "${port}"`;
    if (buffer === undefined) {
      throw new PlanError(
        "plan.buffer.unknown",
        `${where} is bound to "${binding.buffer}", which is not a buffer.${didYouMean(binding.buffer, this.#buffers.keys())}`,
      );
    }
    if (type.kind !== "tensor" || type.dataType !== buffer.type.dataType) {
      throw new PlanError(
        "plan.binding.type",
        `${where} is ${formatType(type)}, buffer "${buffer.name}" is ${formatType(buffer.type)}`,
      );
    }
    const wanted = elementCount(staticShape(type, where));
    const present = elementCount(staticShape(buffer.type));
    const whole = binding.offset === 0 && wanted === present;
    if (!whole && (binding.offset < 0 || binding.offset + wanted > present)) {
      throw new PlanError(
        "plan.binding.range",
        `${where} needs ${wanted} elements from ${binding.offset} on, buffer "${buffer.name}" has ${present}`,
      );
    }
  }
}
