import type { Chip } from "../../chip/chip.ts";
import { productFlops } from "../../chip/cost/work.ts";
import { checkFunction } from "../../chip/legality/check.ts";
import { formatFindings } from "../../chip/print.ts";
import { checkPlacedPlan, placePlan } from "../../passes/engine/place-plan.ts";
import type { PlacedProgram } from "../../passes/engine/place-plan.ts";
import { isTransient } from "../../plan/plan.ts";
import type { Plan } from "../../plan/plan.ts";
import { didYouMean } from "../../util/nearest.ts";
import type {
  BufferView,
  DispatchTiming,
  Engine,
  EngineUsage,
  LoadedPlan,
  LoadOptions,
  MemoryReport,
} from "../engine.ts";
import { EngineError } from "../errors.ts";
import { fillPort, sumOfHalves, takeResult } from "./convert.ts";
import { DeviceMemory } from "./device-memory.ts";
import type { AneDriver, DriverProgram } from "./driver.ts";
import { HostSide } from "./host-side.ts";
import { canonicalSource } from "./program-text.ts";
import { planSection } from "./section-plan.ts";
import type { Download, SectionStep, Upload } from "./section-plan.ts";
import type { LoadedSegments, SegmentSource } from "./segments.ts";

export interface AnePlanContext {
  readonly driver: AneDriver;
  readonly chip: Chip;
  /** Runs what stays on the host, and owns the memory of all buffers. */
  readonly host: Engine;
  readonly segments: LoadedSegments;
  /** A stream of its own for every dispatch, so that each is timed alone. */
  readonly separateDispatches: boolean;
}

type SegmentStep = Extract<SectionStep, { readonly kind: "segment" }>;

interface PreparedStep {
  readonly label: string;
  readonly place: "engine" | "host";
  readonly run: () => Promise<void>;
  runs: number;
  elapsedMs: number;
}

/** What is known of a persistent buffer's host copy. */
interface HostVersion {
  number: number;
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
  readonly #context: AnePlanContext;
  readonly #placed: ReadonlyMap<string, PlacedProgram>;
  readonly #steps: ReadonlyMap<string, readonly SectionStep[]>;
  readonly #memory: DeviceMemory;
  readonly #host: HostSide;
  readonly #versions: Map<string, HostVersion>;
  readonly #programs = new Map<string, DriverProgram>();
  readonly #prepared = new Map<string, readonly PreparedStep[]>();
  readonly #sources: SegmentSource[] = [];
  readonly #onProgress: LoadOptions["onProgress"];
  readonly #flops = new Map<string, number>();
  readonly #usage = { engineMs: 0, hostMs: 0, wallMs: 0, flops: 0 };
  #isClosed = false;

  private constructor(
    plan: Plan,
    context: AnePlanContext,
    parts: {
      readonly placed: ReadonlyMap<string, PlacedProgram>;
      readonly steps: ReadonlyMap<string, readonly SectionStep[]>;
      readonly memory: DeviceMemory;
      readonly host: HostSide;
      readonly versions: Map<string, HostVersion>;
    },
    onProgress: LoadOptions["onProgress"],
  ) {
    this.plan = plan;
    this.#context = context;
    this.#placed = parts.placed;
    this.#steps = parts.steps;
    this.#memory = parts.memory;
    this.#host = parts.host;
    this.#versions = parts.versions;
    this.#onProgress = onProgress;
  }

  /** Throws `EngineError` `engine.refused` for a plan the chip refuses, with op, rule, source and remedy. */
  static async load(
    plan: Plan,
    context: AnePlanContext,
    { share, onProgress }: LoadOptions,
  ): Promise<AnePlan> {
    const { driver, chip } = context;
    if (share !== undefined && !(share instanceof AnePlan)) {
      throw new EngineError(
        "engine.share",
        "buffers can only be shared with a plan of the same engine",
      );
    }
    const placed = placePlan(plan, chip, driver.name);
    const broken = checkPlacedPlan(plan, placed, chip, driver.name).filter(
      ({ severity }) => severity === "error",
    );
    if (broken.length > 0) {
      throw new EngineError(
        "engine.refused",
        `${chip.name} refuses plan "${plan.name}":\n${formatFindings(broken)}`,
      );
    }
    const memory = new DeviceMemory(driver);
    const limits = {
      callsPerSegment: context.separateDispatches ? 1 : Math.max(1, driver.operationLimit >> 1),
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
    return new AnePlan(plan, context, { placed, steps, memory, host, versions }, onProgress);
  }

  get hostPlan(): LoadedPlan {
    return this.#host.loaded;
  }

  versionFor(buffer: string): HostVersion | undefined {
    return this.#versions.get(buffer);
  }

  async prepare(section: string): Promise<void> {
    if (this.#prepared.has(section)) return;
    const steps = this.#stepsOf(section);
    const names = new Set(
      steps.flatMap((step) =>
        step.kind === "segment" ? step.calls.map(({ program }) => program) : [],
      ),
    );
    let done = 0;
    for (const name of names) {
      this.#onProgress?.(done++, names.size, name);
      await this.#compile(name);
    }
    const prepared: PreparedStep[] = [];
    for (const step of steps) {
      const common = { runs: 0, elapsedMs: 0 };
      if (step.kind === "host") {
        const { dispatch } = step;
        await this.#host.prepare(dispatch);
        const run = (): Promise<void> => this.#runHost(step);
        prepared.push({ label: dispatch.label, place: "host", run, ...common });
      } else {
        const source = this.#sourceOf(step);
        const run = (): Promise<void> => this.#runSegment(step, source);
        prepared.push({ label: source.label, place: "engine", run, ...common });
      }
    }
    this.#onProgress?.(names.size, names.size, section);
    this.#prepared.set(section, prepared);
  }

  async run(section: string): Promise<void> {
    if (!this.#prepared.has(section)) await this.prepare(section);
    this.#checkOpen();
    const runStarted = performance.now();
    const engineBefore = this.#usage.engineMs;
    try {
      for (const step of this.#prepared.get(section) ?? []) {
        const started = performance.now();
        await step.run();
        step.runs++;
        step.elapsedMs += performance.now() - started;
      }
    } catch (error) {
      this.#memory.forgetVersions();
      throw error;
    } finally {
      const elapsedMs = performance.now() - runStarted;
      this.#usage.wallMs += elapsedMs;
      this.#usage.hostMs += elapsedMs - (this.#usage.engineMs - engineBefore);
    }
  }

  view(buffer: string): BufferView {
    this.#checkOpen();
    const spec = this.plan.buffers.get(buffer);
    if (spec === undefined || isTransient(spec.role)) {
      throw new EngineError(
        "engine.buffer",
        spec === undefined
          ? `there is no buffer "${buffer}".${didYouMean(buffer, this.plan.buffers.keys())}`
          : `buffer "${buffer}" is transient (${spec.role}): it holds nothing between runs`,
      );
    }
    this.#touch(buffer);
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
    return [...this.#prepared].flatMap(([section, steps]) =>
      steps.map(({ label, runs, elapsedMs }) => ({ section, label, runs, elapsedMs })),
    );
  }

  usage(): EngineUsage {
    return { ...this.#usage };
  }

  /** Programs that stay on the host, and why. */
  onHost(): readonly { readonly program: string; readonly reason: string }[] {
    return [...this.#placed].flatMap(([program, placed]) =>
      placed.place === "host" ? [{ program, reason: placed.reason }] : [],
    );
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const source of this.#sources) this.#context.segments.release(source);
    for (const program of this.#programs.values()) program.release();
    this.#memory.close();
    await this.#host.loaded.close();
  }

  #checkOpen(): void {
    if (this.#isClosed)
      throw new EngineError("engine.closed", `plan "${this.plan.name}" is closed`);
  }

  #stepsOf(section: string): readonly SectionStep[] {
    this.#checkOpen();
    const steps = this.#steps.get(section);
    if (steps === undefined) {
      throw new EngineError(
        "engine.section",
        `plan "${this.plan.name}" has no section "${section}".${didYouMean(section, this.#steps.keys())}`,
      );
    }
    return steps;
  }

  async #compile(name: string): Promise<void> {
    if (this.#programs.has(name)) return;
    const placed = this.#placed.get(name);
    if (placed?.place !== "engine") {
      throw new EngineError("engine.plan.program", `program "${name}" does not run on the engine`);
    }
    const { driver, chip } = this.#context;
    const fn = placed.program.function;
    this.#flops.set(name, productFlops(fn));
    try {
      this.#programs.set(name, await driver.compile(canonicalSource(name, fn)));
    } catch (error) {
      if (!(error instanceof EngineError) || error.code !== "engine.ane.compile") throw error;
      const findings = checkFunction(fn, chip, driver.name, name).filter(
        ({ severity }) => severity !== "handled",
      );
      if (findings.length === 0) throw error;
      throw new EngineError(
        error.code,
        `${error.message}\nRules of ${chip.name} that it comes near:\n${formatFindings(findings)}`,
        { cause: error },
      );
    }
  }

  #sourceOf({ calls }: SegmentStep): SegmentSource {
    const first = calls[0]?.label ?? "conversions";
    const last = calls.at(-1)?.label ?? first;
    const source: SegmentSource = {
      label: calls.length > 1 ? `${first} … ${last}` : first,
      calls,
      memory: this.#memory,
      programOf: (program) => {
        const compiled = this.#programs.get(program);
        if (compiled !== undefined) return compiled;
        throw new EngineError("engine.plan.program", `program "${program}" is not compiled`);
      },
    };
    this.#sources.push(source);
    return source;
  }

  async #runHost(step: Extract<SectionStep, { readonly kind: "host" }>): Promise<void> {
    const { dispatch } = step;
    await this.#host.run(dispatch);
    for (const { buffer } of dispatch.outputs.values()) this.#touch(buffer);
  }

  async #runSegment(step: SegmentStep, source: SegmentSource): Promise<void> {
    for (const upload of step.uploads) this.#upload(upload);
    if (step.calls.length > 0) {
      const stream = this.#context.segments.acquire(source);
      const started = performance.now();
      await this.#context.driver.execute(stream, source.label);
      this.#usage.engineMs += performance.now() - started;
      for (const { program } of step.calls) this.#usage.flops += this.#flops.get(program) ?? 0;
    }
    this.#checkOpen();
    for (const download of step.downloads) this.#download(download);
  }

  #upload({ from, conversion, to, isKept }: Upload): void {
    const spec = this.#host.specOf(from.buffer);
    const version = this.#versions.get(from.buffer)?.number ?? 0;
    const isCurrent = isKept && spec.role === "weight" && this.#memory.versionOf(to) === version;
    if (isCurrent) return;
    const source = this.#host.elements(from);
    this.#memory
      .bufferOf(to)
      .access("write", (halves) => fillPort(conversion, source, spec.type.dataType, halves));
    if (isKept) this.#memory.setVersion(to, version);
  }

  #download({ from, to, how, count }: Download): void {
    const { dataType } = this.#host.specOf(to.buffer).type;
    const target = this.#host.elements(to);
    this.#touch(to.buffer);
    this.#memory.bufferOf(from).access("read", (halves) => {
      const port = halves.subarray(0, count);
      if (how === "write" || how === "add") takeResult(port, how, target, dataType);
      else target[0] = (how === "add-sum" ? (target[0] ?? 0) : 0) + sumOfHalves(port);
    });
  }

  #touch(buffer: string): void {
    const version = this.#versions.get(buffer);
    if (version !== undefined) version.number++;
  }
}
