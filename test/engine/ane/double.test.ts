import { createRequire } from "node:module";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { E5RT_FUNCTIONS } from "../../../src/engine/ane/ffi/e5rt-functions.ts";
import type { E5rtName } from "../../../src/engine/ane/ffi/e5rt-functions.ts";
import { canonicalSource, programFiles } from "../../../src/engine/ane/program-text.ts";
import { FunctionBuilder } from "../../../src/mil/builder.ts";
import { tensorType } from "../../../src/mil/types.ts";
import { openDouble } from "./double-library.ts";

interface Koffi {
  load(path: string): { func(prototype: string): (...operands: readonly unknown[]) => unknown };
  view(pointer: unknown, byteLength: number): ArrayBuffer;
}

const folder = mkdtempSync(join(tmpdir(), "anecdote-double-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What a driver that breaks the protocol would see: a double that lets everything pass proves nothing. */
describe("the e5rt double notices", () => {
  const double = openDouble("e5rt");
  const koffi = createRequire(import.meta.url)("koffi") as Koffi;
  const library = double === undefined ? undefined : koffi.load(double.path);

  const functions = new Map<string, (...operands: readonly unknown[]) => unknown>();
  function call(name: E5rtName, ...operands: readonly unknown[]): number {
    const known = functions.get(name) ?? library?.func(E5RT_FUNCTIONS[name].c);
    if (known === undefined) throw new Error(name);
    functions.set(name, known);
    return Number(known(...operands));
  }
  function make(name: E5rtName, ...operands: readonly unknown[]): unknown {
    const out: unknown[] = [null];
    expect(call(name, out, ...operands)).toBe(0);
    return out[0];
  }
  function breach(): string {
    const { count, first } = double.violations() ?? { count: 0, first: "" };
    expect(count).toBeGreaterThan(0);
    return first;
  }

  const f = new FunctionBuilder("f");
  const x = f.input("x", tensorType("fp16", [1, 40]));
  const source = canonicalSource("f", f.finish({ y: f.op("add", { x, y: x }) }));
  const model = join(folder, "model.mil");
  writeFileSync(model, programFiles(source, "@model_path/weights.bin").text);

  function compiled(mask = 0x4n): { options: unknown; status: number; library: unknown } {
    const config = make("e5rt_e5_compiler_config_options_create");
    call("e5rt_e5_compiler_config_options_set_cache_bundle_location", config, folder);
    const compiler = make("e5rt_e5_compiler_create_with_config", config);
    const options = make("e5rt_e5_compiler_options_create");
    call("e5rt_e5_compiler_options_set_compute_device_types_mask", options, mask);
    call("e5rt_e5_compiler_options_set_segmenter", options, "graph");
    const out: unknown[] = [null];
    const status = call("e5rt_e5_compiler_compile", compiler, model, options, out);
    return { options, status, library: out[0] };
  }
  function operation(): { fn: unknown; options: unknown; operation: unknown; library: unknown } {
    const { library: compiledLibrary } = compiled();
    const out: unknown[] = [null];
    call("e5rt_program_library_retain_program_function", compiledLibrary, "main", out);
    const fn = out[0];
    const options = make(
      "e5rt_precompiled_compute_op_create_options_create_with_program_function",
      fn,
    );
    call("e5rt_precompiled_compute_op_create_options_set_operation_name", options, "main");
    call(
      "e5rt_precompiled_compute_op_create_options_set_allocate_intermediate_buffers",
      options,
      1,
    );
    return {
      fn,
      options,
      operation: make(
        "e5rt_execution_stream_operation_create_precompiled_compute_operation_with_options",
        options,
      ),
      library: compiledLibrary,
    };
  }

  beforeEach(() => void double.violations());

  test("a device mask that would let programs fall back", () => {
    expect(compiled(0x7n).status).not.toBe(0);
    expect(breach()).toMatch(/mask is 0x7/);
  });

  test("a handle of another kind, use after release and double release", () => {
    const config = make("e5rt_e5_compiler_config_options_create");
    expect(call("e5rt_e5_compiler_options_set_segmenter", config, "graph")).not.toBe(0);
    expect(breach()).toMatch(/a config is given where a options is wanted/);
    expect(call("e5rt_e5_compiler_config_options_release", [config])).toBe(0);
    call("e5rt_e5_compiler_config_options_set_cache_bundle_location", config, folder);
    expect(breach()).toMatch(/released already/);
    call("e5rt_e5_compiler_config_options_release", [config]);
    expect(breach()).toMatch(/released already/);
  });

  test("operands in another order", () => {
    const { operation: made } = operation();
    call("e5rt_execution_stream_encode_operation", made, make("e5rt_execution_stream_create"));
    expect(breach()).toMatch(/a operation is given where a stream is wanted/);
  });

  test("a buffer of another size, an unknown port, an unbound port, an early release", () => {
    const { operation: made, fn, library: compiledLibrary } = operation();
    const out: unknown[] = [null];
    call("e5rt_execution_stream_operation_retain_input_port", made, "x", out);
    expect(breach()).toMatch(/no port "x"/);
    call("e5rt_execution_stream_operation_retain_input_port", made, "input_0000", out);
    const small = make("e5rt_buffer_object_alloc", 64n, 0);
    call("e5rt_io_port_bind_buffer_object", out[0], small);
    expect(breach()).toMatch(/holds 80 bytes, the buffer 64/);
    const stream = make("e5rt_execution_stream_create");
    call("e5rt_execution_stream_encode_operation", stream, made);
    expect(breach()).toMatch(/input input_0000 is not bound/);
    call("e5rt_program_function_release", [fn]);
    expect(breach()).toMatch(/still in use/);
    call("e5rt_program_library_release", [compiledLibrary]);
    expect(breach()).toMatch(/still in use/);
  });

  test("a host that writes into a stream's buffer, or reads what it makes, while it executes", async () => {
    const { operation: made } = operation();
    const bound = (side: "input" | "output"): Uint16Array => {
      const port: unknown[] = [null];
      call(`e5rt_execution_stream_operation_retain_${side}_port`, made, `${side}_0000`, port);
      const buffer = make("e5rt_buffer_object_alloc", 128n, 0);
      call("e5rt_io_port_bind_buffer_object", port[0], buffer);
      const address: unknown[] = [null];
      call("e5rt_buffer_object_get_data_ptr", buffer, address);
      return new Uint16Array(koffi.view(address[0], 128));
    };
    const [input, output] = [bound("input"), bound("output")];
    const stream = make("e5rt_execution_stream_create");
    call("e5rt_execution_stream_encode_operation", stream, made);
    double.order("arithmetic", "off");
    double.order("delay", "execute:100");
    const execute = koffi
      .load(double.path ?? "")
      .func(E5RT_FUNCTIONS.e5rt_execution_stream_execute_sync.c) as unknown as {
      async: (stream: unknown, done: (error: unknown) => void) => void;
    };
    const run = async (act: () => void): Promise<void> => {
      const done = new Promise((resolve) => execute.async(stream, resolve));
      await new Promise((resolve) => {
        setTimeout(resolve, 50);
      });
      act();
      await done;
    };
    await run(() => undefined);
    expect(double.violations().count).toBe(0);
    await run(() => void input.fill(1));
    expect(breach()).toMatch(/host wrote into a buffer/);
    double.order("arithmetic", "on");
    output.fill(5);
    let seen = 0;
    await run(() => {
      seen = output[0] ?? 0;
    });
    expect(seen).toBe(0x7e7e);
    double.order("delay", "");
    double.violations();
  });

  test("more than 128 loaded programs", () => {
    double.forget();
    const { options } = operation();
    const create =
      "e5rt_execution_stream_operation_create_precompiled_compute_operation_with_options";
    let loaded = 1;
    while (call(create, [null], options) === 0) loaded++;
    expect(loaded).toBe(128);
    double.forget();
  });

  test.each([
    ["another dialect", (text: string) => text.replace("program(1.3)", "program(1.0)"), 1],
    ["no build information", (text: string) => text.replace("buildInfo", "info"), 1],
    ["an operation without a name", (text: string) => text.replace(/\[name = [^\]]*\];/, ";"), 1],
    ["a port that is fp32", (text: string) => text.replace("tensor<fp16", "tensor<fp32"), 1],
    ["nothing wrong", (text: string) => text, 0],
  ])("a program with %s", (_, change, expected) => {
    const text = programFiles(source, "@model_path/weights.bin").text;
    writeFileSync(model, change(text));
    expect(Math.min(1, compiled().status)).toBe(expected);
    writeFileSync(model, text);
    double.violations();
  });
});
