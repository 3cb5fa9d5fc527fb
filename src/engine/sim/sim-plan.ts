import type { Chip, Driver } from "../../chip/chip.ts";
import { estimatePlan } from "../../chip/estimate.ts";
import type { EstimatedDispatch, Placement } from "../../chip/estimate.ts";
import { productFlops } from "../../chip/cost/work.ts";
import { hostTensor } from "../../mil/host-tensor.ts";
import type { HostTensor } from "../../mil/host-tensor.ts";
import type { MilFunction } from "../../mil/program.ts";
import { elementCount, staticShape, tensorType } from "../../mil/types.ts";
import type { DataType } from "../../mil/types.ts";
import type { OperandScaling } from "../../lower/operand-scaling.ts";
import type { PlacedProgram } from "../../lower/ports.ts";
import type { EngineInput, EngineProgram } from "../../lower/ports.ts";
import type { Binding, Dispatch, Plan, PlanProgram } from "../../plan/plan.ts";
import { float16Bits, float16Value } from "../../util/float16.ts";
import type {
  BufferView,
  DispatchTiming,
  EngineUsage,
  LoadedPlan,
  LoadOptions,
  MemoryReport,
} from "../engine.ts";
import { EngineError } from "../errors.ts";
import { fillOneHot } from "../host/one-hot.ts";
import { evaluateFunction } from "../reference/evaluate.ts";
import { HalfTensor } from "./half-tensor.ts";
import type { SimContext } from "./context.ts";
import type { Machine } from "./machine.ts";
import { SimulatedFunction } from "./simulate.ts";
import type { Allocator, MemoryBlock } from "../host/plan-buffers.ts";
import { PlanBuffers } from "../host/plan-buffers.ts";
import { PlanRecord, sharedPlan, turn } from "../host/plan-record.ts";
import { placeOrRefuse, programsOnHost } from "../host/placed-plan.ts";

/** What a simulated engine would have taken so far. */
export interface SimulatedClock {
  readonly elapsedMs: number;
  readonly joules: number;
  readonly watts: number;
}

export interface SimPlanSettings {
  readonly chip: Chip;
  readonly driver: Driver;
  /** Default "auto". */
  readonly operandScaling?: OperandScaling | undefined;
  readonly context: Omit<SimContext, "place">;
  /** Adds what a run would take to the engine's clock. */
  readonly advance: (ms: number, joules: number) => void;
}

/** A block of the arena: its address is its offset, and that of the views in it. */
function allocatorOf({ arena }: Machine): Allocator<MemoryBlock> {
  return {
    allocate: (byteLength) => {
      const byteOffset = arena.keep(byteLength);
      const { buffer } = arena.memory;
      new Uint8Array(buffer, byteOffset, byteLength).fill(0);
      return { buffer, byteOffset };
    },
    release: ({ byteOffset }) => arena.release(byteOffset),
  };
}

/** A plan on a simulated engine: programs rewritten and refused as the chip would, numbers as it computes them. */
export class SimPlan implements LoadedPlan {
  readonly plan: Plan;
  readonly #settings: SimPlanSettings;
  /** The plan as it runs: where the host begins a program, that is a dispatch of its own. */
  readonly #running: Plan;
  readonly #placed: ReadonlyMap<string, PlacedProgram>;
  readonly #places: ReadonlyMap<string, readonly (readonly number[])[]>;
  readonly #functions = new Map<string, SimulatedFunction>();
  readonly #record: PlanRecord;
  readonly #buffers: PlanBuffers<MemoryBlock>;
  readonly #prices = new Map<string, readonly EstimatedDispatch[]>();
  readonly #usage = { engineMs: 0, hostMs: 0, flops: 0 };
  readonly #flops = new Map<string, number>();

  /** Throws `EngineError` for a plan the chip refuses, with op, rule, source and remedy. */
  constructor(plan: Plan, settings: SimPlanSettings, options: LoadOptions) {
    const { chip, driver, operandScaling = "auto" } = settings;
    this.plan = plan;
    this.#settings = settings;
    const silu = settings.context.arithmetic["table.silu"] === "fitted" ? "table" : "written";
    const { expectedRuns } = options;
    const split = placeOrRefuse(plan, chip, driver, { operandScaling, silu, expectedRuns });
    this.#running = split.plan;
    this.#record = new PlanRecord(split.plan, options);
    this.#placed = split.placed;
    this.#places = split.places;
    const { machine } = settings.context;
    const isOwn = (other: LoadedPlan): other is SimPlan =>
      other instanceof SimPlan && other.#settings.context.machine === machine;
    const share = sharedPlan(options, isOwn);
    this.#buffers = new PlanBuffers(split.plan, allocatorOf(machine), share?.buffers);
  }

  get buffers(): PlanBuffers<MemoryBlock> {
    return this.#buffers;
  }

  async prepare(section: string): Promise<void> {
    for (const dispatch of this.#record.dispatches(section)) {
      this.#record.checkWanted();
      const program = this.#record.program(dispatch);
      if (program.hostKernel === undefined) this.#functionOf(program);
      await turn();
    }
  }

  async run(section: string): Promise<void> {
    const dispatches = this.#record.dispatches(section);
    const prices = this.#pricesOf(section);
    const places = this.#places.get(section) ?? [];
    for (const [index, dispatch] of dispatches.entries()) {
      try {
        this.#dispatch(section, dispatch);
      } finally {
        this.#settings.context.machine.arena.reset();
      }
      const { ms = 0, joules = 0, place = "host" } = prices[index] ?? {};
      this.#settings.advance(ms, joules);
      this.#usage[place === "engine" ? "engineMs" : "hostMs"] += ms;
      if (place === "engine") this.#usage.flops += this.#flopsOf(dispatch);
      this.#record.times.of(section, dispatch.label, places[index] ?? [index]).add(ms);
      await turn();
    }
  }

  view(buffer: string): BufferView {
    return this.#buffers.view(this.#record.persistent(buffer).name);
  }

  memory(): MemoryReport {
    let runtimeBytes = 0;
    for (const { function: fn, hostKernel } of this.plan.programs.values()) {
      // Kernels of the host hold nothing of their own.
      if (hostKernel !== undefined) continue;
      let bytes = 0;
      for (const { outputs } of fn.operations) {
        for (const { type } of outputs) {
          if (type.kind === "tensor") bytes += 8 * elementCount(staticShape(type));
        }
      }
      runtimeBytes = Math.max(runtimeBytes, bytes);
    }
    return { ...this.#buffers.memory, runtimeBytes };
  }

  /** Predicted milliseconds, not those of the simulation. */
  timings(): readonly DispatchTiming[] {
    return this.#record.times.list();
  }

  /** Predicted milliseconds, one dispatch after the other. */
  usage(): EngineUsage {
    const { engineMs, hostMs, flops } = this.#usage;
    return { engineMs, hostMs, wallMs: engineMs + hostMs, flops };
  }

  close(): Promise<void> {
    if (!this.#record.close()) return Promise.resolve();
    for (const fn of this.#functions.values()) fn.release();
    this.#functions.clear();
    this.#buffers.release();
    return Promise.resolve();
  }

  /** Programs that stay on the host, and why. */
  onHost(): readonly { readonly program: string; readonly reason: string }[] {
    return programsOnHost(this.#placed);
  }

  #pricesOf(section: string): readonly EstimatedDispatch[] {
    const known = this.#prices.get(section);
    if (known !== undefined) return known;
    const { chip, driver } = this.#settings;
    const place = ({ name }: PlanProgram): Placement => {
      const placed = this.#placed.get(name);
      return placed?.place === "engine"
        ? { place: "engine", function: placed.program.function }
        : { place: "host", reason: placed?.reason ?? "unknown" };
    };
    const { dispatches } = estimatePlan(this.#running, chip, driver, {
      place,
      runs: { [section]: 1 },
    });
    this.#prices.set(section, dispatches);
    return dispatches;
  }

  #flopsOf({ program }: Dispatch): number {
    const known = this.#flops.get(program);
    if (known !== undefined) return known;
    const placed = this.#placed.get(program);
    const flops = placed?.place === "engine" ? productFlops(placed.program.function) : 0;
    this.#flops.set(program, flops);
    return flops;
  }

  #functionOf({ name, function: fn }: PlanProgram): SimulatedFunction {
    const known = this.#functions.get(name);
    if (known !== undefined) return known;
    const placed = this.#placed.get(name);
    const made =
      placed?.place === "engine"
        ? new SimulatedFunction(placed.program.function, "engine")
        : new SimulatedFunction(fn, "host");
    this.#functions.set(name, made);
    return made;
  }

  #dispatch(section: string, dispatch: Dispatch): void {
    const program = this.#record.program(dispatch);
    if (program.hostKernel !== undefined) {
      if (!this.#runKernel(section, dispatch)) this.#runOnHost(section, dispatch, program);
      return;
    }
    const placed = this.#placed.get(program.name);
    if (placed?.place === "engine") this.#runOnEngine(section, dispatch, program, placed.program);
    else this.#runOnHost(section, dispatch, program);
  }

  /** Whether the host's kernel suits the dispatch. */
  #runKernel(section: string, dispatch: Dispatch): boolean {
    const { hostKernels } = this.#settings.context.machine;
    return hostKernels.runDispatch(this.#running, dispatch, ({ buffer, offset, count }) => {
      const spec = this.#record.buffer(buffer);
      const type = tensorType(spec.type.dataType, [count]);
      return this.#buffers.elements(section, spec, { buffer, offset }, type);
    });
  }

  #runOnHost(section: string, dispatch: Dispatch, program: PlanProgram): void {
    const { function: fn } = program;
    const inputs = new Map<string, HostTensor>();
    for (const { name, type } of fn.inputs) {
      if (type.kind !== "tensor") continue;
      const view = this.#elements(section, fn, "inputs", name, dispatch.inputs.get(name));
      inputs.set(
        name,
        hostTensor(type.dataType, staticShape(type), numbersOf(view, type.dataType)),
      );
    }
    const context = { ...this.#settings.context, place: "host" } as const;
    // Loops, branches and lists are the reference's: the simulator knows none.
    const results = hasBlocks(fn)
      ? evaluateFunction(fn, inputs)
      : this.#functionOf(program).run(inputs, context);
    for (const { name, type } of fn.outputs) {
      const result = results.get(name);
      const binding = dispatch.outputs.get(name);
      if (result === undefined || binding === undefined || type.kind !== "tensor") continue;
      const view = this.#elements(section, fn, "outputs", name, binding);
      write(view, type.dataType, result.data, 0, binding.mode === "accumulate");
    }
  }

  #runOnEngine(
    section: string,
    dispatch: Dispatch,
    program: PlanProgram,
    engine: EngineProgram,
  ): void {
    const { function: fn } = program;
    const context = { ...this.#settings.context, place: "engine" } as const;
    const { machine } = context;
    const inputs = new Map<string, HostTensor>();
    for (const port of engine.inputs) {
      const type = engine.function.inputs.find(({ name }) => name === port.name)?.type;
      if (type?.kind !== "tensor") continue;
      const from = fn.inputs.find(({ name }) => name === port.from)?.type;
      const view = this.#elements(section, fn, "inputs", port.from, dispatch.inputs.get(port.from));
      const dataType = from?.kind === "tensor" ? from.dataType : "fp32";
      inputs.set(port.name, fillPort(port, staticShape(type), view, dataType, machine));
    }
    const results = this.#functionOf(program).run(inputs, context);
    for (const { name, to, conversion } of engine.outputs) {
      const given = results.get(name);
      const factor = conversion.kind === "write" ? conversion.factor : undefined;
      const result = factor === undefined ? given : multiplied(given, factor, machine);
      const binding = dispatch.outputs.get(to);
      const type = fn.outputs.find((output) => output.name === to)?.type;
      if (result === undefined || binding === undefined || type?.kind !== "tensor") continue;
      const view = this.#elements(section, fn, "outputs", to, binding);
      const isAdded = binding.mode === "accumulate";
      if (conversion.kind === "sum") {
        const total = result.data.reduce((sum, value) => sum + value, 0);
        write(view, type.dataType, Float64Array.of(total), 0, isAdded);
      } else {
        const isDirect = result instanceof HalfTensor && type.dataType === "fp32";
        if (isDirect) {
          const address = view.byteOffset + 4 * conversion.start;
          machine.write(result.address, address, result.count, isAdded);
        } else write(view, type.dataType, result.data, conversion.start, isAdded);
      }
    }
  }

  /** The elements a binding speaks of. */
  #elements(
    section: string,
    fn: MilFunction,
    side: "inputs" | "outputs",
    name: string,
    binding: Binding | undefined,
  ): BufferView {
    const type = fn[side].find((value) => value.name === name)?.type;
    if (binding === undefined || type?.kind !== "tensor") {
      throw new EngineError("engine.plan.binding", `"${name}" of "${fn.name}" is not bound`);
    }
    return this.#buffers.elements(section, this.#record.buffer(binding.buffer), binding, type);
  }
}

/** A result times a power of two, whatever holds it: what an op like `select` made stands outside the arena. */
function multiplied(
  given: HostTensor | undefined,
  factor: number,
  { arena }: Machine,
): HostTensor | undefined {
  if (given instanceof HalfTensor) return given.times(factor, arena);
  return given && { ...given, data: given.data.map((value) => value * factor) };
}

function hasBlocks(fn: MilFunction): boolean {
  return fn.operations.some(({ blocks }) => blocks.length > 0);
}

function numbersOf(view: BufferView, dataType: DataType): Float64Array {
  if (dataType !== "fp16") return new Float64Array(view);
  const numbers = new Float64Array(view.length);
  for (let i = 0; i < numbers.length; i++) numbers[i] = float16Value(view[i] ?? 0);
  return numbers;
}

/** What the host puts into a port of the engine. */
function fillPort(
  { conversion }: EngineInput,
  shape: readonly number[],
  view: BufferView,
  dataType: DataType,
  machine: Machine,
): HalfTensor {
  const tensor = HalfTensor.allocate(machine.arena, "fp16", shape);
  const numbers = tensor.numbers();
  switch (conversion.kind) {
    case "half": {
      const { start, count } = conversion;
      if (dataType === "fp32") {
        machine.round(view.byteOffset + 4 * start, tensor.address, count);
        break;
      }
      numbers.set(numbersOf(view.subarray(start, start + count), dataType));
      if (dataType !== "fp16") machine.round(tensor.address, tensor.address, count);
      break;
    }
    case "valid":
      for (let i = 0; i < numbers.length; i++) numbers[i] = (view[i] ?? -1) < 0 ? 0 : 1;
      break;
    case "one-hot":
      fillOneHot(view, conversion, numbers, 1);
  }
  return tensor;
}

function write(
  view: BufferView,
  dataType: DataType,
  numbers: Float64Array,
  start: number,
  isAdded: boolean,
): void {
  if (dataType === "fp16") {
    for (let i = 0; i < numbers.length; i++) {
      const before = isAdded ? float16Value(view[start + i] ?? 0) : 0;
      view[start + i] = float16Bits(before + (numbers[i] ?? 0));
    }
  } else if (isAdded) {
    for (let i = 0; i < numbers.length; i++) {
      view[start + i] = (view[start + i] ?? 0) + (numbers[i] ?? 0);
    }
  } else {
    view.set(numbers, start);
  }
}
