import { byteLengthOf } from "../../mil/types.ts";
import type { BufferSpec, Plan } from "../../plan/plan.ts";
import { isTransient } from "../../plan/plan.ts";
import { functionToOnnx } from "../../onnx/lower-function.ts";
import { didYouMean } from "../../util/nearest.ts";
import { viewClassOf } from "../engine.ts";
import type {
  BufferView,
  DispatchTiming,
  LoadedPlan,
  LoadOptions,
  MemoryReport,
} from "../engine.ts";
import { EngineError } from "../errors.ts";
import { prepareGraph } from "./graph-step.ts";
import type { PreparedGraph, RuntimePlace } from "./graph-step.ts";
import { elementBytes, layOutPersistent } from "./layout.ts";
import { SharedMemory } from "./memory.ts";
import { packBlocks } from "./packing.ts";
import type { Block, Packing } from "./packing.ts";
import type { Region } from "./regions.ts";
import type { OrtModule } from "./runtime.ts";
import { planSection, regionsOf } from "./section.ts";
import type { SectionStep } from "./section.ts";
import type { SessionCache } from "./sessions.ts";

/** Largest block of plain memory for transient buffers. */
const ARENA_CAPACITY = 2 ** 32 - 65536;

/** A persistent buffer's memory; `share` hands it from plan to plan. */
interface Slot {
  readonly spec: BufferSpec;
  readonly memory: SharedMemory;
  readonly byteOffset: number;
}

type PreparedStep = {
  readonly label: string;
  runs: number;
  elapsedMs: number;
  readonly run: () => Promise<void>;
};

export interface CpuPlanContext {
  readonly runtime: OrtModule;
  readonly sessions: SessionCache;
  readonly useKoffi: boolean;
}

export class CpuPlan implements LoadedPlan {
  readonly plan: Plan;
  readonly #context: CpuPlanContext;
  readonly #slots = new Map<string, Slot>();
  readonly #steps = new Map<string, readonly SectionStep[]>();
  readonly #packings = new Map<string, Packing>();
  readonly #prepared = new Map<string, readonly PreparedStep[]>();
  readonly #arenas: ArrayBuffer[] = [];
  readonly #acquired: string[] = [];
  readonly #compiled = new Map<
    string,
    Promise<{ key: string; session: PreparedGraph["session"] }>
  >();
  readonly #onProgress: LoadOptions["onProgress"];
  #isClosed = false;

  constructor(context: CpuPlanContext, plan: Plan, options: LoadOptions) {
    this.plan = plan;
    this.#context = context;
    this.#onProgress = options.onProgress;
    this.#placePersistent(options.share);
    this.#placeTransient();
  }

  #placePersistent(share: LoadedPlan | undefined): void {
    if (share !== undefined && !(share instanceof CpuPlan)) {
      throw new EngineError(
        "engine.share",
        "buffers can only be shared with a plan of the same engine",
      );
    }
    for (const spec of this.plan.buffers.values()) {
      const shared = share?.slotFor(spec);
      if (shared !== undefined) this.#slots.set(spec.name, shared);
    }
    const layout = layOutPersistent(this.plan, (spec) => !this.#slots.has(spec.name), []);
    const memories = layout.memories.map(
      (byteLength) => new SharedMemory(byteLength, this.#context.useKoffi),
    );
    for (const [name, { memory, byteOffset }] of layout.places) {
      const spec = this.plan.buffers.get(name);
      const held = memories[memory];
      if (spec !== undefined && held !== undefined)
        this.#slots.set(name, { spec, memory: held, byteOffset });
    }
  }

  /** The memory of a persistent buffer of the same name and type. */
  slotFor(spec: BufferSpec): Slot | undefined {
    const slot = this.#slots.get(spec.name);
    if (slot === undefined || isTransient(spec.role)) return undefined;
    const same =
      slot.spec.type.dataType === spec.type.dataType &&
      slot.spec.type.shape.join() === spec.type.shape.join();
    return same ? slot : undefined;
  }

  #placeTransient(): void {
    for (const section of this.plan.sections.keys()) {
      const steps = planSection(this.plan, section, false, () => false);
      const lifetimes = new Map<string, { first: number; last: number }>();
      steps.forEach((step, index) => {
        for (const { buffer } of regionsOf(step)) {
          const lifetime = lifetimes.get(buffer) ?? { first: index, last: index };
          lifetime.last = index;
          lifetimes.set(buffer, lifetime);
        }
      });
      const blocks: Block[] = [];
      for (const [name, { first, last }] of lifetimes) {
        const spec = this.plan.buffers.get(name);
        if (spec !== undefined && isTransient(spec.role))
          blocks.push({ name, byteLength: byteLengthOf(spec.type), first, last });
      }
      const packing = packBlocks(blocks, ARENA_CAPACITY);
      this.#steps.set(section, steps);
      this.#packings.set(section, packing);
      packing.arenas.forEach((byteLength, index) => {
        if ((this.#arenas[index]?.byteLength ?? -1) < byteLength)
          this.#arenas[index] = new ArrayBuffer(byteLength);
      });
    }
  }

  async prepare(section: string): Promise<void> {
    if (this.#prepared.has(section)) return;
    const steps = this.#stepsOf(section);
    const prepared: PreparedStep[] = [];
    for (const [index, step] of steps.entries()) {
      this.#onProgress?.(index, steps.length, step.label);
      prepared.push(await this.#prepareStep(section, step));
    }
    this.#onProgress?.(steps.length, steps.length, section);
    this.#prepared.set(section, prepared);
  }

  async run(section: string): Promise<void> {
    if (!this.#prepared.has(section)) await this.prepare(section);
    for (const step of this.#prepared.get(section) ?? []) {
      const started = performance.now();
      await step.run();
      step.runs++;
      step.elapsedMs += performance.now() - started;
    }
  }

  view(buffer: string): BufferView {
    const slot = this.#slots.get(buffer);
    if (slot === undefined) {
      const spec = this.plan.buffers.get(buffer);
      throw new EngineError(
        "engine.buffer",
        spec === undefined
          ? `there is no buffer "${buffer}".${didYouMean(buffer, this.plan.buffers.keys())}`
          : `buffer "${buffer}" is transient (${spec.role}): it shares memory and holds nothing between runs`,
      );
    }
    this.#checkOpen();
    const arrayClass = viewClassOf(slot.spec);
    const byteLength = byteLengthOf(slot.spec.type);
    return new arrayClass(
      slot.memory.shared as unknown as ArrayBuffer,
      slot.byteOffset,
      byteLength / arrayClass.BYTES_PER_ELEMENT,
    );
  }

  memory(): MemoryReport {
    let persistentBytes = 0;
    for (const { spec } of this.#slots.values()) persistentBytes += byteLengthOf(spec.type);
    const transientBytes = this.#arenas.reduce((total, arena) => total + arena.byteLength, 0);
    return { persistentBytes, transientBytes, runtimeBytes: 0 };
  }

  timings(): readonly DispatchTiming[] {
    return [...this.#prepared].flatMap(([section, steps]) =>
      steps.map(({ label, runs, elapsedMs }) => ({ section, label, runs, elapsedMs })),
    );
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#prepared.clear();
    for (const key of this.#acquired) await this.#context.sessions.release(key);
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

  async #prepareStep(section: string, step: SectionStep): Promise<PreparedStep> {
    if (step.kind === "kernel") throw new EngineError("engine.kernel", "no kernels yet");
    let compiled = this.#compiled.get(step.pattern);
    if (compiled === undefined) {
      compiled = this.#compile(step);
      this.#compiled.set(step.pattern, compiled);
    }
    const { session } = await compiled;
    const graph = prepareGraph(this.#context.runtime, session, step, (region) =>
      this.#locate(section, region),
    );
    const run = async (): Promise<void> => {
      for (const copy of graph.before) copy();
      await graph.session.run(graph.feeds, graph.fetches);
      for (const copy of graph.after) copy();
    };
    return { label: step.label, runs: 0, elapsedMs: 0, run };
  }

  async #compile(step: Extract<SectionStep, { readonly kind: "graph" }>) {
    const { bytes } = functionToOnnx(step.joined.fn);
    const acquired = await this.#context.sessions.acquire(bytes, `"${step.label}"`);
    this.#acquired.push(acquired.key);
    return acquired;
  }

  #locate(section: string, region: Region): RuntimePlace {
    const spec = this.plan.buffers.get(region.buffer);
    if (spec === undefined) {
      throw new EngineError("engine.buffer", `there is no buffer "${region.buffer}"`);
    }
    const skipped = region.offset * elementBytes(spec);
    const slot = this.#slots.get(region.buffer);
    if (slot !== undefined) {
      const byteOffset = slot.byteOffset + skipped;
      const { memory } = slot;
      return {
        buffer: memory.runtimeBuffer,
        byteOffset,
        ...(memory.isCopied && {
          toRuntime: (byteLength: number) => {
            memory.toRuntime(byteOffset, byteLength);
          },
          fromRuntime: (byteLength: number) => {
            memory.fromRuntime(byteOffset, byteLength);
          },
        }),
      };
    }
    const place = this.#packings.get(section)?.places.get(region.buffer);
    const arena = place === undefined ? undefined : this.#arenas[place.arena];
    if (place === undefined || arena === undefined) {
      throw new EngineError("engine.buffer", `buffer "${region.buffer}" has no memory`);
    }
    return { buffer: arena, byteOffset: place.byteOffset + skipped };
  }
}
