import { availableParallelism, cpus } from "node:os";
import type { Plan } from "../../plan/plan.ts";
import type { Engine, EngineDescription, LoadedPlan, LoadOptions } from "../engine.ts";
import { CpuPlan } from "./cpu-plan.ts";
import { KernelPool } from "./kernel-pool.ts";
import { loadOnnxRuntime } from "./runtime.ts";
import { SessionCache } from "./sessions.ts";

export interface CpuEngineOptions {
  /** Threads of the runtime and of the engine's own kernels. Default: what the system offers. */
  readonly threads?: number;
  /** `false` makes the runtime work on copies, as it must where koffi is missing. */
  readonly useKoffi?: boolean;
}

/**
 * The CPU engine: ONNX Runtime for graphs, WebAssembly for optimizer and reductions.
 * `run` blocks the calling thread while the runtime computes; call it from a worker to keep the main one free.
 * Throws `EngineError` (`engine.cpu.runtime`) where onnxruntime-node is not installed.
 */
export async function createCpuEngine(options: CpuEngineOptions = {}): Promise<Engine> {
  const runtime = await loadOnnxRuntime();
  const threads = options.threads ?? availableParallelism();
  const sessions = new SessionCache(runtime, {
    executionProviders: ["cpu"],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: "sequential",
    // Patterns keep one block for each shape beside the arena: 250 MB more on a 6-layer model, no faster.
    enableMemPattern: false,
    graphOptimizationLevel: "all",
    logSeverityLevel: 3,
    // Without this the pools of sessions that just ran keep the cores busy: 0.1 to 0.4 of the speed.
    extra: { session: { force_spinning_stop: "1" } },
  });
  const description: EngineDescription = Object.freeze({
    name: "cpu",
    device: cpus()[0]?.model.trim() ?? process.arch,
    runtime: `onnxruntime-node ${runtime.env.versions.node ?? runtime.env.versions.common}`,
    threads,
  });
  let pool: KernelPool | undefined;
  const kernels = (): KernelPool => {
    pool ??= new KernelPool(threads);
    return pool;
  };
  const open = new Set<LoadedPlan>();
  return {
    description,
    load: (plan: Plan, loadOptions: LoadOptions = {}) => {
      const loaded = new CpuPlan(
        { runtime, sessions, kernels, useKoffi: options.useKoffi ?? true },
        plan,
        loadOptions,
      );
      open.add(loaded);
      return Promise.resolve(loaded);
    },
    close: async () => {
      for (const loaded of open) await loaded.close();
      open.clear();
      await sessions.close();
      await pool?.close();
    },
  };
}
