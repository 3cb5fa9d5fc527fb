import { isTransient } from "../../plan/plan.ts";
import type { BufferSpec, Plan } from "../../plan/plan.ts";
import { staticShape } from "../../mil/types.ts";
import { AnecdoteError, messageOf } from "../../util/errors.ts";
import { computeTypeOf } from "../../onnx/element-types.ts";
import type { Value } from "../../mil/program.ts";
import { planSection } from "../cpu/section.ts";
import type {
  BufferView,
  DispatchTiming,
  LoadedPlan,
  LoadOptions,
  MemoryReport,
  SectionExecution,
} from "../engine.ts";
import { EngineError } from "../errors.ts";
import { PlanRecord, sharedPlan, turn } from "../host/plan-record.ts";
import type { DispatchTime } from "../host/plan-record.ts";
import { DeviceBuffers } from "./device-buffers.ts";
import type { DeviceBlock, DevicePort, DeviceRuntime } from "./device-runtime.ts";
import { deviceBytes } from "./device-types.ts";
import { withoutScatters } from "./embedding-gradient.ts";
import { checkIndices, indexChecks } from "./index-checks.ts";
import type { IndexCheck } from "./index-checks.ts";
import { countedNames } from "./programs.ts";
import type { DeviceProgram, Programs } from "./programs.ts";
import { overWholeBuffers } from "./whole-buffers.ts";
import type { BufferFunction } from "./whole-buffers.ts";

export interface GpuContext {
  readonly runtime: DeviceRuntime;
  readonly programs: Programs;
}

/** One graph of a section. */
interface Step extends BufferFunction {
  readonly label: string;
  readonly dispatches: readonly string[];
  /** Transient buffers that nobody reads after it. */
  readonly dropped: readonly string[];
}

interface Section {
  readonly steps: readonly Step[];
  /** Persistent buffers that are read, and those that are written. */
  readonly read: readonly string[];
  readonly written: readonly string[];
  readonly checks: readonly IndexCheck[];
}

interface PreparedStep {
  readonly step: Step;
  readonly program: DeviceProgram;
  readonly time: DispatchTime;
  /** Dispatches of the section that are done after it. */
  readonly dispatchCount: number;
}

/** A plan on the GPU: its buffers stand on the device, and a run reads nothing back but results the host asked for. */
export class GpuPlan implements LoadedPlan {
  readonly plan: Plan;
  readonly #record: PlanRecord;
  readonly #context: GpuContext;
  readonly #buffers: DeviceBuffers;
  readonly #sections = new Map<string, Section>();
  readonly #prepared = new Map<string, readonly PreparedStep[]>();
  readonly #onProgress: LoadOptions["onProgress"];
  /** What is waited for at the end of a run. */
  readonly #flag: DeviceBlock;

  constructor(context: GpuContext, plan: Plan, options: LoadOptions) {
    const share = sharedPlan(options, (other) => other instanceof GpuPlan);
    this.plan = plan;
    this.#record = new PlanRecord(plan, options);
    this.#context = context;
    this.#onProgress = options.onProgress;
    const onDevice = withoutScatters(plan);
    for (const section of plan.sections.keys())
      this.#sections.set(section, sectionOf(onDevice, section));
    this.#buffers = new DeviceBuffers(context.runtime, plan, share?.buffers);
    this.#flag = context.runtime.allocate(4);
  }

  get buffers(): DeviceBuffers {
    return this.#buffers;
  }

  async prepare(section: string): Promise<void> {
    this.#prepare(section);
    await turn();
  }

  async run(section: string, onDispatches?: (count: number) => void): Promise<void> {
    const prepared = this.#prepare(section);
    const { read, written, checks } = this.#record.section(section, this.#sections);
    for (const check of checks) {
      const [slot] = this.#buffers.slots([check.buffer]);
      if (slot?.host !== undefined) checkIndices(check, slot.host);
    }
    this.#buffers.send(this.#buffers.slots(read));
    try {
      for (const { step, program, time, dispatchCount } of prepared) {
        const started = performance.now();
        this.#runStep(step, program);
        time.add(performance.now() - started);
        onDispatches?.(dispatchCount);
      }
    } finally {
      this.#buffers.dropAll();
    }
    const asked = this.#buffers
      .slots(written)
      .filter(
        ({ spec, host, isBehind }) => spec.role === "output" && isBehind && host !== undefined,
      );
    if (asked.length > 0) this.#buffers.bringBack(asked);
    else this.#context.runtime.download([{ bytes: new Uint8Array(4), block: this.#flag }]);
    await turn();
  }

  view(buffer: string): BufferView {
    return this.#buffers.view(this.#record.persistent(buffer).name);
  }

  memory(): MemoryReport {
    const { persistentBytes, pooledBytes } = this.#buffers;
    // The runtime's own intermediates are not told; a graph holds each of them until its end.
    return { persistentBytes, transientBytes: pooledBytes, runtimeBytes: 0 };
  }

  timings(): readonly DispatchTiming[] {
    return this.#record.times.list();
  }

  /** Compiles the section, since only the runtime knows which ops the device has no kernel for. */
  describeExecution(section: string): SectionExecution {
    const prepared = this.#prepare(section);
    const steps = prepared.map(({ step, program: { opCount, hostOperators } }) => ({
      label: step.label,
      kind: hostOperators.length === 0 ? "gpu" : "gpu+cpu",
      madeOf: `WebGPU, ${opCount} op${opCount === 1 ? "" : "s"}${
        hostOperators.length === 0
          ? ""
          : `; ${hostOperators.length} on the processor: ${countedNames(hostOperators)}`
      }`,
      dispatches: step.dispatches,
    }));
    const onHost = prepared.reduce((sum, { program }) => sum + program.hostOperators.length, 0);
    return {
      section,
      steps,
      reason:
        onHost === 0
          ? "every op runs on the device"
          : onHost === 1
            ? "1 op without a kernel on the device runs on the processor"
            : `${onHost} ops without a kernel on the device run on the processor`,
    };
  }

  close(): Promise<void> {
    if (!this.#record.close()) return Promise.resolve();
    for (const steps of this.#prepared.values())
      for (const { program } of steps) this.#context.programs.release(program);
    this.#prepared.clear();
    this.#buffers.release();
    this.#context.runtime.free(this.#flag);
    return Promise.resolve();
  }

  #prepare(section: string): readonly PreparedStep[] {
    const known = this.#prepared.get(section);
    this.#record.checkOpen();
    if (known !== undefined) return known;
    const { steps } = this.#record.section(section, this.#sections);
    const prepared: PreparedStep[] = [];
    let dispatchCount = 0;
    try {
      for (const [index, step] of steps.entries()) {
        this.#onProgress?.(index, steps.length, step.label);
        this.#record.checkWanted();
        const program = this.#context.programs.compile(step.fn, step.label);
        const places = step.dispatches.map((_, offset) => dispatchCount + offset);
        dispatchCount += step.dispatches.length;
        const time = this.#record.times.of(section, step.label, places);
        prepared.push({ step, program, time, dispatchCount });
      }
    } catch (error) {
      for (const { program } of prepared) this.#context.programs.release(program);
      throw error;
    }
    this.#onProgress?.(steps.length, steps.length, section);
    this.#prepared.set(section, prepared);
    return prepared;
  }

  #runStep(step: Step, program: DeviceProgram): void {
    const { fn, label } = step;
    const inputs = step.inputs.map((buffer, index) =>
      portOf("in:", fn.inputs[index], this.#buffers.blockOf(buffer)),
    );
    const targets = step.outputs.map((buffer) => ({
      buffer,
      block: this.#buffers.targetOf(buffer, step.inputs.includes(buffer)),
    }));
    const outputs = targets.map(({ block }, index) => portOf("out:", fn.outputs[index], block));
    try {
      if (program.isChecked) program.graph.run(inputs, outputs);
      else this.#runChecked(step, program, inputs, outputs);
    } catch (error) {
      if (error instanceof AnecdoteError) throw error;
      throw new EngineError(
        "engine.gpu.run",
        `${label} cannot be run on these inputs: ${messageOf(error)}`,
        { cause: error },
      );
    }
    for (const { buffer, block } of targets) this.#buffers.written(buffer, block);
    for (const buffer of step.dropped) this.#buffers.drop(buffer);
  }

  /**
   * The first run of a graph: what it is to write is marked before, and what is still nothing but the mark was not
   * written. A kernel that the device refuses would otherwise pass as numbers: the runtime tells of it in its log alone.
   */
  #runChecked(
    step: Step,
    program: DeviceProgram,
    inputs: readonly DevicePort[],
    outputs: readonly DevicePort[],
  ): void {
    const { runtime } = this.#context;
    const sizes = step.outputs.map((buffer) => {
      const spec = this.plan.buffers.get(buffer);
      return spec === undefined ? 0 : Math.min(MARKED_BYTES, deviceBytes(spec));
    });
    let suspects = outputs.map((_, index) => index).filter((index) => (sizes[index] ?? 0) > 0);
    for (const mark of MARKS) {
      const places = suspects.flatMap((index) => {
        const block = outputs[index]?.block;
        return block === undefined ? [] : [{ index, block, size: sizes[index] ?? 0 }];
      });
      runtime.upload(
        places.map(({ block, size }) => ({ bytes: new Uint8Array(size).fill(mark), block })),
      );
      program.graph.run(inputs, outputs);
      const found = places.map(({ block, size }) => ({ bytes: new Uint8Array(size), block }));
      runtime.download(found);
      suspects = suspects.filter((_, at) => found[at]?.bytes.every((byte) => byte === mark));
      if (suspects.length === 0) {
        program.isChecked = true;
        return;
      }
    }
    const names = suspects.map((index) => `"${step.outputs[index]}"`).join(", ");
    throw new EngineError(
      "engine.gpu.unwritten",
      `the device did not write ${names} of ${step.label}: a kernel that it refuses, or a fault of this engine`,
      { remedy: "Run it with --engine cpu, and please report it." },
    );
  }
}

/** No result is made of these bytes alone twice. */
const MARKS = [0xa5, 0x5a] as const;
/** Bytes of a result that are looked at. */
const MARKED_BYTES = 1 << 16;

function portOf(prefix: "in:" | "out:", value: Value | undefined, block: DeviceBlock): DevicePort {
  if (value?.type.kind !== "tensor")
    throw new EngineError("engine.plan.binding", "inputs and outputs of programs are tensors");
  const { dataType } = value.type;
  return {
    name: `${prefix}${value.name}`,
    dataType: computeTypeOf(dataType),
    shape: staticShape(value.type),
    block,
  };
}

function sectionOf(plan: Plan, section: string): Section {
  const specOf = (buffer: string): BufferSpec => {
    const spec = plan.buffers.get(buffer);
    if (spec !== undefined) return spec;
    throw new EngineError("engine.buffer", `there is no buffer "${buffer}"`);
  };
  const planned = planSection(plan, section, false, () => false);
  const checks: IndexCheck[] = [];
  const steps = planned.flatMap((step) => {
    if (step.kind !== "graph") return [];
    for (const dispatch of step.dispatches) checks.push(...indexChecks(dispatch));
    const dispatches = step.dispatches.map(({ label }) => label);
    return [{ label: step.label, dispatches, ...overWholeBuffers(step.joined, specOf) }];
  });
  const last = new Map<string, number>();
  steps.forEach(({ inputs, outputs }, index) => {
    for (const buffer of [...inputs, ...outputs]) last.set(buffer, index);
  });
  const isPersistent = (buffer: string): boolean => !isTransient(specOf(buffer).role);
  const persistent = (of: (step: (typeof steps)[number]) => readonly string[]): string[] =>
    [...new Set(steps.flatMap(of))].filter(isPersistent);
  const read = persistent(({ inputs }) => inputs);
  return {
    steps: steps.map((step, index) => ({
      ...step,
      dropped: [...new Set([...step.inputs, ...step.outputs])].filter(
        (buffer) => !isPersistent(buffer) && last.get(buffer) === index,
      ),
    })),
    read,
    written: persistent(({ outputs }) => outputs),
    checks: checks.filter(({ buffer }) => isPersistent(buffer) && read.includes(buffer)),
  };
}
