import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { createAneEngine } from "../../../src/engine/ane/index.ts";
import type { AneEngineOptions } from "../../../src/engine/ane/index.ts";
import { CLASS_NAMES, MESSAGES } from "../../../src/engine/ane/ffi/objc-functions.ts";
import type { Attempt } from "../../../src/engine/ane/in-memory/attempt.ts";
import { EngineThread } from "../../../src/engine/ane/in-memory/engine-thread.ts";
import { SharedFolder } from "../../../src/engine/ane/in-memory/shared-folder.ts";
import type { InMemorySettings } from "../../../src/engine/ane/in-memory/settings.ts";
import type { LoadedPlan } from "../../../src/engine/engine.ts";
import { createSimEngine } from "../../../src/engine/sim/index.ts";
import { GPT2_JSON } from "../../model/configs.ts";
import { buildDouble, openDouble } from "./double-library.ts";
import { initialise, tinyPlan, train, trainerOf } from "./training.ts";

const temporary = mkdtempSync(join(tmpdir(), "anecdote-objc-"));
afterAll(() => rmSync(temporary, { recursive: true, force: true }));

describe("the in-memory driver", () => {
  const double = openDouble("objc");

  let lastRuntime = "";
  async function withPlan<Result>(
    { inMemory, ...options }: AneEngineOptions & { readonly inMemory?: InMemorySettings },
    act: (loaded: LoadedPlan) => Promise<Result>,
  ): Promise<Result> {
    double.forget();
    const engine = await createAneEngine({
      driver: "in-memory",
      library: double.path ?? "",
      chip: "m4",
      threads: 1,
      timeoutMs: 60_000,
      ...options,
      settings: { "in-memory": { compileBudget: 100_000, ...inMemory } },
    });
    lastRuntime = engine.description.runtime;
    try {
      const training = tinyPlan(GPT2_JSON);
      const loaded = await engine.load(training.plan);
      initialise(training, loaded);
      loaded.view("loss_scale")[0] = 1 / 32;
      return await act(loaded);
    } finally {
      await engine.close();
    }
  }
  const clean = (): void => {
    expect(double.violations()).toEqual({ count: 0, first: "" });
    expect(double.count("live handles")).toBe(0);
  };

  test("tells what the compiler said of a program it refuses", async () => {
    double.order("refuse", "softmax");
    await expect(withPlan({}, (loaded) => loaded.prepare("evaluate"))).rejects.toMatchObject({
      code: "engine.ane.compile",
      message: expect.stringMatching(/"block_.*no backend for op softmax/s) as unknown,
    });
    double.order("refuse", "");
    clean();
  });

  test("leaves a plan that runs again after an evaluation failed", async () => {
    const [before, after] = await withPlan({}, async (loaded) => {
      await loaded.run("forward_backward");
      const before = loaded.view("loss_sum")[0];
      double.order("fail", "evaluateWithQoS:options:request:error:");
      await expect(loaded.run("forward_backward")).rejects.toMatchObject({
        code: "engine.ane.execute",
        message: expect.stringMatching(/block.0: evaluation failed: told to fail/) as unknown,
      });
      await loaded.run("forward_backward");
      return [before, loaded.view("loss_sum")[0]];
    });
    expect(after).toBe(before);
    clean();
  });

  test("tries to load a program a second time", async () => {
    double.order("fail", "loadWithQoS:options:error:");
    await withPlan({}, (loaded) => loaded.run("evaluate"));
    clean();
  });

  test("stops before the compiler's budget is spent, and says how to go on", async () => {
    await expect(
      withPlan({ inMemory: { compileBudget: 1 } }, (loaded) => loaded.prepare("forward_backward")),
    ).rejects.toMatchObject({
      code: "engine.ane.budget",
      message: expect.stringMatching(
        /"forward_backward" .* needs [2-9] programs .* a process may compile 1, and this one 0 more.*\n.*e5rt/s,
      ) as unknown,
    });
    clean();
  });

  /** Compilation and evaluation, as the driver's options name them. */
  const ROUTES = [
    ["model", "model"],
    ["model", "client"],
    ["model", "direct"],
    ["client", "client"],
    ["client", "direct"],
  ] as const;

  test.each(ROUTES)(
    "compiled by %s and run by %s, trains with the simulator's losses bit for bit",
    async (compilation, evaluation) => {
      const sim = createSimEngine("m4", { threads: 1, driver: "in-memory" });
      const wanted = await train(sim, 2, { json: GPT2_JSON });
      double.forget();
      const engine = await createAneEngine({
        driver: "in-memory",
        library: double.path ?? "",
        chip: "m4",
        host: sim,
        settings: { "in-memory": { compilation, evaluation, compileBudget: 100_000 } },
      });
      expect(engine.description.runtime).toContain(
        `compiled by ${compilation}, run by ${evaluation}`,
      );
      expect(await train(engine, 2, { json: GPT2_JSON })).toEqual(wanted);
      await engine.close();
      await sim.close();
      clean();
    },
  );

  const SHARED = [
    ...[
      "IOSurfaceCreate",
      "IOSurfaceLock",
      "stringWithUTF8String:",
      "numberWithInt:",
      "dictionary",
    ],
    ...["numberWithLongLong:", "arrayWithObjects:count:", "dictionaryWithObjects:forKeys:count:"],
    ...["objectWithIOSurface:", "respondsToSelector:"],
    "requestWithInputs:inputIndices:outputs:outputIndices:weightsBuffer:perfStats:procedureIndex:",
  ];
  const failures = [
    ...[
      ...SHARED,
      ...["dataWithBytes:length:", "modelWithMILText:weights:optionsPlist:"],
      ...["inMemoryModelWithDescriptor:", "compileWithQoS:options:error:"],
      "evaluateWithQoS:options:request:error:",
    ].map((name) => [name, "model", "model"] as const),
    ["sharedConnection", "model", "client"],
    ["evaluateWithModel:options:request:qos:error:", "model", "client"],
    ["alloc", "model", "direct"],
    ["initWithRestrictedAccessAllowed:", "model", "direct"],
    ["doEvaluateDirectWithModel:options:request:qos:error:", "model", "direct"],
    ...[
      ...["stringWithUTF8String:", "dictionaryWithObjects:forKeys:count:"],
      ...["sharedConnection", "fileURLWithPath:isDirectory:", "modelAtURL:key:"],
      ...["compileModel:options:qos:error:", "evaluateWithModel:options:request:qos:error:"],
    ].map((name) => [name, "client", "client"] as const),
  ] as const;

  test("every message whose failure shows is made to fail", () => {
    const harmless = /^(load|unload|UTF8String|description|hexString|instancesRespond)/;
    const wanted = Object.keys(MESSAGES).filter((name) => !harmless.test(name));
    expect(new Set(failures.map(([name]) => name))).toEqual(
      new Set(["IOSurfaceCreate", "IOSurfaceLock", ...wanted]),
    );
  });

  test.each(failures)(
    "a failure of %s (compiled by %s, run by %s) is an error of ours, and nothing leaks",
    async (name, compilation, evaluation) => {
      double.order("fail", name);
      await expect(
        withPlan({ inMemory: { compilation, evaluation } }, (loaded) => loaded.run("evaluate")),
      ).rejects.toMatchObject({ code: expect.stringMatching(/^engine\.ane\./) as unknown });
      double.order("fail", "");
      clean();
    },
  );

  test.each([
    ["loadModel:options:qos:error:", "client"],
    ["unloadModel:options:qos:error:", "client"],
    ["unloadWithQoS:error:", "model"],
  ] as const)("a failure of %s does no harm", async (name, compilation) => {
    double.order("fail", name);
    await withPlan({ inMemory: { compilation } }, (loaded) => loaded.run("evaluate"));
    double.order("fail", "");
    clean();
  });

  async function runtimeWithout(name: string, inMemory: InMemorySettings): Promise<string> {
    double.order("missing", name);
    try {
      return await withPlan({ inMemory }, async (loaded) => {
        await loaded.run("evaluate");
        return "";
      }).then(
        () => lastRuntime,
        (error: { code?: string; message: string }) => `${error.code}: ${error.message}`,
      );
    } finally {
      double.order("missing", "");
    }
  }

  test.each([
    ["_ANEInMemoryModel", {}, /compiled by client, run by client/],
    ["compileWithQoS:options:error:", {}, /compiled by client, run by client/],
    ["evaluateWithQoS:options:request:error:", {}, /compiled by model, run by client/],
    ["_ANEClient", {}, /compiled by model, run by model/],
    ["_ANEModel", {}, /compiled by model, run by model/],
    [
      "evaluateWithModel:options:request:qos:error:",
      { compilation: "client" },
      /compiled by client, run by direct/,
    ],
  ] as const)("without %s the next way is taken: %o", async (name, inMemory, wanted) => {
    expect(await runtimeWithout(name, inMemory)).toMatch(wanted);
    clean();
  });

  test.each([
    ["_ANEInMemoryModel", { compilation: "model" }, "lacks _ANEInMemoryModel"],
    ["_ANEClient", { evaluation: "client" }, "lacks _ANEClient"],
    ["_ANEClient", { evaluation: "direct" }, "lacks _ANEClient"],
    ["_ANEModel", { compilation: "client" }, "lacks _ANEModel"],
    ["alloc", { evaluation: "direct" }, "lacks +[_ANEClient alloc]"],
    [
      "doEvaluateDirectWithModel:options:request:qos:error:",
      { evaluation: "direct" },
      "lacks -[_ANEClient doEvaluateDirectWithModel:options:request:qos:error:]",
    ],
    ["_ANERequest", {}, "lacks _ANERequest"],
    ["objectWithIOSurface:", {}, "lacks +[_ANEIOSurfaceObject objectWithIOSurface:]"],
  ] as const)(
    "without %s a way that is asked for is refused: %o",
    async (name, inMemory, wanted) => {
      const told = await runtimeWithout(name, inMemory);
      expect(told).toMatch(/^engine\.ane\.symbols: /);
      expect(told).toContain(wanted);
      clean();
    },
  );

  test("ways that do not go together, and ways that do not exist, are refused", async () => {
    const idle = (): Promise<void> => Promise.resolve();
    const together = { compilation: "client", evaluation: "model" } as const;
    await expect(withPlan({ inMemory: together }, idle)).rejects.toMatchObject({
      code: "engine.ane.route",
    });
    process.env["ANECDOTE_ANE_EVALUATION"] = "dirct";
    try {
      await expect(withPlan({}, idle)).rejects.toMatchObject({
        code: "engine.ane.route",
        message: expect.stringMatching(/Did you mean "direct"/) as unknown,
      });
      process.env["ANECDOTE_ANE_EVALUATION"] = "direct";
      await withPlan({}, (loaded) => loaded.run("evaluate"));
      expect(lastRuntime).toContain("run by direct");
    } finally {
      delete process.env["ANECDOTE_ANE_EVALUATION"];
    }
    clean();
  });

  test("surfaces are as large as their tensors where a profile says that this is enough", async () => {
    const bytesOf = (inMemory: InMemorySettings): Promise<number> =>
      withPlan({ inMemory }, async (loaded) => {
        await loaded.run("evaluate");
        return loaded.memory().runtimeBytes;
      });
    const equal = await bytesOf({});
    double.order("surfaces", "any");
    const own = await bytesOf({ equalSizes: false, minimumBytes: 64 });
    double.order("surfaces", "");
    expect(own).toBeLessThan(equal / 4);
    clean();
    // The rule is real: the double refuses such surfaces.
    await expect(bytesOf({ equalSizes: false, minimumBytes: 64 })).rejects.toMatchObject({
      code: "engine.ane.execute",
      message: expect.stringMatching(/status=0x1d/) as unknown,
    });
    double.violations();
  });

  test("garbage from the engine stops the step before any weight changes", async () => {
    const training = tinyPlan(GPT2_JSON);
    await withPlan({ inMemory: { evaluation: "client" } }, async (loaded) => {
      const trainer = trainerOf(loaded, 1);
      await trainer.update(() => undefined);
      const weights = () =>
        training.model.parameters.weights.map(({ name }) => loaded.view(name).slice());
      double.order("garbage", "execute:3");
      // It strikes the gradients of the third step, which are computed beside the second update.
      await trainer.update(() => undefined);
      const before = weights();
      await expect(trainer.update(() => undefined)).rejects.toMatchObject({
        code: "train.not_finite",
      });
      expect(weights()).toEqual(before);
    });
    clean();
  });

  test("a thread that fails is an error of every later call, and is no reason to leak", async () => {
    const thread = new EngineThread(double.path, 30_000);
    const odd = { receiver: 1n, selector: "frobnicate", operands: [] } as unknown as Attempt;
    const failure = { code: "engine.ane.thread", message: expect.stringContaining("frobnicate") };
    await expect(thread.run("a test", [odd])).rejects.toMatchObject(failure);
    await expect(thread.run("a test", [])).rejects.toMatchObject(failure);
    let isReleased = false;
    thread.afterwards(() => {
      isReleased = true;
    });
    await thread.close();
    expect(isReleased).toBe(true);
  });

  test("removes the folders of its programs", async () => {
    const before = process.env["TMPDIR"];
    process.env["TMPDIR"] = temporary;
    try {
      await withPlan({}, async (loaded) => {
        await loaded.run("evaluate");
        expect(readdirSync(temporary).length).toBeGreaterThan(1);
      });
    } finally {
      if (before === undefined) delete process.env["TMPDIR"];
      else process.env["TMPDIR"] = before;
    }
    expect(readdirSync(temporary)).toEqual([]);
    clean();
  });

  test("a folder that another process uses stays until the last one leaves", () => {
    const path = join(temporary, "shared");
    const [first, second] = [new SharedFolder(path), new SharedFolder(path)];
    // A process that was killed long ago.
    writeFileSync(`${path}.used-by-${2 ** 22 + 1}-0-0`, "");
    first.leave();
    expect(existsSync(path)).toBe(true);
    second.leave();
    expect(readdirSync(temporary)).toEqual([]);
  });

  test("names the classes that a library lacks, and the functions", async () => {
    double.order("fail", `objc_getClass:${CLASS_NAMES.length}`);
    await expect(withPlan({}, () => Promise.resolve())).rejects.toMatchObject({
      code: "engine.ane.symbols",
      message: expect.stringContaining("_ANEIOSurfaceObject") as unknown,
    });
    await expect(
      withPlan({ library: buildDouble("e5rt") }, () => Promise.resolve()),
    ).rejects.toMatchObject({
      code: "engine.ane.symbols",
      message: expect.stringContaining("objc_getClass") as unknown,
    });
  });
});
