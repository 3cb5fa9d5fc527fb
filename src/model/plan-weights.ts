import { staticShape } from "../mil/types.ts";
import type { BindingInput, PlanBuilder } from "../plan/builder.ts";
import { storedTypes } from "../plan/storage.ts";
import { streamedName, streamProgram } from "../plan/stream.ts";
import { unpackNames, unpackProgram } from "../plan/unpack.ts";
import type { Parameters, StageInstance, Weight } from "./parameters.ts";
import { initialRms } from "./weights.ts";

/** Why a weight has scratch: `use` as in `WeightUse`. */
interface Bringing {
  readonly verb: "unpack" | "read";
  readonly use: string;
}

/** Names of the buffers beside a grouped weight's codes, which stand under the weight's own name. */
export const scalesName = (weight: string): string => `scales:${weight}`;
/** Name of the buffer of a grouped weight's offsets. */
export const biasesName = (weight: string): string => `biases:${weight}`;

/** What a stage's weights are read for. */
export interface WeightUse {
  readonly section: string;
  /** `forward`, `backward`: unpacked weights live no longer than the dispatches of one use. */
  readonly use: string;
  /** Inputs of the function that reads them; default: all weights of the stage. */
  readonly wanted?: ReadonlySet<string>;
}

/**
 * A model's weights as buffers of a plan, under their own names: training and decoding plans may share them. Those
 * that are not stored as fp32 are unpacked into scratch before a dispatch that reads them, and those that stay in a file are
 * read into it.
 */
export class PlanWeights {
  readonly #builder: PlanBuilder;
  readonly #unpacked = new Map<string, Readonly<Record<string, BindingInput>>>();
  /** Names of unpacking programs by what they unpack. */
  readonly #programs = new Map<string, string>();

  private constructor(builder: PlanBuilder) {
    this.#builder = builder;
  }

  /** Adds the buffers of all weights to a plan. */
  static declare(builder: PlanBuilder, { stages }: Pick<Parameters, "stages">): PlanWeights {
    const planned = new PlanWeights(builder);
    for (const { weights, group } of stages) {
      for (const weight of weights) if (!weight.borrowed) planned.#declare(weight, group);
    }
    return planned;
  }

  /** Weights as a stage function's inputs. A table bound to a smaller input gives its first rows. */
  inputs(stage: StageInstance, { section, use, wanted }: WeightUse): Record<string, BindingInput> {
    const weights = stage.weights.filter(({ parameter }) => wanted?.has(parameter) ?? true);
    const read = weights.filter(({ residence }) => residence === "file");
    const packed = weights.filter((weight) => isPacked(weight) && !read.includes(weight));
    return {
      ...Object.fromEntries(weights.map(({ parameter, name }) => [parameter, name])),
      ...(packed.length > 0 && this.#bring(stage, packed, section, { verb: "unpack", use })),
      ...(read.length > 0 && this.#bring(stage, read, section, { verb: "read", use })),
    };
  }

  #declare({ name, type, storage, initialisation, residence }: Weight, group: string): void {
    if (residence === "file") {
      const rms = initialRms(initialisation);
      this.#builder.buffer(name, type, "weight", group, rms, { isInFile: true });
      return;
    }
    const types = storedTypes(name, staticShape(type), storage);
    const rms = storage.kind === "fp32" ? initialRms(initialisation) : undefined;
    this.#builder.buffer(name, types.codes, "weight", group, rms);
    if (types.scales !== undefined)
      this.#builder.buffer(scalesName(name), types.scales, "weight", group);
    if (types.biases !== undefined)
      this.#builder.buffer(biasesName(name), types.biases, "weight", group);
  }

  /** Unpacks, or reads from the file, once for a use: the head's chunks read the same numbers. */
  #bring(
    stage: StageInstance,
    weights: readonly Weight[],
    section: string,
    { verb, use }: Bringing,
  ): Readonly<Record<string, BindingInput>> {
    const names = weights.map(({ parameter }) => parameter);
    const key = [verb, section, use, stage.group, ...names].join(" ");
    const known = this.#unpacked.get(key);
    if (known !== undefined) return known;
    const inputs: Record<string, BindingInput> = {};
    const outputs: Record<string, string> = {};
    for (const weight of weights) {
      if (verb === "read") {
        inputs[streamedName(weight)] = weight.name;
        outputs[weight.parameter] = this.#scratch(weight, stage.group, use);
        continue;
      }
      const names = unpackNames(weight);
      inputs[names.codes] = weight.name;
      if (names.scales !== undefined) inputs[names.scales] = scalesName(weight.name);
      if (names.biases !== undefined) inputs[names.biases] = biasesName(weight.name);
      outputs[names.numbers] = this.#scratch(weight, stage.group, use);
    }
    const program = this.#programFor(stage, weights, verb);
    this.#builder.dispatch(section, `${verb} ${stage.group} ${use}`, program, inputs, outputs);
    this.#unpacked.set(key, outputs);
    return outputs;
  }

  #programFor(stage: StageInstance, weights: readonly Weight[], verb: Bringing["verb"]): string {
    const key = JSON.stringify([
      verb,
      ...weights.map(({ parameter, type, storage }) => [parameter, type.shape, storage]),
    ]);
    const known = this.#programs.get(key);
    if (known !== undefined) return known;
    const others = [...this.#programs.values()];
    const first = `${verb}_${stage.kind}`;
    let name = first;
    for (let number = 2; others.includes(name); number++) name = `${first}_${number}`;
    const { function: fn, kernel } =
      verb === "read" ? streamProgram(name, weights) : unpackProgram(name, weights);
    this.#builder.program(name, fn, kernel);
    this.#programs.set(key, name);
    return name;
  }

  #scratch({ name, type, initialisation }: Weight, group: string, use: string): string {
    const buffer = `unpacked:${use} ${group}:${name}`;
    if (this.#builder.hasBuffer(buffer)) return buffer;
    return this.#builder.buffer(buffer, type, "scratch", undefined, initialRms(initialisation));
  }
}

/** Whether a weight's numbers have to be unpacked before anything computes on them. */
export function isPacked({ storage }: Weight): boolean {
  return storage.kind !== "fp32";
}
