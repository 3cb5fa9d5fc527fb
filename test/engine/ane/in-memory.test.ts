import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { createAneEngine } from "../../../src/engine/ane/index.ts";
import type { AneEngineOptions } from "../../../src/engine/ane/index.ts";
import { CLASS_NAMES, MESSAGES } from "../../../src/engine/ane/ffi/objc-functions.ts";
import type { LoadedPlan } from "../../../src/engine/engine.ts";
import { GPT2_JSON } from "../../model/configs.ts";
import { buildDouble, NO_COMPILER, openDouble } from "./double-library.ts";
import { initialise, tinyPlan } from "./training.ts";

const temporary = mkdtempSync(join(tmpdir(), "anecdote-objc-"));
afterAll(() => rmSync(temporary, { recursive: true, force: true }));

describe.skipIf(NO_COMPILER !== undefined)(`the in-memory driver (${NO_COMPILER ?? "cc"})`, () => {
  const double = NO_COMPILER === undefined ? openDouble("objc") : undefined;

  async function withPlan<Result>(
    options: AneEngineOptions,
    act: (loaded: LoadedPlan) => Promise<Result>,
  ): Promise<Result> {
    double?.forget();
    const engine = await createAneEngine({
      driver: "in-memory",
      library: double?.path ?? "",
      chip: "m4",
      threads: 1,
      ...options,
    });
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
    expect(double?.violations()).toEqual({ count: 0, first: "" });
    expect(double?.count("live handles")).toBe(0);
  };

  test("tells what the compiler said of a program it refuses", async () => {
    double?.order("refuse", "softmax");
    await expect(withPlan({}, (loaded) => loaded.prepare("evaluate"))).rejects.toMatchObject({
      code: "engine.ane.compile",
      message: expect.stringMatching(/"block_.*no backend for op softmax/s) as unknown,
    });
    double?.order("refuse", "");
    clean();
  });

  test("leaves a plan that runs again after an evaluation failed", async () => {
    const [before, after] = await withPlan({}, async (loaded) => {
      await loaded.run("forward_backward");
      const before = loaded.view("loss_sum")[0];
      double?.order("fail", "evaluateWithQoS:options:request:error:");
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
    double?.order("fail", "loadWithQoS:options:error:");
    await withPlan({}, (loaded) => loaded.run("evaluate"));
    clean();
  });

  test("stops before the compiler's budget is spent, and says how to go on", async () => {
    await expect(
      withPlan({ compileBudget: 1 }, (loaded) => loaded.prepare("forward_backward")),
    ).rejects.toMatchObject({
      code: "engine.ane.budget",
      message: expect.stringMatching(/--resume/) as unknown,
    });
    clean();
  });

  // Messages whose failure shows: each answers nil, or NO with an error.
  const failing = Object.keys(MESSAGES).filter(
    (name) => !/^(load|unload|UTF8String|description|hexString)/.test(name),
  );
  test.each(["IOSurfaceCreate", "IOSurfaceLock", ...failing])(
    "a failure of %s is an error of ours, and nothing leaks",
    async (name) => {
      double?.order("fail", name);
      await expect(
        withPlan({ compileBudget: 1000 }, (loaded) => loaded.run("evaluate")),
      ).rejects.toMatchObject({ code: expect.stringMatching(/^engine\.ane\./) as unknown });
      double?.order("fail", "");
      clean();
    },
  );

  test("removes the folders of its programs", async () => {
    const before = process.env["TMPDIR"];
    process.env["TMPDIR"] = temporary;
    try {
      await withPlan({ compileBudget: 1000 }, async (loaded) => {
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

  test("names the classes that a library lacks, and the functions", async () => {
    double?.order("fail", `objc_getClass:${CLASS_NAMES.length}`);
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
