import type { MilFunction } from "../mil/program.ts";
import { byteLengthOf, elementCount, staticShape } from "../mil/types.ts";
import { isTransient } from "../plan/plan.ts";
import type { Binding, Dispatch, Plan, PlanProgram } from "../plan/plan.ts";
import { didYouMean } from "../util/nearest.ts";
import type { Chip, Driver } from "./chip.ts";
import { callJoules, opJoules } from "./cost/energy.ts";
import { HOST_WATTS, hostBytesPerMs, hostProgramMs } from "./cost/host.ts";
import { largest, priceCall, pricingRates } from "./cost/model.ts";
import type { Bound, CallPrice } from "./cost/model.ts";
import { overlappedMs } from "./cost/overlap.ts";
import type { LaneTask, Span } from "./cost/overlap.ts";
import { joinedRoof } from "./cost/roof.ts";
import type { OpRoof } from "./cost/roof.ts";
import { edgeBytesOf, functionWork } from "./cost/work.ts";
import { ChipError } from "./errors.ts";
import { checkFunction } from "./legality/check.ts";
import { requirePossibleSizes } from "./possible-sizes.ts";

/** One op's share; on a plan, all ops of one type together. */
export interface EstimatedOp {
  /** Name of the op's result; on a plan the op's type. */
  readonly name: string;
  readonly op: string;
  readonly count: number;
  readonly ms: number;
  readonly joules: number;
  readonly boundBy: Bound;
  readonly flops: number;
  readonly bytes: number;
  /** What it could reach at most, of several ops the best; absent on the host. */
  readonly roof?: OpRoof;
}

/** Milliseconds by what they go into. */
export interface Breakdown {
  readonly dispatch: number;
  readonly compute: number;
  readonly streaming: number;
  readonly host: number;
}

/** The predicted price of a function: milliseconds, joules, and what of each op. */
export interface Estimate {
  readonly chip: string;
  readonly driver: Driver;
  readonly ms: number;
  /** The engine's rail and, for host work, the CPU's. */
  readonly joules: number;
  readonly boundBy: Bound;
  /** Milliseconds by what they go into. */
  readonly breakdown: Breakdown;
  readonly ops: readonly EstimatedOp[];
}

/** The predicted price of one dispatch of a plan. */
export interface EstimatedDispatch {
  readonly label: string;
  readonly program: string;
  readonly place: "engine" | "host";
  readonly count: number;
  readonly ms: number;
  readonly joules: number;
  readonly boundBy: Bound;
}

/** The predicted price of a plan. */
export interface PlanEstimate extends Estimate {
  /** The same work where engine and host do at the same time what does not wait for each other. */
  readonly overlappedMs: number;
  readonly sections: readonly {
    readonly section: string;
    readonly runs: number;
    readonly ms: number;
  }[];
  readonly dispatches: readonly EstimatedDispatch[];
  /** Programs that stay on the host, and why. */
  readonly onHost: readonly { readonly program: string; readonly reason: string }[];
}

/** Runs of a section after which each further one takes as long as the last. */
const SIMULATED_RUNS = 4;

/** Rules whose breaking keeps a program off the engine; types are converted on the way in. */
const KEEPS_OFF = new Set(["unsupported-op", "integer-arithmetic", "symbolic"]);

/** Where a program of a plan runs; on the engine as the function that was made for it. */
export type Placement =
  | { readonly place: "engine"; readonly function: MilFunction }
  | { readonly place: "host"; readonly reason: string };

/** What of a plan is priced, and how often it runs. */
export interface PlanEstimateOptions {
  /** How often each section runs. Default: a training step with one micro-batch. */
  readonly runs?: Readonly<Record<string, number>>;
  /** Default: programs as they stand, those with ops the engine lacks on the host. */
  readonly place?: (program: PlanProgram) => Placement;
}

/** What counts as part of a call. */
export interface EstimateOptions {
  /** Count the conversion and the copies of inputs and outputs, as a caller without shared buffers pays them. */
  readonly hostCopies?: boolean;
}

/** Time and energy of one call of a function. Throws `ChipError`: `chip.symbolic`, `chip.size` for sizes it cannot be. */
export function estimateFunction(
  fn: MilFunction,
  chip: Chip,
  driver: Driver,
  options: EstimateOptions = {},
): Estimate {
  requirePossibleSizes(fn);
  const price = priceFunction(fn, chip, driver, options.hostCopies === true);
  const scale = chip.rates.energyScale.value;
  return {
    chip: chip.name,
    driver,
    ms: price.ms,
    joules: callJoules(price, chip) + HOST_WATTS * price.hostMs * 1e-3,
    boundBy: price.boundBy,
    breakdown: breakdownOf(price),
    ops: price.ops.map((op) => ({
      name: op.work.name,
      op: op.work.op,
      count: 1,
      ms: op.ms,
      joules: opJoules(op) * scale,
      boundBy: op.boundBy,
      flops: op.work.productFlops,
      bytes: op.work.weightBytes + op.work.trafficBytes,
      roof: op.roof,
    })),
  };
}

function priceFunction(
  fn: MilFunction,
  chip: Chip,
  driver: Driver,
  hostCopies: boolean,
): CallPrice {
  const work = functionWork(fn);
  // A host's copies were measured with what the engine reads and writes of them.
  return priceCall(
    work,
    pricingRates(chip, driver),
    hostCopies
      ? { hostBytes: work.inputBytes + work.outputBytes }
      : { edgeBytes: edgeBytesOf(work) },
  );
}

/** The whole step of a training plan: every section once, micro-batches after the first through `accumulate`. */
export function trainingRuns(plan: Plan, microBatches = 1): Readonly<Record<string, number>> {
  const runs: Record<string, number> = {};
  for (const section of plan.sections.keys()) {
    if (section === "evaluate") continue;
    runs[section] = section === "forward_backward_accumulate" ? microBatches - 1 : 1;
  }
  return runs;
}

/**
 * Time and energy of a plan's sections. Programs with a host kernel, and those that stay on the host, are
 * priced on the CPU, and so is the conversion of results that leave the engine for an fp32 buffer.
 */
export function estimatePlan(
  plan: Plan,
  chip: Chip,
  driver: Driver,
  { runs = trainingRuns(plan), place }: PlanEstimateOptions = {},
): PlanEstimate {
  const placing = place ?? placeAsWritten(chip, driver);
  for (const program of plan.programs.values())
    requirePossibleSizes(program.function, placing(program).place === "host");
  const pricing = new PlanPricing(plan, chip, driver, placing);
  for (const [section, count] of Object.entries(runs)) {
    const dispatches = plan.sections.get(section);
    if (dispatches === undefined) {
      throw new ChipError(
        "chip.section",
        `plan "${plan.name}" has no section "${section}".${didYouMean(section, plan.sections.keys())}`,
      );
    }
    if (count > 0) pricing.section(section, dispatches, count);
  }
  return pricing.finish();
}

function placeAsWritten(chip: Chip, driver: Driver): (program: PlanProgram) => Placement {
  return (program) => {
    if (program.onHost !== undefined) return { place: "host", reason: program.onHost };
    const blocking = checkFunction(program.function, chip, driver).find(
      ({ rule, severity }) => severity === "error" && KEEPS_OFF.has(rule),
    );
    return blocking === undefined
      ? { place: "engine", function: program.function }
      : { place: "host", reason: blocking.detail };
  };
}

type ProgramPrice =
  | { readonly place: "engine"; readonly price: CallPrice; readonly joules: number }
  | { readonly place: "host"; readonly ms: number; readonly reason: string };

class PlanPricing {
  readonly #plan: Plan;
  readonly #chip: Chip;
  readonly #driver: Driver;
  readonly #prices = new Map<string, ProgramPrice>();
  readonly #sections: { section: string; runs: number; ms: number }[] = [];
  readonly #dispatches: EstimatedDispatch[] = [];
  readonly #ops = new Map<string, EstimatedOp>();
  readonly #roofs = new Map<string, OpRoof[]>();
  readonly #opParts = new Map<string, Record<Bound, number>>();
  readonly #parts: Record<Bound, number> = { dispatch: 0, compute: 0, streaming: 0, host: 0 };
  readonly #tasks: { section: string; runs: number; tasks: LaneTask[] }[] = [];
  #joules = 0;

  readonly #place: (program: PlanProgram) => Placement;

  constructor(plan: Plan, chip: Chip, driver: Driver, place: (program: PlanProgram) => Placement) {
    this.#place = place;
    this.#plan = plan;
    this.#chip = chip;
    this.#driver = driver;
  }

  section(section: string, dispatches: readonly Dispatch[], runs: number): void {
    let total = 0;
    this.#tasks.push({ section, runs, tasks: [] });
    for (const dispatch of dispatches) total += this.#dispatch(dispatch, runs);
    this.#sections.push({ section, runs, ms: total });
  }

  #dispatch(dispatch: Dispatch, runs: number): number {
    const program = this.#plan.programs.get(dispatch.program);
    if (program === undefined) return 0;
    const priced = this.#program(program);
    // An embedding's rows are added in place by its kernel; what the engine gives is fp16.
    const inPlace = program.hostKernel?.kind === "embedding_gradient";
    const accumulateMs = inPlace ? 0 : this.#resultMs(dispatch, priced.place === "engine");
    this.#addTasks(dispatch, program.function, priced, accumulateMs);
    if (priced.place === "host") {
      const ms = (priced.ms + accumulateMs) * runs;
      this.#parts.host += ms;
      const joules = HOST_WATTS * ms * 1e-3;
      this.#joules += joules;
      this.#addDispatch(dispatch, "host", runs, ms, joules, "host");
      this.#addOp(dispatch.program, runs, ms, joules, "host", 0, 0);
      return ms;
    }
    const { price } = priced;
    const ms = (price.ms + accumulateMs) * runs;
    this.#parts.dispatch += price.dispatchMs * runs;
    this.#parts.compute += price.computeMs * runs;
    this.#parts.streaming += price.streamingMs * runs;
    this.#parts.host += accumulateMs * runs;
    const joules = (priced.joules + HOST_WATTS * accumulateMs * 1e-3) * runs;
    this.#joules += joules;
    this.#addDispatch(dispatch, "engine", runs, ms, joules, price.boundBy);
    const scale = this.#chip.rates.energyScale.value;
    for (const op of price.ops) {
      const { work, ms: opMs, boundBy } = op;
      const opEnergy = opJoules(op) * scale * runs;
      const bytes = (work.weightBytes + work.trafficBytes) * runs;
      this.#addOp(work.op, runs, opMs * runs, opEnergy, boundBy, work.productFlops * runs, bytes, {
        ...op.roof,
        bytes: op.roof.bytes * runs,
      });
    }
    return ms;
  }

  /** The dispatch as the two lanes have it: on the engine, what the host does with its results is a task of its own. */
  #addTasks(dispatch: Dispatch, fn: MilFunction, priced: ProgramPrice, accumulateMs: number): void {
    const tasks = this.#tasks.at(-1)?.tasks;
    const inputs = spansOf(dispatch.inputs, fn.inputs);
    const outputs = spansOf(dispatch.outputs, fn.outputs);
    const perMs = hostBytesPerMs(this.#chip);
    if (priced.place === "host") {
      const ms = priced.ms + accumulateMs;
      tasks?.push({ lane: "host", ms, memoryBytes: ms * perMs, reads: inputs, writes: outputs });
      return;
    }
    const weights = priced.price.ops.reduce((sum, { work }) => sum + work.weightBytes, 0);
    const { ms } = priced.price;
    if (accumulateMs === 0) {
      tasks?.push({ lane: "engine", ms, memoryBytes: weights, reads: inputs, writes: outputs });
      return;
    }
    const isHosts = ({ buffer }: Span): boolean => {
      const role = this.#plan.buffers.get(buffer)?.role;
      return role !== undefined && !isTransient(role);
    };
    // What an engine's result stands in until the host has taken it.
    const held: Span = { buffer: `result of ${dispatch.label}`, offset: 0, count: 1 };
    tasks?.push(
      {
        lane: "engine",
        ms,
        memoryBytes: weights,
        reads: inputs,
        writes: [...outputs.filter((span) => !isHosts(span)), held],
      },
      {
        lane: "host",
        ms: accumulateMs,
        memoryBytes: accumulateMs * perMs,
        reads: [held],
        writes: outputs.filter(isHosts),
      },
    );
  }

  /**
   * Sections run as one sequence. A training step ends with the norm of its gradients, which the update's scale is
   * made of; the update runs beside the next step's forward pass, so a step is counted from update to norm.
   */
  #overlappedMs(): number {
    const order = [
      ...this.#tasks.filter(({ section }) => section === "update"),
      ...this.#tasks.filter(({ section }) => section !== "update"),
    ];
    const perMs = this.#chip.memoryBandwidth.value * 1e6;
    const most = Math.max(1, ...order.map(({ runs }) => runs));
    const withRuns = (limit: number): number =>
      overlappedMs(
        order.flatMap(({ runs, tasks }) =>
          Array.from({ length: Math.min(runs, limit) }, () => tasks).flat(),
        ),
        perMs,
      );
    if (most <= SIMULATED_RUNS) return withRuns(most);
    const whole = withRuns(SIMULATED_RUNS);
    return whole + (most - SIMULATED_RUNS) * (whole - withRuns(SIMULATED_RUNS - 1));
  }

  #program(program: PlanProgram): ProgramPrice {
    const known = this.#prices.get(program.name);
    if (known !== undefined) return known;
    const price = this.#priceProgram(program);
    this.#prices.set(program.name, price);
    return price;
  }

  #priceProgram(program: PlanProgram): ProgramPrice {
    const host = (reason: string): ProgramPrice => ({
      place: "host",
      ms: hostProgramMs(program, this.#chip),
      reason,
    });
    if (program.hostKernel !== undefined) return host(`host kernel ${program.hostKernel.kind}`);
    const placement = this.#place(program);
    if (placement.place === "host") return host(placement.reason);
    const price = priceFunction(placement.function, this.#chip, this.#driver, false);
    return { place: "engine", price, joules: callJoules(price, this.#chip) };
  }

  /** What the host moves after a dispatch: sums into buffers, and fp16 results into fp32 buffers that stay. */
  #resultMs(dispatch: Dispatch, isHalf: boolean): number {
    let bytes = 0;
    for (const output of dispatch.outputs.values()) {
      const buffer = this.#plan.buffers.get(output.buffer);
      if (buffer === undefined) continue;
      const held = byteLengthOf(buffer.type);
      const result = isHalf ? 2 * elementCount(staticShape(buffer.type)) : held;
      if (output.mode === "accumulate") bytes += result + 2 * held;
      else if (isHalf && !isTransient(buffer.role)) bytes += result + held;
    }
    return bytes / hostBytesPerMs(this.#chip);
  }

  #addDispatch(
    { label, program }: Dispatch,
    place: "engine" | "host",
    count: number,
    ms: number,
    joules: number,
    boundBy: Bound,
  ): void {
    this.#dispatches.push({ label, program, place, count, ms, joules, boundBy });
  }

  #addOp(
    op: string,
    count: number,
    ms: number,
    joules: number,
    boundBy: Bound,
    flops: number,
    bytes: number,
    roof?: OpRoof,
  ): void {
    const old = this.#ops.get(op);
    const parts = this.#opParts.get(op) ?? { dispatch: 0, compute: 0, streaming: 0, host: 0 };
    parts[boundBy] += ms;
    this.#opParts.set(op, parts);
    this.#ops.set(op, {
      name: op,
      op,
      count: (old?.count ?? 0) + count,
      ms: (old?.ms ?? 0) + ms,
      joules: (old?.joules ?? 0) + joules,
      boundBy: largest(parts),
      flops: (old?.flops ?? 0) + flops,
      bytes: (old?.bytes ?? 0) + bytes,
    });
    if (roof === undefined) return;
    const roofs = this.#roofs.get(op) ?? [];
    roofs.push(roof);
    this.#roofs.set(op, roofs);
  }

  /** The most expensive first, each with the roof of all its calls. */
  #estimatedOps(): readonly EstimatedOp[] {
    return [...this.#ops.values()]
      .map((op): EstimatedOp => {
        const roof = joinedRoof(this.#roofs.get(op.op) ?? []);
        return roof === undefined ? op : { ...op, roof };
      })
      .sort((a, b) => b.ms - a.ms);
  }

  finish(): PlanEstimate {
    const { dispatch, compute, streaming, host } = this.#parts;
    return {
      chip: this.#chip.name,
      driver: this.#driver,
      ms: dispatch + compute + streaming + host,
      overlappedMs: this.#overlappedMs(),
      joules: this.#joules,
      boundBy: largest(this.#parts),
      breakdown: { dispatch, compute, streaming, host },
      ops: this.#estimatedOps(),
      sections: this.#sections,
      dispatches: this.#dispatches,
      onHost: [...this.#prices].flatMap(([program, price]) =>
        price.place === "host" ? [{ program, reason: price.reason }] : [],
      ),
    };
  }
}

function spansOf(
  bindings: ReadonlyMap<string, Binding>,
  values: MilFunction["inputs"],
): readonly Span[] {
  return [...bindings].map(([name, { buffer, offset }]) => {
    const type = values.find((value) => value.name === name)?.type;
    const count = type?.kind === "tensor" ? elementCount(staticShape(type)) : 1;
    return { buffer, offset, count };
  });
}

function breakdownOf(price: CallPrice): Breakdown {
  return {
    dispatch: price.dispatchMs,
    compute: price.computeMs,
    streaming: price.streamingMs,
    host: price.hostMs,
  };
}

/** The estimate as commands print it with `--json`. */
export function estimateJson(estimate: Estimate | PlanEstimate): Readonly<Record<string, unknown>> {
  return {
    chip: estimate.chip,
    driver: estimate.driver,
    ms: estimate.ms,
    joules: estimate.joules,
    bound_by: estimate.boundBy,
    breakdown_ms: estimate.breakdown,
    ops: estimate.ops.map(({ boundBy, ...op }) => ({ ...op, bound_by: boundBy })),
    ...("sections" in estimate && {
      overlapped_ms: estimate.overlappedMs,
      sections: estimate.sections,
      on_host: estimate.onHost,
    }),
  };
}
