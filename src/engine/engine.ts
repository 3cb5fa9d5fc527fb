import type { DataType } from "../mil/types.ts";
import type { ExpectedRuns } from "../lower/join-dispatches.ts";
import type { BufferSpec, Plan } from "../plan/plan.ts";

/** A buffer's elements as the host sees them: fp16 as 16-bit patterns, bool as bytes. */
export type BufferView =
  | Float64Array
  | Float32Array
  | Uint16Array
  | Int16Array
  | Int32Array
  | Uint32Array
  | Int8Array
  | Uint8Array;

/** What an engine is: name, device, runtime. */
export interface EngineDescription {
  /** "reference", "cpu", "sim:m4", "ane". */
  readonly name: string;
  /** Names the processor or chip, the runtime and its version: a checkpoint records it. */
  readonly device: string;
  readonly runtime: string;
  readonly threads: number;
  /** Which library multiplies large matrices instead of the runtime, or why none does; missing where none was asked for. */
  readonly blas?: string;
  /**
   * How products of few rows, as in generation, add where the engine runs them in kernels of its own: "fused", product and
   * sum are rounded once, or "separate". Texts may differ between the two in a last bit; training does not.
   */
  readonly rowSums?: "fused" | "separate";
  /** Id of the chip whose Neural Engine it is; one that is simulated has it in its name. */
  readonly chip?: string;
  /** What values between ops are. "fp16": training scales its loss. Default "fp32". */
  readonly arithmetic?: "fp32" | "fp16";
  /** Where its settings come from, for a Neural Engine: a saved machine profile, or defaults. */
  readonly profile?: string;
}

/** How a plan is loaded. */
export interface LoadOptions {
  /** Persistent buffers of the same name and type are those of this plan, not new ones. */
  readonly share?: LoadedPlan;
  /**
   * The numbers of weights do not change any more once the plan is loaded: an engine may keep them in a form that suits it
   * as well. What it computes with is undefined where they change all the same.
   */
  readonly frozenWeights?: boolean;
  /**
   * Fills all numbers of a weight that stays in a file (`BufferSpec.isInFile`), by the buffer's name; a plan that shares
   * another's buffers reads as that one does. Engines that cannot read weights so refuse such plans.
   */
  readonly readWeight?: (buffer: string, target: Float32Array) => void;
  /** Told about slow work such as compiling programs. */
  readonly onProgress?: (done: number, total: number, what: string) => void;
  /**
   * How often sections are expected to run, by name: what runs often is worth being compiled into larger programs.
   * Results do not depend on it. Default: nothing is known, nothing is joined.
   */
  readonly expectedRuns?: ExpectedRuns | undefined;
  /**
   * Once it is aborted, `load` and `prepare` reject with its reason before the next program is compiled. A plan that is
   * loaded by then is to be closed as any other.
   */
  readonly signal?: AbortSignal;
}

/** Time spent in one dispatch, in a part of one, or in several that the engine joined, summed over runs. */
export interface DispatchTiming {
  readonly section: string;
  readonly label: string;
  /** Which dispatches: their indices in the section of the plan as it was loaded, ascending. */
  readonly places: readonly number[];
  readonly runs: number;
  readonly elapsedMs: number;
}

/** What running has taken since the plan was loaded. Engine and host may work at the same time: their sum exceeds the wall's. */
export interface EngineUsage {
  /** Milliseconds the Neural Engine was busy; predicted where it is simulated. */
  readonly engineMs: number;
  /** Milliseconds of work on the host: conversions, and dispatches that stay there. */
  readonly hostMs: number;
  /** Milliseconds between the begin and the end of runs. */
  readonly wallMs: number;
  /** 2 a multiply-accumulate of every program that ran on the engine. */
  readonly flops: number;
}

/** How an engine runs a part of a section. */
export interface ExecutionStep {
  /** Label of the dispatch, or of the first and last that run as one. */
  readonly label: string;
  /** "graph", "kernel", ... */
  readonly kind: string;
  /** What runs it and how much, as "ONNX Runtime, 37 ops". */
  readonly madeOf?: string;
  /** Labels of the dispatches in it. */
  readonly dispatches: readonly string[];
  /** Labels of the other processor's steps that may run at the same time. */
  readonly beside?: readonly string[];
}

/** How an engine runs a section: its steps in order. */
export interface SectionExecution {
  readonly section: string;
  readonly steps: readonly ExecutionStep[];
  /** Why the steps are as they are, as a sentence. */
  readonly reason: string;
}

/** Bytes that a loaded plan holds. */
export interface MemoryReport {
  /** Bytes of buffers with memory of their own, by role. */
  readonly persistentBytes: number;
  /** Bytes that transient buffers share. */
  readonly transientBytes: number;
  /** Bytes the runtime holds for intermediates inside programs, as far as it tells; an estimate otherwise. */
  readonly runtimeBytes: number;
}

/**
 * Compiles programs, owns buffers, runs dispatches. Guarantees that every engine gives:
 * - `run` executes the section's dispatches as if one after the other, in order;
 * - persistent buffers start as zeros and change only by a dispatch or through a view;
 * - between runs a view shows what the last run wrote, and what is written into it the next run reads; where buffers
 *   stand on a device, of weights, gradients, moments and states that holds for a view that was asked for since the last
 *   run (inputs and states that no program writes may be written, and outputs read, through any view);
 * - running a section twice over equal contents gives equal bits.
 */
export interface LoadedPlan {
  readonly plan: Plan;
  /** Compiles what a section needs, so that its first run is as fast as the others. */
  prepare(section: string): Promise<void>;
  /**
   * `onDispatches` hears how many of the section's dispatches are done, in order, as far as the engine tells before
   * the end: what the next ones do not write can then be read through views.
   */
  run(section: string, onDispatches?: (count: number) => void): Promise<void>;
  /**
   * Runs sections as if one after the other; the engine works on several at once where one does not wait for
   * another, and results are the same to the bit. `onDone` hears the number of a section in the list as soon as it
   * and all before it are done; those stay done when the promise rejects afterwards.
   */
  runSequence?(sections: readonly string[], onDone?: (index: number) => void): Promise<void>;
  /**
   * A persistent buffer's elements. Stays valid until `close`; backed by shared memory where the engine can,
   * so that another thread may read it. Throws `EngineError` for unknown and transient buffers.
   */
  view(buffer: string): BufferView;
  /** Bytes that the loaded plan holds. */
  memory(): MemoryReport;
  /** Times of the last run of each section's dispatches, milliseconds. */
  timings(): readonly DispatchTiming[];
  /** For engines with a Neural Engine, real or simulated. */
  usage?(): EngineUsage;
  /** What a section's dispatches become here, for engines that join or replace them. */
  describeExecution?(section: string): SectionExecution;
  /** Lets go of buffers and programs; running one afterwards throws. */
  close(): Promise<void>;
}

/** Sections of a plan that are going to run. */
export interface SectionsOfPlan {
  readonly plan: Plan;
  readonly sections: readonly string[];
}

/** What sections need of a process that may compile only so many programs. */
export interface CompilationCost {
  /** Different programs. */
  readonly programs: number;
  /** Of them, those that are not compiled yet. */
  readonly missing: number;
  /** What this process may still compile. */
  readonly left: number;
  /** What one process may compile in all. */
  readonly budget: number;
}

/** Rows of a section by the model's weights. */
export interface FewRowCounts {
  /** All are fp32. */
  readonly whole: number;
  /** Some are stored in fewer bits, which a section of many rows unpacks first. */
  readonly stored: number;
}

/** What compiles programs and runs plans: a processor, or something that stands for one. */
export interface Engine {
  readonly description: EngineDescription;
  /**
   * Up to so many new rows of a sequence are better given to a section of their own than to one of many rows. Missing: such
   * a section would only be one more to compile.
   */
  readonly fewRowCounts?: FewRowCounts;
  /**
   * So many rows of a long prompt are better run at once than in the pieces of a shorter one. Missing: such a section would
   * only be one more to compile.
   */
  readonly longRowCount?: number;
  /** Nothing where programs are compiled without a limit. Throws `EngineError` for a program that is refused. */
  compilationCost?(needs: readonly SectionsOfPlan[]): CompilationCost | undefined;
  /** Throws `EngineError` for a program the engine refuses, naming program, op and rule. */
  load(plan: Plan, options?: LoadOptions): Promise<LoadedPlan>;
  /** Lets go of threads, devices and every plan that is still loaded. */
  close(): Promise<void>;
}

/** The array class of a buffer's view. */
export function viewClassOf(spec: BufferSpec) {
  return viewClassFor(spec.type.dataType);
}

/** The array class of elements of a type as the host sees them. */
export function viewClassFor(dataType: DataType) {
  switch (dataType) {
    case "fp64":
    // Exact up to 2^53. Only the reference engine has such buffers.
    case "int64":
    case "uint64":
      return Float64Array;
    case "fp32":
      return Float32Array;
    case "fp16":
    case "bf16":
    case "uint16":
      return Uint16Array;
    case "int16":
      return Int16Array;
    case "int32":
      return Int32Array;
    case "uint32":
      return Uint32Array;
    case "int8":
      return Int8Array;
    default:
      return Uint8Array;
  }
}
