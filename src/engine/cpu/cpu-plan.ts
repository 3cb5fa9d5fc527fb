import type { Plan } from "../../plan/plan.ts";
import { functionCost } from "../../plan/function-cost.ts";
import type {
  BufferView,
  DispatchTiming,
  LoadedPlan,
  LoadOptions,
  MemoryReport,
  SectionExecution,
} from "../engine.ts";
import { BufferStore } from "./buffer-store.ts";
import type { StoreRequests } from "./buffer-store.ts";
import type { KernelPlace } from "../host/host-kernels.ts";
import { constantInputs, sectionsWithConstants } from "./constants.ts";
import { prepareGraph, tensorPlace } from "./graph-step.ts";
import { buffersTogether, kernelSuits, prepareKernel, scratchBytes } from "../host/host-kernels.ts";
import type { KernelPool } from "../host/kernel-pool.ts";
import type { KernelMemory } from "../host/kernel-job.ts";
import { bindDispatch } from "../../plan/regions.ts";
import type { BoundDispatch } from "../../plan/regions.ts";
import { compileRows } from "./rows/row-compiler.ts";
import type { RowProgram } from "./rows/instructions.ts";
import { describeRows, prepareRows, roomBytes } from "./rows/row-step.ts";
import { planSection, regionsOf } from "./section.ts";
import type { GraphStep, SectionStep } from "./section.ts";
import { PlanRecord, sharedPlan, turn } from "../host/plan-record.ts";
import type { DispatchTime } from "../host/plan-record.ts";
import { packSection } from "../../plan/memory.ts";
import type { CompiledFunction, FunctionCompiler, TensorPlace } from "./compiler.ts";
import { EngineError } from "../errors.ts";

/** How long a section may run before the event loop gets a turn. */
const TURN_MS = 20;

export interface CpuPlanContext {
  /** In the order in which they are asked; the last takes every function. */
  readonly compilers: readonly FunctionCompiler[];
  /** Made when a plan first has a use for it. */
  readonly kernels: () => KernelPool;
  /** Of the kernels. */
  readonly threads: number;
  /** Whether a graph's threads wait busily between its nodes. */
  readonly spins: boolean;
  readonly join: JoinRule;
  /** Sections whose matrices have so many numbers take them as constants. Absent: none does. */
  readonly constantsFrom: number | undefined;
}

/** Whether neighbouring dispatches become one graph; "auto" decides by the size of the section. */
export type JoinRule = "auto" | "always" | "never";

/**
 * Sections of this many floating-point operations are joined under "auto". Values that stay inside a graph are
 * written over sooner, while they are still in the cache, and threads need not be woken for every dispatch.
 * Measured on two Zen 4 cores, joined against apart, forward and backward of gpt2 shapes: 0.1 GFLOP -3 %,
 * 1.3 GFLOP +6 %, 4 GFLOP +10 %, 8 GFLOP +6 %, 92 GFLOP 0 %. A joined graph has every layer's nodes and takes
 * three times as long to compile, so the rest stays apart.
 */
export const JOINED_FLOPS = { from: 5e8, to: 1.6e10 } as const;

interface PreparedStep {
  readonly run: () => Promise<void> | void;
  readonly time: DispatchTime;
  /** Dispatches of the section that are done after it. */
  readonly dispatchCount: number;
}

/** A plan on the CPU engine: buffers, compiled graphs and kernels bound to them. */
export class CpuPlan implements LoadedPlan {
  readonly plan: Plan;
  readonly #record: PlanRecord;
  readonly #context: CpuPlanContext;
  readonly #store: BufferStore;
  readonly #steps = new Map<string, readonly SectionStep[]>();
  readonly #prepared = new Map<string, readonly PreparedStep[]>();
  readonly #compiled = new Map<string, Promise<CompiledFunction>>();
  /** The most bytes that a compiled function is estimated to hold while it runs. */
  #estimatedBytes = 0;
  readonly #releases: (() => void)[] = [];
  #asideBytes = 0;
  /** Memories this plan's kernels hold on to. */
  readonly #kernelMemories = new Set<KernelMemory>();
  readonly #reasons = new Map<string, string>();
  /** Sections that run as one program of the engine's own, and where it stands. */
  readonly #rows = new Map<string, { readonly program: RowProgram; readonly room: KernelPlace }>();
  readonly #views = new Map<string, BufferView>();
  readonly #onProgress: LoadOptions["onProgress"];
  readonly #readWeight: LoadOptions["readWeight"];
  /** Sections whose weights are constants of their graphs. */
  readonly #frozen: ReadonlySet<string>;

  constructor(context: CpuPlanContext, plan: Plan, options: LoadOptions) {
    const share = sharedPlan(options, (other) => other instanceof CpuPlan);
    this.plan = plan;
    this.#record = new PlanRecord(plan, { ...options, readsFiles: true });
    this.#readWeight = options.readWeight ?? share?.readWeight;
    this.#context = context;
    this.#onProgress = options.onProgress;
    this.#frozen =
      context.constantsFrom === undefined
        ? new Set()
        : sectionsWithConstants(plan, context.constantsFrom);
    const rows = share?.store.guestRoom === undefined ? undefined : rowPrograms(plan, this.#frozen);
    const requests = requestsOf(plan, rows, context.threads);
    const store = new BufferStore(plan, requests, share?.store);
    this.#store = store;
    const places = {
      place: store.kernelPlace.bind(store),
      scratch: store.scratch.bind(store),
    };
    let roomOffset = 0;
    for (const section of plan.sections.keys()) {
      const { isJoined, reason } = this.#frozen.has(section)
        ? { isJoined: context.join !== "never", reason: FROZEN_REASON }
        : joinChoice(plan, section, context.join);
      const program = rows?.programs.get(section);
      const whole = rows?.room === undefined ? undefined : store.scratch(rows.room);
      const room = whole && { ...whole, byteOffset: whole.byteOffset + roomOffset };
      if (typeof program === "object") roomOffset += roomBytes(program, context.threads);
      if (typeof program === "object" && room !== undefined && this.#isReached(program, room)) {
        this.#rows.set(section, { program, room });
        this.#steps.set(section, []);
        this.#reasons.set(section, "its few rows run as one program over all dispatches");
        continue;
      }
      const isApart = typeof program === "object" && "its buffers stand in several memories";
      const why = typeof program === "string" ? program : isApart;
      const steps = planSection(plan, section, isJoined, (dispatch) =>
        kernelSuits(plan, dispatch, places),
      );
      this.#steps.set(section, steps);
      this.#reasons.set(section, why ? `${reason}; no row program: ${why}` : reason);
    }
    store.packTransient(
      [...this.#steps].map(([section, steps]) =>
        packSection(
          plan,
          section,
          steps.map((step) => regionsOf(step).map(({ buffer }) => buffer)),
        ),
      ),
    );
  }

  get readWeight(): LoadOptions["readWeight"] {
    return this.#readWeight;
  }

  get store(): BufferStore {
    return this.#store;
  }

  async prepare(section: string): Promise<void> {
    if (this.#prepared.has(section)) return;
    const steps = this.#record.section(section, this.#steps);
    const rows = this.#rows.get(section);
    if (rows !== undefined) {
      this.#prepared.set(section, [this.#prepareRows(section, rows)]);
      return;
    }
    const prepared: PreparedStep[] = [];
    let dispatchCount = 0;
    for (const [index, step] of steps.entries()) {
      const firstPlace = dispatchCount;
      this.#onProgress?.(index, steps.length, step.label);
      this.#record.checkWanted();
      const run =
        step.kind === "graph"
          ? await this.#prepareGraph(section, step)
          : this.#prepareKernel(section, step.dispatch);
      dispatchCount += step.kind === "graph" ? step.dispatches.length : 1;
      const places = Array.from(
        { length: dispatchCount - firstPlace },
        (_, offset) => firstPlace + offset,
      );
      const time = this.#record.times.of(section, step.label, places);
      prepared.push({ run, time, dispatchCount });
    }
    this.#onProgress?.(steps.length, steps.length, section);
    this.#prepared.set(section, prepared);
  }

  async run(section: string, onDispatches?: (count: number) => void): Promise<void> {
    if (!this.#prepared.has(section)) await this.prepare(section);
    this.#record.checkOpen();
    let lastTurn = performance.now();
    for (const { run, time, dispatchCount } of this.#prepared.get(section) ?? []) {
      const started = performance.now();
      await run();
      const ended = performance.now();
      time.add(ended - started);
      onDispatches?.(dispatchCount);
      if (ended - lastTurn < TURN_MS) continue;
      await turn();
      lastTurn = performance.now();
    }
  }

  view(buffer: string): BufferView {
    const known = this.#views.get(buffer);
    if (known !== undefined) {
      this.#record.checkOpen();
      return known;
    }
    const view = this.#store.view(this.#record.persistent(buffer).name);
    this.#views.set(buffer, view);
    return view;
  }

  memory(): MemoryReport {
    const { persistentBytes, transientBytes } = this.#store;
    // Functions run in turn over one arena; results that cannot stand in their place are held beside it.
    const told = this.#context.compilers.reduce(
      (bytes, compiler) => bytes + (compiler.arenaBytes() ?? 0),
      0,
    );
    const arena = Math.max(this.#estimatedBytes, told);
    return { persistentBytes, transientBytes, runtimeBytes: arena + this.#asideBytes };
  }

  timings(): readonly DispatchTiming[] {
    return this.#record.times.list();
  }

  describeExecution(section: string): SectionExecution {
    const reason = this.#reasons.get(section) ?? "";
    const rows = this.#rows.get(section);
    if (rows !== undefined) {
      const dispatches = this.#record.dispatches(section).map(({ label }) => label);
      const label = `${dispatches[0]} … ${dispatches.at(-1)}`;
      const madeOf = describeRows(rows.program);
      return { section, steps: [{ label, kind: "kernel", madeOf, dispatches }], reason };
    }
    const steps = this.#record.section(section, this.#steps).map((step) => ({
      label: step.label,
      kind: step.kind,
      madeOf:
        step.kind === "graph"
          ? this.#compilerOf(step).describe(
              step.joined.fn,
              this.#frozen.has(section) && constantInputs(this.plan, step).size > 0,
            )
          : `WebAssembly, ${this.#record.program(step.dispatch).hostKernel?.kind ?? "kernel"}`,
      dispatches:
        step.kind === "graph" ? step.dispatches.map(({ label }) => label) : [step.dispatch.label],
    }));
    return { section, steps, reason };
  }

  async close(): Promise<void> {
    if (!this.#record.close()) return;
    this.#prepared.clear();
    for (const release of this.#releases) release();
    for (const compiled of await Promise.allSettled(this.#compiled.values()))
      if (compiled.status === "fulfilled") await compiled.value.release();
    for (const memory of this.#kernelMemories) this.#context.kernels().release(memory);
    this.#store.close();
  }

  /** Whether all that a program reads and writes stands in the memory of its room. */
  #isReached(program: RowProgram, room: KernelPlace): boolean {
    return program.instructions.every(({ words }) =>
      words.every((word) => {
        if (typeof word !== "object" || !("space" in word) || word.space !== "buffer") return true;
        return this.#placeOf(word.buffer)?.memory === room.memory;
      }),
    );
  }

  #placeOf(buffer: string): KernelPlace | undefined {
    return this.#store.kernelPlace({ buffer, offset: 0, count: 0 });
  }

  #prepareRows(
    section: string,
    { program, room }: { readonly program: RowProgram; readonly room: KernelPlace },
  ): PreparedStep {
    const dispatches = this.#record.dispatches(section);
    const label = `${dispatches[0]?.label} … ${dispatches.at(-1)?.label}`;
    this.#retain(room.memory);
    const run = prepareRows({
      ...{ program, room, pool: this.#context.kernels() },
      addressOf: (buffer) => this.#placeOf(buffer)?.byteOffset ?? 0,
    });
    const places = dispatches.map((_, index) => index);
    const time = this.#record.times.of(section, label, places);
    return { run, time, dispatchCount: dispatches.length };
  }

  /** Says once that this plan's kernels work on a memory. */
  #retain(memory: KernelMemory): void {
    if (this.#kernelMemories.has(memory)) return;
    this.#kernelMemories.add(memory);
    this.#context.kernels().retain(memory);
  }

  #prepareKernel(section: string, dispatch: BoundDispatch): () => void {
    const store = this.#store;
    const pool = this.#context.kernels();
    for (const memory of store.memories) this.#retain(memory);
    return prepareKernel(this.plan, dispatch, {
      pool,
      place: store.kernelPlace.bind(store),
      scratch: store.scratch.bind(store),
      view: (region) => store.viewRegion(section, region),
      ...(this.#readWeight !== undefined && { readWeight: this.#readWeight }),
    });
  }

  async #prepareGraph(section: string, step: GraphStep): Promise<() => Promise<void> | void> {
    const constants = this.#frozen.has(section) ? this.#constantsOf(section, step) : [];
    // Equal functions over other constants are other graphs.
    const pattern = constants.length > 0 ? `${section} ${step.label}` : step.pattern;
    const known = this.#compiled.get(pattern);
    const compiled = known ?? this.#compile(step, constants);
    if (known === undefined) this.#compiled.set(pattern, compiled);
    const graph = prepareGraph(await compiled, step, (region) =>
      this.#store.place(section, region),
    );
    this.#asideBytes += graph.asideBytes;
    this.#releases.push(graph.release);
    return graph.run;
  }

  #constantsOf(section: string, step: GraphStep): readonly TensorPlace[] {
    const { fn, inputs } = step.joined;
    return [...constantInputs(this.plan, step)].flatMap((index) => {
      const [value, region] = [fn.inputs[index], inputs[index]];
      if (value === undefined || region === undefined) return [];
      return [tensorPlace(value.name, value.type, this.#store.place(section, region))];
    });
  }

  async #compile(step: GraphStep, constants: readonly TensorPlace[]): Promise<CompiledFunction> {
    const { spins } = this.#context;
    const compiled = await this.#compilerOf(step).compile(step.joined.fn, {
      label: step.label,
      ...{ spins, constants },
    });
    this.#estimatedBytes = Math.max(this.#estimatedBytes, compiled.intermediateBytes);
    return compiled;
  }

  #compilerOf({ label, joined }: GraphStep): FunctionCompiler {
    const compiler = this.#context.compilers.find((one) => one.suits(joined.fn));
    if (compiler !== undefined) return compiler;
    throw new EngineError("engine.cpu.compile", `no compiler of the CPU engine takes "${label}"`);
  }
}

function joinChoice(
  plan: Plan,
  section: string,
  rule: JoinRule,
): { readonly isJoined: boolean; readonly reason: string } {
  if (rule !== "auto") return { isJoined: rule === "always", reason: `joining is set to ${rule}` };
  const costs = new Map<string, number>();
  let flops = 0;
  for (const { program } of plan.sections.get(section) ?? []) {
    const fn = plan.programs.get(program)?.function;
    const cost = costs.get(program) ?? (fn === undefined ? 0 : functionCost(fn).flops);
    costs.set(program, cost);
    flops += cost;
  }
  const isJoined = flops >= JOINED_FLOPS.from && flops < JOINED_FLOPS.to;
  const size = `${(flops / 1e9).toPrecision(3)} GFLOP`;
  const range = `${JOINED_FLOPS.from / 1e9} to ${JOINED_FLOPS.to / 1e9} GFLOP`;
  return {
    isJoined,
    reason: isJoined
      ? `${size} lie within ${range}: neighbouring dispatches run as one graph`
      : `${size} lie outside ${range}: every dispatch is a graph of its own`,
  };
}

interface RowPrograms {
  /** By section: a program, or why there is none. */
  readonly programs: ReadonlyMap<string, RowProgram | string>;
  /** The buffer beside which programs have their room, one after the other. */
  readonly room: string | undefined;
}

const FROZEN_REASON = "its weights do not change: one graph with their matrices as constants";

function rowPrograms(plan: Plan, others: ReadonlySet<string>): RowPrograms {
  const sections = [...plan.sections.keys()].filter((section) => !others.has(section));
  return {
    programs: new Map(sections.map((section) => [section, compileRows(plan, section)])),
    room: [...plan.buffers.values()].find(({ role }) => role === "output")?.name,
  };
}

/** What the kernels of a plan ask of its buffers' memory. */
function requestsOf(plan: Plan, rows: RowPrograms | undefined, threads: number): StoreRequests {
  const together: (readonly string[])[] = [];
  const scratch = new Map<string, number>();
  for (const dispatches of plan.sections.values()) {
    for (const dispatch of dispatches) {
      if (plan.programs.get(dispatch.program)?.hostKernel === undefined) continue;
      const bound = bindDispatch(plan, dispatch);
      together.push(...buffersTogether(plan, bound));
      const wanted = scratchBytes(plan, bound);
      if (wanted !== undefined) {
        const before = scratch.get(wanted.buffer) ?? 0;
        scratch.set(wanted.buffer, Math.max(before, wanted.byteLength));
      }
    }
  }
  if (rows?.room !== undefined) {
    let byteLength = 0;
    for (const program of rows.programs.values())
      if (typeof program !== "string") byteLength += roomBytes(program, threads);
    scratch.set(rows.room, byteLength);
  }
  return { together, scratch };
}
