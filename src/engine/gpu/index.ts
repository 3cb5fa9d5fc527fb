import type { Plan } from "../../plan/plan.ts";
import type { Engine, EngineDescription, LoadOptions } from "../engine.ts";
import { EngineError } from "../errors.ts";
import { OpenPlans } from "../host/open-plans.ts";
import type { DeviceRuntime } from "./device-runtime.ts";
import { describeDevices } from "./devices.ts";
import { GpuPlan } from "./gpu-plan.ts";
import { Programs } from "./programs.ts";
import type { HostRule } from "./programs.ts";
import { refuseUnbuilt } from "./refusals.ts";
import { openWebGpu } from "./webgpu-runtime.ts";

export { findGpuDevices, isSoftware } from "./devices.ts";

export interface GpuEngineOptions {
  /** Whether ops that the device has no kernel for run on the processor, counted and named. Default "allow". */
  readonly hostOps?: HostRule;
  /** Another way to a device, for tests. */
  readonly runtime?: DeviceRuntime;
}

/**
 * The GPU engine: the same plans through ONNX Runtime's WebGPU provider, with their buffers on the device.
 * `run` blocks the calling thread while it waits for the device; call it from a worker to keep the main one free.
 * Throws `EngineError`: `engine.gpu.build` where the runtime has no provider for this system, `engine.gpu.device` where
 * there is no device, `engine.cpu.runtime` where onnxruntime-node is not installed.
 */
export function createGpuEngine(options: GpuEngineOptions = {}): Engine {
  if (options.runtime === undefined) refuseUnbuilt(process.platform, process.arch);
  const runtime = options.runtime ?? openWebGpu();
  const programs = new Programs(runtime, options.hostOps ?? "allow");
  const description: EngineDescription = Object.freeze({
    name: "gpu",
    device: describeDevices(),
    runtime: runtime.version,
    threads: 1,
  });
  const open = new OpenPlans();
  let isClosed = false;
  return {
    description,
    load: async (plan: Plan, loadOptions: LoadOptions = {}) => {
      if (isClosed) throw new EngineError("engine.closed", "the GPU engine is closed");
      const loaded = new GpuPlan({ runtime, programs }, plan, loadOptions);
      open.add(loaded);
      return loaded;
    },
    close: async () => {
      if (isClosed) return;
      isClosed = true;
      await open.close();
      programs.close();
      runtime.close();
    },
  };
}
