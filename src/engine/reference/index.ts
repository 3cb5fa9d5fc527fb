import { hostTensor, roundTo } from "../../mil/host-tensor.ts";
import type { HostTensor } from "../../mil/host-tensor.ts";
import type { Precision } from "../../mil/evaluate-operation.ts";
import { elementCount, staticShape } from "../../mil/types.ts";
import type { DataType, MilType } from "../../mil/types.ts";
import type { Binding, Dispatch, OutputBinding, Plan } from "../../plan/plan.ts";
import { bfloat16Bits, bfloat16Value } from "../../util/bfloat16.ts";
import { float16Bits, float16Value } from "../../util/float16.ts";
import { VERSION } from "../../util/version.ts";
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
import type { Allocator, MemoryBlock } from "../host/plan-buffers.ts";
import { PlanBuffers } from "../host/plan-buffers.ts";
import { PlanRecord, sharedPlan, turn } from "../host/plan-record.ts";

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

/** Memory of its own for every buffer, which other threads may read. */
const ALLOCATOR: Allocator<MemoryBlock> = {
  allocate: (byteLength) => ({ buffer: new SharedArrayBuffer(byteLength), byteOffset: 0 }),
  release: () => undefined,
};

class ReferencePlan implements LoadedPlan {
  readonly plan: Plan;
  readonly #precision: Precision;
  readonly #record: PlanRecord;
  readonly #buffers: PlanBuffers<MemoryBlock>;

  constructor(plan: Plan, precision: Precision, options: LoadOptions) {
    const share = sharedPlan(options, (other) => other instanceof ReferencePlan);
    this.plan = plan;
    this.#record = new PlanRecord(plan, options);
    this.#precision = precision;
    this.#buffers = new PlanBuffers(plan, ALLOCATOR, share?.buffers);
  }

  get buffers(): PlanBuffers<MemoryBlock> {
    return this.#buffers;
  }

  async prepare(section: string): Promise<void> {
    this.#record.dispatches(section);
    this.#record.checkWanted();
    await turn();
  }

  async run(section: string): Promise<void> {
    for (const [index, dispatch] of this.#record.dispatches(section).entries()) {
      const started = performance.now();
      this.#dispatch(section, dispatch);
      const elapsedMs = performance.now() - started;
      this.#record.times.of(section, dispatch.label, [index]).add(elapsedMs);
      await turn();
    }
  }

  view(buffer: string): BufferView {
    return this.#buffers.view(this.#record.persistent(buffer).name);
  }

  memory(): MemoryReport {
    let runtimeBytes = 0;
    for (const { function: fn } of this.plan.programs.values()) {
      const values = fn.operations.flatMap(({ outputs }) => outputs);
      const bytes = values.reduce((total, { type }) => total + doubleBytes(type), 0);
      runtimeBytes = Math.max(runtimeBytes, bytes);
    }
    return { ...this.#buffers.memory, runtimeBytes };
  }

  timings(): readonly DispatchTiming[] {
    return this.#record.times.list();
  }

  close(): Promise<void> {
    this.#record.close();
    return Promise.resolve();
  }

  #dispatch(section: string, dispatch: Dispatch): void {
    const { function: fn } = this.#record.program(dispatch);
    const elements = (binding: Binding, type: MilType): BufferView =>
      this.#buffers.elements(section, this.#record.buffer(binding.buffer), binding, type);
    const inputs = new Map<string, HostTensor>();
    for (const value of fn.inputs) {
      const binding = dispatch.inputs.get(value.name);
      if (binding !== undefined)
        inputs.set(value.name, readTensor(elements(binding, value.type), value.type));
    }
    const outputs = evaluateFunction(fn, inputs, { precision: this.#precision });
    for (const [name, tensor] of outputs) {
      const binding = dispatch.outputs.get(name);
      const type = fn.outputs.find((value) => value.name === name)?.type;
      if (binding === undefined || type === undefined) continue;
      writeTensor(elements(binding, type), tensor, binding.mode);
    }
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
