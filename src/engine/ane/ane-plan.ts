import type { Chip } from "../../chip/chip.ts";
import { productFlops } from "../../chip/cost/work.ts";
import { checkFunction } from "../../chip/legality/check.ts";
import { formatFindings } from "../../chip/print.ts";
import type { OperandScaling } from "../../lower/operand-scaling.ts";
import type { PlacedProgram } from "../../lower/ports.ts";
import type { Plan } from "../../plan/plan.ts";
import type {
  BufferView,
  DispatchTiming,
  Engine,
  LoadedPlan,
  LoadOptions,
  MemoryReport,
  SectionExecution,
} from "../engine.ts";
import { EngineError } from "../errors.ts";
import { checkCompilations, sourcesOf } from "./compilations.ts";
import type { ConversionPool } from "./conversion-pool.ts";
import { DeviceMemory } from "./device-memory.ts";
import type { AneDriver, DriverProgram, EngineSource } from "./driver.ts";
import { HostSide } from "./host-side.ts";
import { planSection } from "./section-plan.ts";
import type { SectionStep, SegmentStep } from "./section-plan.ts";
import type { LoadedSegments, SegmentSource } from "./segments.ts";
import { TaskClock } from "./task-clock.ts";
import type { OverlapUsage } from "./task-clock.ts";
import { besides, inSequence, planTasks } from "./task-graph.ts";
import type { Task } from "./task-graph.ts";
import { runTasks } from "./task-runner.ts";
import type { TaskEvent } from "./task-runner.ts";
import { Transfers } from "./transfers.ts";
import type { HostVersion } from "./transfers.ts";
import { PlanRecord, sharedPlan } from "../host/plan-record.ts";
import { placeOrRefuse, programsOnHost } from "../host/placed-plan.ts";

export interface AnePlanContext {
  readonly driver: AneDriver;
  readonly operandScaling: OperandScaling;
  readonly chip: Chip;
  /** Runs what stays on the host, and owns the memory of all buffers. */
  readonly host: Engine;
  readonly segments: LoadedSegments;
  readonly conversions: ConversionPool;
  /** A stream of its own for every dispatch, so that each is timed alone. */
  readonly separateDispatches: boolean;
  /** Whether neighbouring dispatches may become one program. */
  readonly joins: boolean;
  readonly bytesPerPiece: number;
  /** Every task waits for the one before. */
  readonly isSequential: boolean;
  readonly onTask?: (event: TaskEvent) => void;
}

/**
 * A plan on the Neural Engine. Engine programs are rewritten for the chip (passes/engine); weights, gradients and
 * activations stay in device buffers between dispatches; what the engine cannot do, and AdamW over fp32 masters,
 * runs on the host engine.
 *
 * A weight is converted to fp16 again when a dispatch wrote it or `view` was called for it since: write through a
 * fresh view before a run.
 */
export class AnePlan implements LoadedPlan {
  readonly plan: Plan;
  readonly #record: PlanRecord;
  readonly #context: AnePlanContext;
  /** The plan as it runs: programs apart from what the host does of them, or joined with others. */
  readonly #running: Plan;
  readonly #placed: ReadonlyMap<string, PlacedProgram>;
  /** Of dispatches as they run, in the plan as it was given; by section. */
  readonly #places: ReadonlyMap<string, readonly (readonly number[])[]>;
  readonly #steps: ReadonlyMap<string, readonly SectionStep[]>;
  readonly #memory: DeviceMemory;
  readonly #host: HostSide;
  readonly #transfers: Transfers;
  readonly #clock = new TaskClock();
  readonly #programs = new Map<string, DriverProgram>();
  readonly #flops = new Map<string, number>();
  readonly #sources = new Map<SegmentStep, SegmentSource>();
  readonly #prepared = new Set<string>();
  /** Tasks of sequences of sections, by the sections' names. */
  readonly #tasks = new Map<string, readonly Task[]>();
  readonly #onProgress: LoadOptions["onProgress"];
  /** Ends when no run is under way. */
  #idle: Promise<void> = Promise.resolve();

  private constructor(
    plan: Plan,
    context: AnePlanContext,
    parts: {
      readonly running: Plan;
      readonly placed: ReadonlyMap<string, PlacedProgram>;
      readonly places: ReadonlyMap<string, readonly (readonly number[])[]>;
      readonly steps: ReadonlyMap<string, readonly SectionStep[]>;
      readonly memory: DeviceMemory;
      readonly host: HostSide;
      readonly transfers: Transfers;
    },
    options: LoadOptions,
  ) {
    this.plan = plan;
    this.#record = new PlanRecord(plan, options);
    this.#context = context;
    this.#running = parts.running;
    this.#placed = parts.placed;
    this.#places = parts.places;
    this.#steps = parts.steps;
    this.#memory = parts.memory;
    this.#host = parts.host;
    this.#transfers = parts.transfers;
    this.#onProgress = options.onProgress;
  }

  /** Throws `EngineError` `engine.refused` for a plan the chip refuses, with op, rule, source and remedy. */
  static async load(given: Plan, context: AnePlanContext, options: LoadOptions): Promise<AnePlan> {
    options.signal?.throwIfAborted();
    const { driver, chip, operandScaling } = context;
    const share = sharedPlan(options, (other) => other instanceof AnePlan);
    // Dispatches that are timed alone stay alone.
    const isApart = context.separateDispatches || !context.joins;
    const expectedRuns = isApart ? {} : options.expectedRuns;
    const placing = { operandScaling, expectedRuns };
    const { plan, placed, places } = placeOrRefuse(given, chip, driver.name, placing);
    const memory = new DeviceMemory(driver);
    const limits = {
      callsPerSegment: context.separateDispatches ? 1 : Math.max(1, driver.operationLimit >> 1),
      bytesPerSegment: context.bytesPerPiece,
      equalHalfCounts: driver.buffers.equalSizes,
      minimumHalfCount: Math.ceil(driver.buffers.minimumBytes / 2),
    };
    const steps = new Map<string, readonly SectionStep[]>();
    for (const section of plan.sections.keys()) {
      steps.set(section, planSection(plan, section, placed, memory, limits));
    }
    const host = await HostSide.load(plan, steps, context.host, share?.hostPlan);
    const versions = new Map<string, HostVersion>();
    for (const spec of plan.buffers.values()) {
      versions.set(spec.name, share?.versionFor(spec.name) ?? { number: 0 });
    }
    const transfers = new Transfers(host, memory, versions, context.conversions);
    const parts = { running: plan, placed, places, steps, memory, host, transfers };
    return new AnePlan(given, context, parts, options);
  }

  get hostPlan(): LoadedPlan {
    return this.#host.loaded;
  }

  versionFor(buffer: string): HostVersion | undefined {
    return this.#transfers.versionFor(buffer);
  }

  async prepare(section: string): Promise<void> {
    if (this.#prepared.has(section)) return;
    const steps = this.#stepsOf(section);
    const sources = [...sourcesOf(this.#running, this.#placed, [section])].filter(
      ([name]) => !this.#programs.has(name),
    );
    checkCompilations(
      this.#context.driver.compilations,
      sources.map(([, source]) => source),
      `section "${section}" of plan "${this.plan.name}"`,
    );
    for (const [done, [name, source]] of sources.entries()) {
      this.#onProgress?.(done, sources.length, name);
      this.#record.checkWanted();
      await this.#compile(name, source);
    }
    for (const step of steps) {
      if (step.kind === "host") await this.#host.prepare(step.dispatch);
      else this.#prepareSegment(step);
    }
    this.#onProgress?.(sources.length, sources.length, section);
    this.#prepared.add(section);
  }

  run(section: string): Promise<void> {
    return this.runSequence([section]);
  }

  runSequence(sections: readonly string[], onDone?: (index: number) => void): Promise<void> {
    const done = this.#idle.then(() => this.#clock.run(() => this.#run(sections, onDone)));
    this.#idle = done.catch(() => undefined);
    return done;
  }

  view(buffer: string): BufferView {
    this.#record.persistent(buffer);
    this.#transfers.touch(buffer);
    return this.#host.loaded.view(buffer);
  }

  memory(): MemoryReport {
    const host = this.#host.loaded.memory();
    return {
      persistentBytes: host.persistentBytes - this.#host.transientBytes,
      transientBytes: host.transientBytes + this.#host.transientBytes,
      runtimeBytes: host.runtimeBytes + this.#memory.byteLength,
    };
  }

  timings(): readonly DispatchTiming[] {
    return this.#clock.timings();
  }

  usage(): OverlapUsage {
    return this.#clock.usage();
  }

  describeExecution(section: string): SectionExecution {
    const tasks = this.#tasksOf([section]);
    const others = besides(tasks);
    const steps = tasks.map((task, index) => ({
      label: task.label,
      kind: KIND_NAMES[task.kind],
      dispatches:
        task.kind === "execute" ? task.step.calls.map(({ label }) => label) : [task.label],
      beside: (others[index] ?? []).flatMap((other) => tasks[other]?.label ?? []),
    }));
    const streams = tasks.filter(({ lane }) => lane === "engine").length;
    const beside = steps.filter((step, at) => tasks[at]?.lane === "host" && step.beside.length > 0);
    const hostTasks = tasks.length - streams;
    return {
      section,
      steps,
      reason: `${streams} streams; ${beside.length} of ${hostTasks} tasks of the host may run beside one`,
    };
  }

  /** Programs that stay on the host, and why. */
  onHost(): readonly { readonly program: string; readonly reason: string }[] {
    return programsOnHost(this.#placed);
  }

  async close(): Promise<void> {
    if (!this.#record.close()) return;
    await this.#idle;
    await this.#context.segments.release([...this.#sources.values()]);
    for (const program of this.#programs.values()) program.release();
    this.#memory.close();
    await this.#host.loaded.close();
  }

  #stepsOf(section: string): readonly SectionStep[] {
    return this.#record.section(section, this.#steps);
  }

  async #compile(name: string, source: EngineSource): Promise<void> {
    const placed = this.#placed.get(name);
    if (placed?.place !== "engine") {
      throw new EngineError("engine.plan.program", `program "${name}" does not run on the engine`);
    }
    const { driver, chip } = this.#context;
    const fn = placed.program.function;
    this.#flops.set(name, productFlops(fn));
    try {
      this.#programs.set(name, await driver.compile(source));
    } catch (error) {
      if (!(error instanceof EngineError) || error.code !== "engine.ane.compile") throw error;
      const findings = checkFunction(fn, chip, driver.name, name).filter(
        ({ severity }) => severity !== "handled",
      );
      // A program of the plan that is not its own is joined from several.
      const isJoined = this.#running.programs.has(name) && !this.plan.programs.has(name);
      const remedy = isJoined
        ? "It was joined from several: ANECDOTE_ANE_JOIN=never runs each by itself."
        : undefined;
      if (findings.length === 0 && remedy === undefined) throw error;
      throw new EngineError(
        error.code,
        findings.length === 0
          ? error.message
          : `${error.message}\nRules of ${chip.name} that it comes near:\n${formatFindings(findings)}`,
        { cause: error, ...(remedy !== undefined && { remedy }) },
      );
    }
  }

  /** Memory is allocated here: while a stream runs, nothing else is asked of the driver. */
  #prepareSegment(step: SegmentStep): void {
    const { label, uploads, calls, downloads } = step;
    for (const { to } of uploads) this.#memory.bufferOf(to);
    for (const { from } of downloads) this.#memory.bufferOf(from);
    for (const { inputs, outputs } of calls)
      for (const device of [...inputs, ...outputs]) this.#memory.bufferOf(device);
    this.#sources.set(step, {
      label,
      calls,
      memory: this.#memory,
      programOf: (program) => {
        const compiled = this.#programs.get(program);
        if (compiled !== undefined) return compiled;
        throw new EngineError("engine.plan.program", `program "${program}" is not compiled`);
      },
    });
  }

  #tasksOf(sections: readonly string[]): readonly Task[] {
    const key = sections.join("\n");
    const known = this.#tasks.get(key);
    if (known !== undefined) return known;
    const planned = planTasks(sections.map((section) => this.#stepsOf(section)));
    const tasks = this.#context.isSequential ? inSequence(planned) : planned;
    this.#tasks.set(key, tasks);
    return tasks;
  }

  async #run(sections: readonly string[], onDone?: (index: number) => void): Promise<void> {
    for (const section of sections) await this.prepare(section);
    this.#record.checkOpen();
    try {
      await runTasks(this.#tasksOf(sections), sections.length, {
        perform: async (task) => {
          this.#record.checkOpen();
          const section = sections[task.part] ?? "";
          const { label, lane } = task;
          this.#context.onTask?.({ section, label, lane, phase: "begin" });
          const places = this.#placesOf(section, task);
          await this.#clock.task(section, label, places, () => this.#perform(task));
          this.#context.onTask?.({ section, label, lane, phase: "end" });
        },
        ...(onDone !== undefined && { onPartDone: onDone }),
      });
    } catch (error) {
      this.#memory.forgetVersions();
      throw error;
    }
  }

  /** The dispatches of the given plan that a task is part of. */
  #placesOf(section: string, task: Task): readonly number[] {
    const given = this.#places.get(section) ?? [];
    const running =
      task.kind === "host" ? [task.step.place] : task.step.calls.map(({ place }) => place);
    return [...new Set(running.flatMap((place) => given[place] ?? [place]))];
  }

  async #perform(task: Task): Promise<void> {
    const clock = this.#clock;
    switch (task.kind) {
      case "execute": {
        const { calls } = task.step;
        const source = this.#sources.get(task.step);
        if (source === undefined) return;
        await this.#context.segments.run(source, (execute) => clock.work("engine", execute));
        for (const { program } of calls) clock.addFlops(this.#flops.get(program) ?? 0);
        return;
      }
      case "upload":
        await clock.work("host", () => this.#transfers.upload(task.step.uploads));
        return;
      case "download":
        await clock.work("host", () => this.#transfers.download(task.step.downloads));
        return;
      case "host":
        await clock.work("host", () => this.#host.run(task.step.dispatch));
        for (const { buffer } of task.step.writes) this.#transfers.touch(buffer);
    }
  }
}

const KIND_NAMES = {
  upload: "to engine",
  execute: "engine",
  download: "from engine",
  host: "host",
} as const;
