import { availableParallelism, cpus, loadavg } from "node:os";
import type { Plan } from "../../plan/plan.ts";
import type { Engine, EngineDescription, FewRowCounts, LoadOptions } from "../engine.ts";
import { EngineError } from "../errors.ts";
import { openBlas } from "./blas/blas.ts";
import { OpenPlans } from "../host/open-plans.ts";
import { FROZEN_NUMBERS } from "./constants.ts";
import { CpuPlan } from "./cpu-plan.ts";
import type { JoinRule } from "./cpu-plan.ts";
import { hostKernels } from "../host/kernel-module.ts";
import type { ProductSums } from "../host/kernel-module.ts";
import { KernelPool } from "../host/kernel-pool.ts";
import { openBindingRuntime } from "./onnx-runtime/ort-binding.ts";
import { openRuntime } from "./onnx-runtime/late-runtime.ts";
import { OnnxCompiler } from "./onnx-runtime/compiler.ts";
import type { FunctionCompiler } from "./compiler.ts";

export interface CpuEngineOptions {
  /** Threads of the runtime and of the engine's own kernels. Default: what the system offers. */
  readonly threads?: number;
  /** `false` goes through onnxruntime-node's JavaScript binding, as where koffi is missing. */
  readonly useNative?: boolean;
  /** Whether neighbouring dispatches become one graph. Default "auto": in small sections. */
  readonly join?: JoinRule;
  /** Numbers that the matrices of a section have at least to be constants where weights are frozen. Default 1e6. */
  readonly constantsFrom?: number;
  /** How products of row programs add. Default "fused", where Node.js and the processor have it. */
  readonly sums?: ProductSums;
  /** Asked before ONNX Runtime for every function; closed with the engine. */
  readonly compilers?: readonly FunctionCompiler[];
  /**
   * Who multiplies large matrices of fp32: "auto", the system's BLAS where it is known to be quicker; "off", ONNX
   * Runtime; or the path of a library. Bits differ by library. Default "off".
   */
  readonly blas?: string;
  /** Writes ONNX Runtime's own profile of every session to files with this prefix. */
  readonly profilePrefix?: string;
}

/** Where row programs took less processor time than a section of 32 rows (bench/decode-prompt.mjs). */
const FEW_ROW_COUNTS: FewRowCounts = { whole: 8, stored: 16 };

/** Why a library that is there is not used. */
const noOperators = "none: ONNX Runtime's C interface, which takes it, cannot be had";

/**
 * Rows of a long prompt in one run: twice the rate of 32 (85 to 92 % of what 256 rows give), and others wait for it half as
 * long as for those.
 */
const LONG_ROW_COUNT = 128;

/** Load of the machine per core above which threads that wait busily do more harm than good. */
const BUSY_LOAD = 1.25;

/**
 * The CPU engine: ONNX Runtime for graphs, WebAssembly for optimizer and reductions.
 * `run` blocks the calling thread while the runtime computes; call it from a worker to keep the main one free.
 * Throws `EngineError` (`engine.cpu.runtime`) where onnxruntime-node is not installed.
 */
export async function createCpuEngine(options: CpuEngineOptions = {}): Promise<Engine> {
  const threads = options.threads ?? availableParallelism();
  const blas = openBlas(options.blas ?? "off", threads);
  const runtimeOptions = {
    threads,
    ...(typeof blas === "object" && { blas }),
    ...(options.profilePrefix !== undefined && { profilePrefix: options.profilePrefix }),
  };
  const runtime =
    options.useNative === false
      ? await openBindingRuntime(runtimeOptions)
      : await openRuntime(runtimeOptions);
  const compilers = [...(options.compilers ?? []), new OnnxCompiler(runtime)];
  const description: EngineDescription = Object.freeze({
    name: "cpu",
    device: cpus()[0]?.model.trim() ?? process.arch,
    get runtime() {
      return compilers.map((compiler) => compiler.version).join(", ");
    },
    threads,
    get rowSums() {
      return hostKernels(options.sums).sums;
    },
    ...(options.blas !== undefined && {
      blas: typeof blas === "string" ? `none: ${blas}` : (runtime.foreignProducts ?? noOperators),
    }),
  });
  let pool: KernelPool | undefined;
  const kernels = (): KernelPool => {
    pool ??= new KernelPool(threads, options.sums);
    return pool;
  };
  // Threads that wait busily for a core another program has stretch a step to many times its length.
  const isBusy = (loadavg()[0] ?? 0) > BUSY_LOAD * cpus().length;
  const open = new OpenPlans();
  let isClosed = false;
  return {
    description,
    fewRowCounts: FEW_ROW_COUNTS,
    longRowCount: LONG_ROW_COUNT,
    load: async (plan: Plan, loadOptions: LoadOptions = {}) => {
      if (isClosed) throw new EngineError("engine.closed", "the CPU engine is closed");
      const mayBeConstants = loadOptions.frozenWeights === true && (await keepsRowBits(compilers));
      const loaded = new CpuPlan(
        {
          ...{ compilers, kernels, threads, spins: !isBusy, join: options.join ?? "auto" },
          constantsFrom: mayBeConstants
            ? (options.constantsFrom ?? FROZEN_NUMBERS.from)
            : undefined,
        },
        plan,
        loadOptions,
      );
      open.add(loaded);
      return loaded;
    },
    close: async () => {
      if (isClosed) return;
      isClosed = true;
      await open.close();
      for (const compiler of compilers) await compiler.close();
      await pool?.close();
    },
  };
}

/** Whether constants leave every row's bits as they are alone, whichever of these compiles a function. */
async function keepsRowBits(compilers: readonly FunctionCompiler[]): Promise<boolean> {
  for (const compiler of compilers) if ((await compiler.keepsRowBits?.()) !== true) return false;
  return true;
}
