import { hostTensor, roundTo } from "../../mil/host-tensor.ts";
import type { HostTensor } from "../../mil/host-tensor.ts";
import type { Precision } from "../../mil/evaluate-operation.ts";
import type { MilFunction } from "../../mil/program.ts";
import { byteLengthOf, elementCount, staticShape } from "../../mil/types.ts";
import type { DataType, MilType } from "../../mil/types.ts";
import { isTransient } from "../../plan/plan.ts";
import type { Binding, BufferSpec, Dispatch, OutputBinding, Plan } from "../../plan/plan.ts";
import { bfloat16Bits, bfloat16Value } from "../../util/bfloat16.ts";
import { float16Bits, float16Value } from "../../util/float16.ts";
import { didYouMean } from "../../util/nearest.ts";
import { VERSION } from "../../util/version.ts";
import { viewClassOf } from "../engine.ts";
import type {
  BufferView,
  DispatchTiming,
  Engine,
  EngineDescription,
  LoadedPlan,
  LoadOptions,
  MemoryReport,
} from "../engine.ts";
import { EngineError } from "../errors.ts";
import { OpenPlans } from "../host/open-plans.ts";
import { evaluateFunction } from "./evaluate.ts";

export interface ReferenceEngineOptions {
  /** "declared" rounds every result to its declared type, "float64" keeps doubles inside a program. */
  readonly precision?: Precision;
}

/** The oracle: every dispatch op by op in double precision, on one thread. */
export function createReferenceEngine(options: ReferenceEngineOptions = {}): Engine {
  const description: EngineDescription = Object.freeze({
    name: "reference",
    device: process.arch,
    runtime: `anecdote ${VERSION}, node ${process.version}`,
    threads: 1,
  });
  const open = new OpenPlans();
  return {
    description,
    load: async (plan: Plan, loadOptions: LoadOptions = {}) => {
      const loaded = new ReferencePlan(plan, options.precision ?? "declared", loadOptions);
      open.add(loaded);
      return loaded;
    },
    close: async () => {
      await open.close();
    },
  };
}

interface Slot {
  readonly spec: BufferSpec;
  readonly view: BufferView;
}

class ReferencePlan implements LoadedPlan {
  readonly plan: Plan;
  readonly #precision: Precision;
  readonly #slots = new Map<string, Slot>();
  readonly #timings = new Map<
    string,
    { section: string; label: string; runs: number; elapsedMs: number }
  >();
  #isClosed = false;

  constructor(plan: Plan, precision: Precision, { share }: LoadOptions) {
    this.plan = plan;
    this.#precision = precision;
    if (share !== undefined && !(share instanceof ReferencePlan)) {
      throw new EngineError(
        "engine.share",
        "buffers can only be shared with a plan of the same engine",
      );
    }
    for (const spec of plan.buffers.values()) {
      const shared = isTransient(spec.role) ? undefined : share?.slotFor(spec);
      const arrayClass = viewClassOf(spec);
      const byteLength = byteLengthOf(spec.type);
      const view = new arrayClass(
        new SharedArrayBuffer(byteLength) as unknown as ArrayBuffer,
        0,
        Math.floor(byteLength / arrayClass.BYTES_PER_ELEMENT),
      );
      this.#slots.set(spec.name, shared ?? { spec, view });
    }
  }

  slotFor(spec: BufferSpec): Slot | undefined {
    const slot = this.#slots.get(spec.name);
    if (slot === undefined || isTransient(slot.spec.role)) return undefined;
    const same =
      slot.spec.type.dataType === spec.type.dataType &&
      slot.spec.type.shape.join() === spec.type.shape.join();
    return same ? slot : undefined;
  }

  prepare(section: string): Promise<void> {
    this.#dispatchesOf(section);
    return Promise.resolve();
  }

  async run(section: string): Promise<void> {
    for (const dispatch of this.#dispatchesOf(section)) {
      const started = performance.now();
      this.#dispatch(dispatch);
      const key = `${section}\n${dispatch.label}`;
      const timing = this.#timings.get(key) ?? {
        section,
        label: dispatch.label,
        runs: 0,
        elapsedMs: 0,
      };
      timing.runs++;
      timing.elapsedMs += performance.now() - started;
      this.#timings.set(key, timing);
      // The event loop gets its turn between dispatches.
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
  }

  view(buffer: string): BufferView {
    this.#checkOpen();
    const slot = this.#slots.get(buffer);
    if (slot === undefined || isTransient(slot.spec.role)) {
      throw new EngineError(
        "engine.buffer",
        slot === undefined
          ? `there is no buffer "${buffer}".${didYouMean(buffer, this.plan.buffers.keys())}`
          : `buffer "${buffer}" is transient (${slot.spec.role}): it holds nothing between runs`,
      );
    }
    return slot.view;
  }

  memory(): MemoryReport {
    let persistentBytes = 0;
    let transientBytes = 0;
    for (const { spec, view } of this.#slots.values()) {
      if (isTransient(spec.role)) transientBytes += view.byteLength;
      else persistentBytes += view.byteLength;
    }
    let runtimeBytes = 0;
    for (const { function: fn } of this.plan.programs.values()) {
      const values = fn.operations.flatMap(({ outputs }) => outputs);
      const bytes = values.reduce((total, { type }) => total + doubleBytes(type), 0);
      runtimeBytes = Math.max(runtimeBytes, bytes);
    }
    return { persistentBytes, transientBytes, runtimeBytes };
  }

  timings(): readonly DispatchTiming[] {
    return [...this.#timings.values()];
  }

  close(): Promise<void> {
    this.#isClosed = true;
    return Promise.resolve();
  }

  #checkOpen(): void {
    if (this.#isClosed)
      throw new EngineError("engine.closed", `plan "${this.plan.name}" is closed`);
  }

  #dispatchesOf(section: string): readonly Dispatch[] {
    this.#checkOpen();
    const dispatches = this.plan.sections.get(section);
    if (dispatches === undefined) {
      throw new EngineError(
        "engine.section",
        `plan "${this.plan.name}" has no section "${section}".${didYouMean(section, this.plan.sections.keys())}`,
      );
    }
    return dispatches;
  }

  #dispatch(dispatch: Dispatch): void {
    const fn = this.#functionOf(dispatch);
    const inputs = new Map<string, HostTensor>();
    for (const value of fn.inputs) {
      const binding = dispatch.inputs.get(value.name);
      if (binding !== undefined)
        inputs.set(value.name, readTensor(this.#runOf(binding, value.type), value.type));
    }
    const outputs = evaluateFunction(fn, inputs, { precision: this.#precision });
    for (const [name, tensor] of outputs) {
      const binding = dispatch.outputs.get(name);
      const type = fn.outputs.find((value) => value.name === name)?.type;
      if (binding === undefined || type === undefined) continue;
      writeTensor(this.#runOf(binding, type), tensor, binding.mode);
    }
  }

  #functionOf(dispatch: Dispatch): MilFunction {
    const fn = this.plan.programs.get(dispatch.program)?.function;
    if (fn === undefined) {
      throw new EngineError(
        "engine.plan.program",
        `${dispatch.label}: the plan has no program "${dispatch.program}"`,
      );
    }
    return fn;
  }

  /** The elements a binding speaks of. */
  #runOf(binding: Binding | OutputBinding, type: MilType): BufferView {
    const slot = this.#slots.get(binding.buffer);
    if (slot === undefined || type.kind !== "tensor") {
      throw new EngineError("engine.buffer", `there is no buffer "${binding.buffer}"`);
    }
    return slot.view.subarray(binding.offset, binding.offset + elementCount(staticShape(type)));
  }
}

const doubleBytes = (type: MilType): number =>
  type.kind === "tensor" ? 8 * elementCount(staticShape(type)) : 0;

interface BitPatterns {
  readonly value: (bits: number) => number;
  readonly bits: (value: number) => number;
}

const FLOAT16: BitPatterns = { value: float16Value, bits: float16Bits };

/** Results have been rounded to bf16 already, sums of accumulated ones have not. */
const BFLOAT16: BitPatterns = {
  value: bfloat16Value,
  bits: (value) => bfloat16Bits(roundTo("bf16", value)),
};

/** How elements stand in a view, for types whose views hold bit patterns. */
function patternsOf(dataType: DataType): BitPatterns | undefined {
  if (dataType === "fp16") return FLOAT16;
  return dataType === "bf16" ? BFLOAT16 : undefined;
}

function readTensor(view: BufferView, type: MilType): HostTensor {
  if (type.kind !== "tensor") throw new EngineError("engine.plan.binding", "inputs are tensors");
  const { dataType } = type;
  const patterns = patternsOf(dataType);
  const data =
    patterns === undefined
      ? Float64Array.from(view)
      : Float64Array.from(view, (bits) => patterns.value(bits));
  return hostTensor(dataType, staticShape(type), data);
}

function writeTensor(view: BufferView, tensor: HostTensor, mode: OutputBinding["mode"]): void {
  const isAdded = mode === "accumulate";
  const patterns = patternsOf(tensor.dataType);
  if (patterns !== undefined) {
    for (let i = 0; i < view.length; i++) {
      const before = isAdded ? patterns.value(view[i] ?? 0) : 0;
      view[i] = patterns.bits(before + (tensor.data[i] ?? 0));
    }
    return;
  }
  for (let i = 0; i < view.length; i++)
    view[i] = (isAdded ? (view[i] ?? 0) : 0) + (tensor.data[i] ?? 0);
}
