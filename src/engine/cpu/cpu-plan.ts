import type { Plan } from "../../plan/plan.ts";
import { functionToOnnx } from "../../onnx/lower-function.ts";
import { didYouMean } from "../../util/nearest.ts";
import type {
  BufferView,
  DispatchTiming,
  LoadedPlan,
  LoadOptions,
  MemoryReport,
} from "../engine.ts";
import { EngineError } from "../errors.ts";
import { BufferStore } from "./buffer-store.ts";
import type { StoreRequests } from "./buffer-store.ts";
import { prepareGraph } from "./graph-step.ts";
import type { PreparedGraph } from "./graph-step.ts";
import { buffersTogether, kernelSuits, prepareKernel, scratchBytes } from "./host-kernels.ts";
import type { KernelPool } from "./kernel-pool.ts";
import { bindDispatch } from "./regions.ts";
import type { BoundDispatch } from "./regions.ts";
import type { OrtModule } from "./runtime.ts";
import { planSection, regionsOf } from "./section.ts";
import type { SectionStep } from "./section.ts";
import type { SessionCache } from "./sessions.ts";

export interface CpuPlanContext {
  readonly runtime: OrtModule;
  /** Made when a plan first has a use for it. */
  readonly kernels: () => KernelPool;
  readonly sessions: SessionCache;
  readonly useKoffi: boolean;
}

interface PreparedStep {
  readonly label: string;
  readonly run: () => Promise<void> | void;
  runs: number;
  elapsedMs: number;
}

type GraphStep = Extract<SectionStep, { readonly kind: "graph" }>;

/** A plan on the CPU engine: buffers, compiled graphs and kernels bound to them. */
export class CpuPlan implements LoadedPlan {
  readonly plan: Plan;
  readonly #context: CpuPlanContext;
  readonly #store: BufferStore;
  readonly #steps = new Map<string, readonly SectionStep[]>();
  readonly #prepared = new Map<string, readonly PreparedStep[]>();
  readonly #acquired: string[] = [];
  readonly #compiled = new Map<string, Promise<PreparedGraph["session"]>>();
  readonly #onProgress: LoadOptions["onProgress"];
  #isClosed = false;

  constructor(context: CpuPlanContext, plan: Plan, { share, onProgress }: LoadOptions) {
    if (share !== undefined && !(share instanceof CpuPlan)) {
      throw new EngineError(
        "engine.share",
        "buffers can only be shared with a plan of the same engine",
      );
    }
    this.plan = plan;
    this.#context = context;
    this.#onProgress = onProgress;
    const store = new BufferStore(plan, requestsOf(plan), context.useKoffi, share?.store);
    this.#store = store;
    const places = {
      place: store.kernelPlace.bind(store),
      scratch: store.scratch.bind(store),
    };
    for (const section of plan.sections.keys()) {
      const steps = planSection(plan, section, false, (dispatch) =>
        kernelSuits(plan, dispatch, places),
      );
      this.#steps.set(section, steps);
      store.packTransient(section, steps.map(regionsOf));
    }
  }

  get store(): BufferStore {
    return this.#store;
  }

  async prepare(section: string): Promise<void> {
    if (this.#prepared.has(section)) return;
    const steps = this.#stepsOf(section);
    const prepared: PreparedStep[] = [];
    for (const [index, step] of steps.entries()) {
      this.#onProgress?.(index, steps.length, step.label);
      const run =
        step.kind === "graph"
          ? await this.#prepareGraph(section, step)
          : this.#prepareKernel(section, step.dispatch);
      prepared.push({ label: step.label, run, runs: 0, elapsedMs: 0 });
    }
    this.#onProgress?.(steps.length, steps.length, section);
    this.#prepared.set(section, prepared);
  }

  async run(section: string): Promise<void> {
    if (!this.#prepared.has(section)) await this.prepare(section);
    this.#checkOpen();
    for (const step of this.#prepared.get(section) ?? []) {
      const started = performance.now();
      await step.run();
      step.runs++;
      step.elapsedMs += performance.now() - started;
    }
  }

  view(buffer: string): BufferView {
    this.#checkOpen();
    return this.#store.view(buffer);
  }

  memory(): MemoryReport {
    const { persistentBytes, transientBytes } = this.#store;
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

  #prepareKernel(section: string, dispatch: BoundDispatch): () => void {
    const store = this.#store;
    return prepareKernel(this.plan, dispatch, {
      pool: this.#context.kernels(),
      place: store.kernelPlace.bind(store),
      scratch: store.scratch.bind(store),
      view: (region) => store.viewRegion(section, region),
    });
  }

  async #prepareGraph(section: string, step: GraphStep): Promise<() => Promise<void>> {
    const known = this.#compiled.get(step.pattern);
    const compiled = known ?? this.#compile(step);
    if (known === undefined) this.#compiled.set(step.pattern, compiled);
    const graph = prepareGraph(this.#context.runtime, await compiled, step, (region) =>
      this.#store.runtimePlace(section, region),
    );
    return async () => {
      for (const copy of graph.before) copy();
      await graph.session.run(graph.feeds, graph.fetches);
      for (const copy of graph.after) copy();
    };
  }

  async #compile(step: GraphStep): Promise<PreparedGraph["session"]> {
    const { bytes } = functionToOnnx(step.joined.fn);
    const { key, session } = await this.#context.sessions.acquire(bytes, `"${step.label}"`);
    this.#acquired.push(key);
    return session;
  }
}

/** What the kernels of a plan ask of its buffers' memory. */
function requestsOf(plan: Plan): StoreRequests {
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
  return { together, scratch };
}
