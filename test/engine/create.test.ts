import { describe, expect, it } from "vitest";
import { createEngine, engineOptions } from "../../src/engine/create.ts";
import { missingRuntime } from "../../src/engine/cpu/onnx-runtime/ort-binding.ts";

describe("engines by name", () => {
  it("are made, described and closed", async () => {
    for (const name of ["cpu", "reference", "auto"]) {
      const engine = await createEngine(name, { threads: 1 });
      expect(engine.description.threads).toBe(1);
      expect(engine.description.device).not.toBe("");
      expect(engine.description.runtime).toMatch(/\d+\.\d+/);
      await engine.close();
    }
  });

  it("may be closed twice, and load nothing afterwards", async () => {
    const engine = await createEngine("cpu", { threads: 1 });
    await engine.close();
    await engine.close();
    const empty = { name: "empty", programs: new Map(), buffers: new Map(), sections: new Map() };
    await expect(engine.load(empty)).rejects.toThrow(/closed/);
  });

  it("answer a misspelt name with the nearest", async () => {
    await expect(createEngine("refrence")).rejects.toThrow(/Did you mean "reference"/);
  });

  it("pass driver and numerics on to the simulator, and refuse them where they mean nothing", async () => {
    const engine = await createEngine("sim:m4", {
      ...engineOptions({ threads: 1, driver: "in-memory", numerics: undefined }),
    });
    expect(engine.description.device).toBe("M4 (simulated, in-memory)");
    await engine.close();
    await expect(createEngine("cpu", { numerics: "fp16" })).rejects.toThrow(
      /no choice of numerics/,
    );
    await expect(createEngine("reference", { driver: "e5rt" })).rejects.toThrow(/no drivers/);
  });

  it("refuse a thread count that is none", async () => {
    await expect(createEngine("cpu", { threads: 0 })).rejects.toThrow(/threads/);
  });

  it("say how to install a runtime that is missing", () => {
    const error = missingRuntime("Cannot find package 'onnxruntime-node'\nmore");
    expect(error.code).toBe("engine.cpu.runtime");
    expect(error.message).toContain(
      "ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node@1.30.0",
    );
  });
});
