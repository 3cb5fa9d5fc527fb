import type { Dispatch, BufferSpec, Plan, PlanProgram } from "../../plan/plan.ts";
import { isTransient } from "../../plan/plan.ts";
import { didYouMean } from "../../util/nearest.ts";
import type { DispatchTiming, LoadedPlan, LoadOptions } from "../engine.ts";
import { EngineError } from "../errors.ts";

/** The times of a plan's dispatches, summed over runs, in the order in which they were first asked for. */
export class DispatchTimes {
  readonly #entries = new Map<string, DispatchTime>();

  /** `places`: indices in the section of the plan as it was loaded. */
  of(section: string, label: string, places: readonly number[]): DispatchTime {
    const key = `${section}\n${label}\n${places.join()}`;
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    const made = new DispatchTime(section, label, places);
    this.#entries.set(key, made);
    return made;
  }

  list(): readonly DispatchTiming[] {
    return [...this.#entries.values()].map(({ section, label, places, runs, elapsedMs }) => ({
      section,
      label,
      places,
      runs,
      elapsedMs,
    }));
  }
}

export class DispatchTime implements DispatchTiming {
  readonly section: string;
  readonly label: string;
  readonly places: readonly number[];
  runs = 0;
  elapsedMs = 0;

  constructor(section: string, label: string, places: readonly number[]) {
    this.section = section;
    this.label = label;
    this.places = places;
  }

  add(elapsedMs: number): void {
    this.runs++;
    this.elapsedMs += elapsedMs;
  }
}

/** What every engine keeps of a plan it has loaded: whether it is open, its parts by name, and its times. */
export class PlanRecord {
  readonly plan: Plan;
  readonly times = new DispatchTimes();
  readonly #signal: AbortSignal | undefined;
  #isClosed = false;

  /**
   * Throws the reason of a signal that is aborted, and `EngineError` for weights that stay in a file where the engine does
   * not read them (`readsFiles`).
   */
  constructor(
    plan: Plan,
    { signal, readsFiles = false }: Pick<LoadOptions, "signal"> & { readsFiles?: boolean } = {},
  ) {
    signal?.throwIfAborted();
    const inFile = [...plan.buffers.values()].find(({ isInFile }) => isInFile === true);
    if (inFile !== undefined && !readsFiles) {
      throw new EngineError(
        "engine.stream",
        `"${inFile.name}" of plan "${plan.name}" stays in its file, which this engine does not read`,
        { remedy: "Take --engine cpu, or --base-weights memory." },
      );
    }
    this.plan = plan;
    this.#signal = signal;
  }

  /** Throws the reason why nobody wants what is still to be prepared. */
  checkWanted(): void {
    this.#signal?.throwIfAborted();
  }

  /** Throws `EngineError` `engine.closed` for a plan that is closed. */
  checkOpen(): void {
    if (this.#isClosed)
      throw new EngineError("engine.closed", `plan "${this.plan.name}" is closed`);
  }

  /** Whether this is the first time that the plan is closed. */
  close(): boolean {
    const isFirst = !this.#isClosed;
    this.#isClosed = true;
    return isFirst;
  }

  /** What an engine made of a section. Throws `EngineError` for unknown sections and a closed plan. */
  section<Part>(name: string, parts: ReadonlyMap<string, Part>): Part {
    this.checkOpen();
    const part = parts.get(name);
    if (part === undefined) {
      throw new EngineError(
        "engine.section",
        `plan "${this.plan.name}" has no section "${name}".${didYouMean(name, parts.keys())}`,
      );
    }
    return part;
  }

  dispatches(section: string): readonly Dispatch[] {
    return this.section(section, this.plan.sections);
  }

  program(dispatch: Pick<Dispatch, "label" | "program">): PlanProgram {
    const program = this.plan.programs.get(dispatch.program);
    if (program === undefined) {
      throw new EngineError(
        "engine.plan.program",
        `${dispatch.label}: the plan has no program "${dispatch.program}"`,
      );
    }
    return program;
  }

  buffer(name: string): BufferSpec {
    const spec = this.plan.buffers.get(name);
    if (spec === undefined) {
      throw new EngineError(
        "engine.buffer",
        `there is no buffer "${name}".${didYouMean(name, this.plan.buffers.keys())}`,
      );
    }
    return spec;
  }

  /** A buffer that the host may look at. Throws `EngineError` for unknown and transient ones. */
  persistent(name: string): BufferSpec {
    this.checkOpen();
    const spec = this.buffer(name);
    if (!isTransient(spec.role)) return spec;
    throw new EngineError(
      "engine.buffer",
      `buffer "${name}" is transient (${spec.role}): it shares memory and holds nothing between runs`,
    );
  }
}

/** The plan whose buffers are shared, which must be this engine's. */
export function sharedPlan<Own extends LoadedPlan>(
  { share }: LoadOptions,
  isOwn: (plan: LoadedPlan) => plan is Own,
): Own | undefined {
  if (share === undefined) return undefined;
  if (isOwn(share)) return share;
  throw new EngineError(
    "engine.share",
    "buffers can only be shared with a plan of the same engine",
  );
}

/** Whether a buffer may stand for one of another plan. */
export function isSameBuffer(a: BufferSpec, b: BufferSpec): boolean {
  return (
    !isTransient(a.role) &&
    !isTransient(b.role) &&
    a.type.dataType === b.type.dataType &&
    a.type.shape.join() === b.type.shape.join()
  );
}

/** Lets the event loop have its turn: signals and messages must not wait for a whole section. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
