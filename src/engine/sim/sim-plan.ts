import type { Chip, Driver } from "../../chip/chip.ts";
import { estimatePlan } from "../../chip/estimate.ts";
import type { EstimatedDispatch, Placement } from "../../chip/estimate.ts";
import { productFlops } from "../../chip/cost/work.ts";
import { formatFindings } from "../../chip/print.ts";
import { hostTensor } from "../../mil/host-tensor.ts";
import type { HostTensor } from "../../mil/host-tensor.ts";
import type { MilFunction } from "../../mil/program.ts";
import { byteLengthOf, elementCount, staticShape } from "../../mil/types.ts";
import type { DataType } from "../../mil/types.ts";
import type { OperandScaling } from "../../lower/operand-scaling.ts";
import { checkPlacedPlan, placePlan } from "../../lower/place-plan.ts";
import type { PlacedProgram } from "../../lower/place-plan.ts";
import type { EngineInput, EngineProgram } from "../../lower/ports.ts";
import { isTransient } from "../../plan/plan.ts";
import type { Binding, BufferSpec, Dispatch, Plan, PlanProgram } from "../../plan/plan.ts";
import { float16Bits, float16Value } from "../../util/float16.ts";
import { didYouMean } from "../../util/nearest.ts";
import { viewClassOf } from "../engine.ts";
import type {
  BufferView,
  DispatchTiming,
  EngineUsage,
  LoadedPlan,
  LoadOptions,
  MemoryReport,
} from "../engine.ts";
import { EngineError } from "../errors.ts";
import { runHostKernel } from "./host-kernels.ts";
import { HalfTensor } from "./half-tensor.ts";
import type { SimContext } from "./context.ts";
import type { Machine } from "./machine.ts";
import { SimulatedFunction } from "./simulate.ts";

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

/** A buffer, which stands in the arena: its address is its view's offset. */
interface Slot {
  readonly spec: BufferSpec;
  readonly view: BufferView;
  /** Plans that use it. */
  users: number;
}

/** A plan on a simulated engine: programs rewritten and refused as the chip would, numbers as it computes them. */
export class SimPlan implements LoadedPlan {
  readonly plan: Plan;
  readonly #settings: SimPlanSettings;
  readonly #placed: ReadonlyMap<string, PlacedProgram>;
  readonly #functions = new Map<string, SimulatedFunction>();
  readonly #slots = new Map<string, Slot>();
  readonly #prices = new Map<string, readonly EstimatedDispatch[]>();
  readonly #timings = new Map<string, DispatchTiming>();
  readonly #usage = { engineMs: 0, hostMs: 0, flops: 0 };
  readonly #flops = new Map<string, number>();
  #isClosed = false;

  /** Throws `EngineError` for a plan the chip refuses, with op, rule, source and remedy. */
  constructor(plan: Plan, settings: SimPlanSettings, { share }: LoadOptions) {
    const { chip, driver, operandScaling = "auto" } = settings;
    this.plan = plan;
    this.#settings = settings;
    this.#placed = placePlan(plan, chip, driver, { operandScaling });
    const broken = checkPlacedPlan(plan, this.#placed, chip, driver).filter(
      ({ severity }) => severity === "error",
    );
    if (broken.length > 0) {
      throw new EngineError(
        "engine.refused",
        `${chip.name} refuses plan "${plan.name}":\n${formatFindings(broken)}`,
      );
    }
    const { machine } = settings.context;
    const isForeign = !(share instanceof SimPlan) || share.#settings.context.machine !== machine;
    if (share !== undefined && isForeign) {
      throw new EngineError(
        "engine.share",
        "buffers can only be shared with a plan of the same engine",
      );
    }
    try {
      for (const spec of plan.buffers.values()) {
        const shared = isTransient(spec.role) ? undefined : share?.slotFor(spec);
        const slot = shared ?? { spec, view: allocate(spec, machine), users: 0 };
        slot.users++;
        this.#slots.set(spec.name, slot);
      }
    } catch (error) {
      this.#releaseSlots();
      throw error;
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
    for (const dispatch of this.#dispatchesOf(section)) {
      const program = this.#programOf(dispatch);
      if (program.hostKernel === undefined) this.#functionOf(program);
    }
    return Promise.resolve();
  }

  async run(section: string): Promise<void> {
    const dispatches = this.#dispatchesOf(section);
    const prices = this.#pricesOf(section);
    for (const [index, dispatch] of dispatches.entries()) {
      try {
        this.#dispatch(dispatch);
      } finally {
        this.#settings.context.machine.arena.reset();
      }
      const { ms = 0, joules = 0, place = "host" } = prices[index] ?? {};
      this.#settings.advance(ms, joules);
      this.#usage[place === "engine" ? "engineMs" : "hostMs"] += ms;
      if (place === "engine") this.#usage.flops += this.#flopsOf(dispatch);
      const key = `${section}\n${dispatch.label}`;
      const before = this.#timings.get(key);
      this.#timings.set(key, {
        section,
        label: dispatch.label,
        runs: (before?.runs ?? 0) + 1,
        elapsedMs: (before?.elapsedMs ?? 0) + ms,
      });
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
      let bytes = 0;
      for (const { outputs } of fn.operations) {
        for (const { type } of outputs) {
          if (type.kind === "tensor") bytes += 8 * elementCount(staticShape(type));
        }
      }
      runtimeBytes = Math.max(runtimeBytes, bytes);
    }
    return { persistentBytes, transientBytes, runtimeBytes };
  }

  /** Predicted milliseconds, not those of the simulation. */
  timings(): readonly DispatchTiming[] {
    return [...this.#timings.values()];
  }

  /** Predicted milliseconds, one dispatch after the other. */
  usage(): EngineUsage {
    const { engineMs, hostMs, flops } = this.#usage;
    return { engineMs, hostMs, wallMs: engineMs + hostMs, flops };
  }

  close(): Promise<void> {
    this.#isClosed = true;
    for (const fn of this.#functions.values()) fn.release();
    this.#functions.clear();
    this.#releaseSlots();
    return Promise.resolve();
  }

  /** Programs that stay on the host, and why. */
  onHost(): readonly { readonly program: string; readonly reason: string }[] {
    return [...this.#placed].flatMap(([program, placed]) =>
      placed.place === "host" ? [{ program, reason: placed.reason }] : [],
    );
  }

  #releaseSlots(): void {
    const { arena } = this.#settings.context.machine;
    for (const slot of this.#slots.values()) {
      if (--slot.users === 0) arena.release(slot.view.byteOffset);
    }
    this.#slots.clear();
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
    const { dispatches } = estimatePlan(this.plan, chip, driver, { place, runs: { [section]: 1 } });
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

  #programOf(dispatch: Dispatch): PlanProgram {
    const program = this.plan.programs.get(dispatch.program);
    if (program === undefined) {
      throw new EngineError(
        "engine.plan.program",
        `${dispatch.label}: the plan has no program "${dispatch.program}"`,
      );
    }
    return program;
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

  #dispatch(dispatch: Dispatch): void {
    const program = this.#programOf(dispatch);
    if (program.hostKernel !== undefined) {
      this.#runKernel(dispatch, program);
      return;
    }
    const placed = this.#placed.get(program.name);
    if (placed?.place === "engine") this.#runOnEngine(dispatch, program, placed.program);
    else this.#runOnHost(dispatch, program);
  }

  #runKernel(dispatch: Dispatch, { function: fn, hostKernel }: PlanProgram): void {
    if (hostKernel === undefined) return;
    const isAdded = [...dispatch.outputs.values()].some(({ mode }) => mode === "accumulate");
    const inputNames = fn.inputs.map(({ name }) => name);
    runHostKernel(
      hostKernel,
      {
        input: (name) => this.#elements(fn, "inputs", name, dispatch.inputs.get(name)),
        output: (name) => this.#elements(fn, "outputs", name, dispatch.outputs.get(name)),
        inputNames,
      },
      isAdded,
      this.#settings.context.machine,
    );
  }

  #runOnHost(dispatch: Dispatch, program: PlanProgram): void {
    const { function: fn } = program;
    const inputs = new Map<string, HostTensor>();
    for (const { name, type } of fn.inputs) {
      if (type.kind !== "tensor") continue;
      const view = this.#elements(fn, "inputs", name, dispatch.inputs.get(name));
      inputs.set(
        name,
        hostTensor(type.dataType, staticShape(type), numbersOf(view, type.dataType)),
      );
    }
    const context = { ...this.#settings.context, place: "host" } as const;
    const results = this.#functionOf(program).run(inputs, context);
    for (const { name, type } of fn.outputs) {
      const result = results.get(name);
      const binding = dispatch.outputs.get(name);
      if (result === undefined || binding === undefined || type.kind !== "tensor") continue;
      const view = this.#elements(fn, "outputs", name, binding);
      write(view, type.dataType, result.data, 0, binding.mode === "accumulate");
    }
  }

  #runOnEngine(dispatch: Dispatch, program: PlanProgram, engine: EngineProgram): void {
    const { function: fn } = program;
    const context = { ...this.#settings.context, place: "engine" } as const;
    const { machine } = context;
    const inputs = new Map<string, HostTensor>();
    for (const port of engine.inputs) {
      const type = engine.function.inputs.find(({ name }) => name === port.name)?.type;
      if (type?.kind !== "tensor") continue;
      const from = fn.inputs.find(({ name }) => name === port.from)?.type;
      const view = this.#elements(fn, "inputs", port.from, dispatch.inputs.get(port.from));
      const dataType = from?.kind === "tensor" ? from.dataType : "fp32";
      inputs.set(port.name, fillPort(port, staticShape(type), view, dataType, machine));
    }
    const results = this.#functionOf(program).run(inputs, context);
    for (const { name, to, conversion } of engine.outputs) {
      const result = results.get(name);
      const binding = dispatch.outputs.get(to);
      const type = fn.outputs.find((output) => output.name === to)?.type;
      if (result === undefined || binding === undefined || type?.kind !== "tensor") continue;
      const view = this.#elements(fn, "outputs", to, binding);
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
    fn: MilFunction,
    side: "inputs" | "outputs",
    name: string,
    binding: Binding | undefined,
  ): BufferView {
    const type = fn[side].find((value) => value.name === name)?.type;
    const slot = binding === undefined ? undefined : this.#slots.get(binding.buffer);
    if (binding === undefined || slot === undefined || type?.kind !== "tensor") {
      throw new EngineError("engine.plan.binding", `"${name}" of "${fn.name}" is not bound`);
    }
    return slot.view.subarray(binding.offset, binding.offset + elementCount(staticShape(type)));
  }
}

function allocate(spec: BufferSpec, { arena }: Machine): BufferView {
  const arrayClass = viewClassOf(spec);
  const byteLength = byteLengthOf(spec.type);
  const length = Math.floor(byteLength / arrayClass.BYTES_PER_ELEMENT);
  const address = arena.keep(byteLength);
  const view = new arrayClass(arena.memory.buffer as unknown as ArrayBuffer, address, length);
  return view.fill(0);
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
    case "one-hot": {
      const { first, depth } = conversion;
      numbers.fill(0);
      for (let row = 0; row < view.length; row++) {
        const index = view[row] ?? -1;
        const column = index - first;
        if (index >= 0 && column >= 0 && column < depth) numbers[row * depth + column] = 1;
      }
    }
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
