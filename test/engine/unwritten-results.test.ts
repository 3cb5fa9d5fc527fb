import { describe, expect, it } from "vitest";
import { prepareGraph } from "../../src/engine/cpu/graph-step.ts";
import type { CompiledFunction, TensorPlace } from "../../src/engine/cpu/compiler.ts";
import { FunctionBuilder, shaped } from "../../src/mil/builder.ts";

const builder = new FunctionBuilder("main");
const x = builder.input("x", shaped("uint8", 1));
const fn = builder.finish({ y: builder.op("identity", { x }), z: builder.op("identity", { x }) });
const region = (buffer: string) => ({
  buffer,
  offset: 0,
  shape: [1],
  elementCount: 1,
  start: 0,
  end: 1,
});

/** A runtime that writes 165, the first mark's own byte, to the results named. */
function graphWriting(...names: readonly string[]): CompiledFunction {
  return {
    intermediateBytes: 0,
    bind: (_, outputs: readonly TensorPlace[]) => ({
      run: () => {
        for (const { name, buffer } of outputs)
          if (names.includes(name)) new Uint8Array(buffer)[0] = 0xa5;
      },
      release: () => undefined,
    }),
    release: () => undefined,
  };
}

function prepared(compiled: CompiledFunction) {
  const step = {
    kind: "graph" as const,
    label: "block",
    joined: { fn, inputs: [region("x")], outputs: [region("y"), region("z")] },
  };
  return prepareGraph(compiled, step as never, () => ({
    buffer: new ArrayBuffer(1),
    byteOffset: 0,
  }));
}

describe("the first run of a graph", () => {
  it("names a result that the runtime did not write", async () => {
    await expect(async () => prepared(graphWriting("y")).run()).rejects.toMatchObject({
      code: "engine.cpu.unwritten",
      message: expect.stringContaining('"z" of block') as unknown,
    });
  });

  it("takes results for written that happen to look like the mark", async () => {
    await expect(prepared(graphWriting("y", "z")).run()).resolves.toBeUndefined();
  });
});
