import { describe, expect, it } from "vitest";

interface Shape {
  readonly family: "gpt2" | "llama";
  readonly layers: number;
  readonly heads: number;
  readonly kv_heads: number;
  readonly channels: number;
  readonly ffn: number;
  readonly vocab: number;
  readonly batch: number;
  readonly context: number;
  readonly lora?: number;
}

const at = (name: string): string => new URL(`../../bench/suite/${name}`, import.meta.url).href;
const { stepFlops } = (await import(at("shape.mjs"))) as {
  readonly stepFlops: (shape: Shape) => number;
};
const { stepProcess } = (await import(at("contenders.mjs"))) as {
  readonly stepProcess: (
    command: string,
    args: readonly string[],
  ) => Promise<{ run: (steps: number) => Promise<unknown>; stop: () => Promise<void> }>;
};

describe("the benchmark", () => {
  it("counts the products of a step and half of attention's square, forward and backward", () => {
    const shape: Shape = {
      ...{ family: "llama", layers: 2, heads: 4, kv_heads: 2, channels: 8, ffn: 16 },
      ...{ vocab: 10, batch: 3, context: 4 },
    };
    // q and o of 8 x 8, k and v of 8 x 4, three products of 8 x 16, twice; the head of 10 x 8.
    const weights = 2 * (2 * 64 + 2 * 32 + 3 * 128) + 80;
    // Scores and mixing over 16 pairs of positions, half of them visible, 8 channels; 3 for the backward.
    const square = 2 * 3 * (2 * 2 * 8 * 16 * 0.5) * 3;
    expect(stepFlops(shape)).toBe(6 * weights * 12 + square);
    const gpt2 = { ...shape, family: "gpt2" as const, kv_heads: 4 };
    const own = 2 * (4 * 64 + 2 * 128) + 80;
    expect(stepFlops(gpt2)).toBe(6 * own * 12 + square);
  });

  it("counts no derivative by frozen weights, and an adapter's own", () => {
    const shape: Shape = {
      ...{ family: "gpt2", layers: 1, heads: 2, kv_heads: 2, channels: 8, ffn: 32 },
      ...{ vocab: 10, batch: 1, context: 4, lora: 3 },
    };
    const frozen = 4 * (8 * 24 + 64 + 2 * 8 * 32 + 80);
    const adapter = 6 * 3 * (8 + 24 + 8 + 8 + 8 + 32 + 32 + 8);
    expect(stepFlops(shape)).toBe((frozen + adapter) * 4 + 16 * 8 * 6);
  });

  it("tells why a contender cannot take part, and takes turns with one that can", async () => {
    await expect(stepProcess(process.execPath, ["-e", "process.exit(3)"])).rejects.toThrow(
      "ended with code 3",
    );
    await expect(stepProcess("/no/such/program", [])).rejects.toThrow("cannot be started");
    const script = `console.log("{}"); process.stdin.on("data", (n) => console.log(JSON.stringify({ steps: Number(n) })));`;
    const contender = await stepProcess(process.execPath, ["-e", script]);
    expect(await contender.run(7)).toEqual({ steps: 7 });
    await contender.stop();
  });
});
