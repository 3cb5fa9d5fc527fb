import { describe, expect, it } from "vitest";
import { EngineError } from "../../../src/engine/errors.ts";
import { createEngine } from "../../../src/engine/create.ts";
import type { DeviceGraph, DeviceRuntime } from "../../../src/engine/gpu/device-runtime.ts";
import { createGpuEngine } from "../../../src/engine/gpu/index.ts";
import { lostDevice, noDevice, refuseUnbuilt } from "../../../src/engine/gpu/refusals.ts";
import { FunctionBuilder } from "../../../src/mil/builder.ts";
import { tensorType } from "../../../src/mil/types.ts";
import type { DataType } from "../../../src/mil/types.ts";
import { PlanBuilder } from "../../../src/plan/builder.ts";
import type { Plan } from "../../../src/plan/plan.ts";

/** A device without arithmetic, on which `run` may fail. */
function deviceThat(run: DeviceGraph["run"]): DeviceRuntime {
  return {
    version: "no device",
    hasHalf: false,
    allocate: (byteLength) => ({ byteLength }),
    free: () => undefined,
    upload: () => undefined,
    download: () => undefined,
    compile: () => ({ hostNodes: [], run, release: () => undefined }),
    close: () => undefined,
  };
}

function doubling(dataType: DataType = "fp32"): Plan {
  const type = tensorType(dataType, [4]);
  const f = new FunctionBuilder("double");
  const x = f.input("x", type);
  const plan = new PlanBuilder("double");
  plan.program("double", f.finish({ y: f.op("add", { x, y: x }) }));
  plan.buffer("x", type, "input");
  plan.buffer("y", type, "output");
  plan.dispatch("main", "double", "double", { x: "x" }, { y: "y" });
  return plan.finish();
}

describe("the GPU engine refuses by name", () => {
  it.each([
    ["linux", "arm64"],
    ["darwin", "x64"],
    ["win32", "arm64"],
    ["freebsd", "x64"],
  ])("%s %s, for which the runtime has no provider, with what to do", (platform, arch) => {
    expect(() => refuseUnbuilt(platform, arch)).toThrow(
      expect.objectContaining({
        code: "engine.gpu.build",
        message: expect.stringMatching(
          new RegExp(`none for ${platform} ${arch}[^]*Linux x64[^]*--engine cpu`),
        ) as string,
      }),
    );
  });

  it.each([
    ["linux", "x64"],
    ["darwin", "arm64"],
    ["win32", "x64"],
  ])("not %s %s", (platform, arch) => {
    refuseUnbuilt(platform, arch);
  });

  it("a machine without a device, without the runtime's own places in its source", () => {
    const { code, message } = noDevice(
      "/onnxruntime_src/webgpu_context.cc:136 adapter_result.status == Success was false. Failed to get a WebGPU adapter: No supported adapters\n",
    );
    expect(code).toBe("engine.gpu.device");
    expect(message).toContain("open: Failed to get a WebGPU adapter: No supported adapters");
    expect(message).not.toContain("webgpu_context");
  });

  it("numbers of types that no kernel takes", async () => {
    const engine = createGpuEngine({ runtime: deviceThat(() => undefined) });
    await expect(engine.load(doubling("int64"))).rejects.toMatchObject({
      code: "engine.gpu.type",
      message: expect.stringMatching(/"x" is int64/) as string,
    });
    await engine.close();
  });

  it("threads, of which it has none to choose", async () => {
    await expect(createEngine("gpu", { threads: 2 })).rejects.toMatchObject({
      code: "engine.option",
    });
  });

  it("results that the device did not write", async () => {
    const engine = createGpuEngine({
      runtime: {
        ...deviceThat(() => undefined),
        // What was marked comes back as it was.
        ...markedMemory(),
      },
    });
    const loaded = await engine.load(doubling());
    await expect(loaded.run("main")).rejects.toMatchObject({
      code: "engine.gpu.unwritten",
      message: expect.stringMatching(/"y" of double/) as string,
    });
    await engine.close();
  });
});

it("a device that is lost ends a run with a code and says where to go on, and the plan can be closed", async () => {
  const engine = createGpuEngine({
    runtime: deviceThat(() => {
      throw lostDevice("WebGPU device lost (2): the driver was reset");
    }),
  });
  const loaded = await engine.load(doubling());
  await expect(loaded.run("main")).rejects.toMatchObject({
    code: "engine.gpu.lost",
    message: expect.stringMatching(/driver was reset[^]*--resume/) as string,
  });
  await loaded.close();
  await engine.close();
});

it("what a graph throws otherwise names the dispatch", async () => {
  const engine = createGpuEngine({
    runtime: deviceThat(() => {
      throw new Error("out of paint");
    }),
  });
  const loaded = await engine.load(doubling());
  const error: unknown = await loaded.run("main").catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(EngineError);
  expect(error).toMatchObject({ code: "engine.gpu.run" });
  expect(String(error)).toContain("double cannot be run on these inputs: out of paint");
  await engine.close();
});

/** Memory that keeps what is sent. */
function markedMemory(): Pick<DeviceRuntime, "upload" | "download"> {
  const held = new Map<object, Uint8Array>();
  return {
    upload: (copies) => {
      for (const { bytes, block } of copies) held.set(block, Uint8Array.from(bytes));
    },
    download: (copies) => {
      for (const { bytes, block } of copies) {
        const kept = held.get(block);
        if (kept !== undefined) bytes.set(kept.subarray(0, bytes.length));
      }
    },
  };
}
