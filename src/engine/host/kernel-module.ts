import { readFileSync } from "node:fs";
import { messageOf } from "../../util/errors.ts";
import { compiledUrl } from "../../util/source-layout.ts";
import { Instance, Memory, Module, relaxedModule } from "../../util/webassembly.ts";
import type { WasmModule } from "../../util/webassembly.ts";
import { EngineError } from "../errors.ts";
import type { KernelExports } from "./kernel-job.ts";

/**
 * How products of row programs add: "fused", a product and its sum are rounded once; "separate", each is rounded. Last bits
 * differ.
 */
export type ProductSums = "fused" | "separate";

/** The kernels as this process runs them. */
export interface HostKernels {
  readonly module: WasmModule;
  readonly sums: ProductSums;
}

const known = new Map<ProductSums, HostKernels>();

/**
 * The compiled kernels: the build with relaxed SIMD where this Node.js has it and the processor fuses, unless `wanted` says
 * otherwise. Throws `EngineError` where they are missing.
 */
export function hostKernels(wanted: ProductSums = "fused"): HostKernels {
  const found = known.get(wanted) ?? (wanted === "fused" ? fusedKernels() : undefined);
  const kernels = found ?? separateKernels();
  known.set(wanted, kernels);
  return kernels;
}

function separateKernels(): HostKernels {
  const wasm = compiledUrl("engine/host/kernels.wasm");
  try {
    return { module: new Module(readFileSync(wasm)), sums: "separate" };
  } catch (error) {
    throw new EngineError(
      "engine.cpu.kernels",
      `the engine's kernels cannot be loaded from ${wasm.pathname}: ${messageOf(error)}`,
      { remedy: "Build them: npm run build", cause: error },
    );
  }
}

/** Nothing where they are not there, cannot run, or would round twice all the same. */
function fusedKernels(): HostKernels | undefined {
  const module = relaxedModule(compiledUrl("engine/host/kernels.relaxed.wasm"));
  return module !== undefined && isFused(module) ? { module, sums: "fused" } : undefined;
}

/** (1 + 2^-12)^2 - (1 + 2^-11) is 2^-24, which a product that is rounded by itself loses. */
function isFused(module: WasmModule): boolean {
  const memory = new Memory({ initial: 1, maximum: 1, shared: true });
  const kernels = new Instance(module, { env: { memory } }).exports as unknown as KernelExports;
  const factor = 1 + 2 ** -12;
  return kernels.sumWithProduct(-(1 + 2 ** -11), factor, factor) === 2 ** -24;
}
