import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { ObjectPointer, Selector } from "../../../src/engine/ane/ffi/objc-functions.ts";
import { ObjcRuntime } from "../../../src/engine/ane/in-memory/objc.ts";
import type { Outcome } from "../../../src/engine/ane/in-memory/objc.ts";
import { canonicalSource, programFiles } from "../../../src/engine/ane/program-text.ts";
import { FunctionBuilder } from "../../../src/mil/builder.ts";
import { tensorType } from "../../../src/mil/types.ts";
import { openDouble } from "./double-library.ts";

const folder = mkdtempSync(join(tmpdir(), "anecdote-objc-double-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const EVALUATE = "evaluateWithModel:options:request:qos:error:";
const DIRECT = "doEvaluateDirectWithModel:options:request:qos:error:";

/** What a driver that breaks the protocol of clients would see: a double that lets everything pass proves nothing. */
describe("the Objective-C double notices", () => {
  const double = openDouble("objc");
  let objc: ObjcRuntime;
  beforeAll(() => {
    objc = new ObjcRuntime(double.path);
  });
  const breach = (): string => double.violations().first ?? "";
  let pool: unknown;
  beforeEach(() => {
    double.violations();
    pool = objc.call("objc_autoreleasePoolPush");
  });
  afterEach(() => void objc.call("objc_autoreleasePoolPop", pool));

  const f = new FunctionBuilder("f");
  const x = f.input("x", tensorType("fp16", [1, 40]));
  const source = canonicalSource("f", f.finish({ y: f.op("add", { x, y: x }) }));
  writeFileSync(join(folder, "model.mil"), programFiles(source, "@model_path/weights.bin").text);

  const none = (): ObjectPointer => objc.dictionary([]);
  const milOptions = (): ObjectPointer =>
    objc.dictionary([
      ["kANEFModelType", objc.string("kANEFModelMIL")],
      ["kANEFNetPlistFilenameKey", objc.string("model.mil")],
    ]);
  const model = (): ObjectPointer => {
    const url = objc.ask("NSURL", "fileURLWithPath:isDirectory:", objc.string(folder), true);
    return objc.ask("_ANEModel", "modelAtURL:key:", url, objc.string("key"));
  };
  const client = (): ObjectPointer => objc.ask("_ANEClient", "sharedConnection");
  const tell = (selector: Selector, ...operands: readonly unknown[]): Outcome =>
    objc.attempt(client(), selector, ...operands);
  const loaded = (): ObjectPointer => {
    const made = model();
    for (const selector of [
      "compileModel:options:qos:error:",
      "loadModel:options:qos:error:",
    ] as const)
      expect(tell(selector, made, milOptions(), 21).ok).toBe(true);
    return made;
  };
  const unload = (made: ObjectPointer): Outcome =>
    tell("unloadModel:options:qos:error:", made, none(), 21);
  const request = (): ObjectPointer => {
    const number = objc.ask("NSNumber", "numberWithInt:", 0);
    return objc.ask(
      "_ANERequest",
      "requestWithInputs:inputIndices:outputs:outputIndices:weightsBuffer:perfStats:procedureIndex:",
      ...[objc.array([]), objc.array([]), objc.array([]), objc.array([]), null, null, number],
    );
  };

  test("nothing in the right order", () => {
    expect(unload(loaded()).ok).toBe(true);
    expect(breach()).toBe("");
  });

  test("options that do not name MIL, as the system does", () => {
    expect(tell("compileModel:options:qos:error:", model(), none(), 21)).toEqual({
      ok: false,
      reason: "there is no model.espresso.net",
    });
    expect(breach()).toBe("");
  });

  test("operands in another order, and of other kinds", () => {
    const made = loaded();
    tell(EVALUATE, request(), none(), made, 21);
    expect(breach()).toMatch(/a _ANERequest is given where a _ANEModel is wanted/);
    tell(EVALUATE, made, request(), none(), 21);
    expect(breach()).toMatch(/a _ANERequest is given where a NSDictionary is wanted/);
    tell(EVALUATE, made, none(), null, 21);
    expect(breach()).toMatch(/nil is given where a _ANERequest is wanted/);
    tell(EVALUATE, made, none(), request(), 33);
    expect(breach()).toMatch(/quality of service 33/);
    unload(made);
  });

  test("a model that is not loaded, loaded before it is compiled, unloaded twice", () => {
    const made = model();
    tell(EVALUATE, made, none(), request(), 21);
    expect(breach()).toMatch(/the model is not loaded/);
    tell("loadModel:options:qos:error:", made, milOptions(), 21);
    expect(breach()).toMatch(/loadModel.*out of order/);
    unload(made);
    unload(made);
    expect(breach()).toMatch(/the model is not loaded/);
  });

  test("a model that is let go of while it is loaded", () => {
    loaded();
    objc.call("objc_autoreleasePoolPop", pool);
    expect(breach()).toMatch(/let go of while it is loaded/);
    pool = objc.call("objc_autoreleasePoolPush");
  });

  test("a client that is not initialised, not restricted, or gone", () => {
    const made = loaded();
    tell(DIRECT, made, none(), request(), 21);
    expect(breach()).toMatch(/made without restricted access/);
    const raw = objc.ask("_ANEClient", "alloc");
    objc.attempt(raw, DIRECT, made, none(), request(), 21);
    expect(breach()).toMatch(/the client is not initialised/);
    objc.ask(raw, "initWithRestrictedAccessAllowed:", true);
    objc.ask(raw, "initWithRestrictedAccessAllowed:", true);
    expect(breach()).toMatch(/initialised already/);
    objc.release(raw);
    objc.attempt(raw, DIRECT, made, none(), request(), 21);
    expect(breach()).toMatch(/sent to a _ANEClient that is gone/);
    unload(made);
  });

  test("objects that are made outside any autorelease pool of their thread", () => {
    objc.call("objc_autoreleasePoolPop", pool);
    objc.dictionary([]);
    expect(breach()).toMatch(/autoreleased without a pool/);
    pool = objc.call("objc_autoreleasePoolPush");
  });
});
