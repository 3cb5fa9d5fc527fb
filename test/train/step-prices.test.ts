import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { estimateStep, readTrainLayer, resolveRun } from "../../src/train/index.ts";

/** Milliseconds of a micro-batch of ten an update, and of one that is an update, the host beside the engine. */
function pricesOf(momentType: string): readonly [number, number] {
  const values = { preset: "stories110M", max_seq_length: 256, moment_dtype: momentType };
  const { config } = resolveRun([readTrainLayer({ origin: "test", values })]);
  const { estimate, published } = estimateStep(config, { chip: "m4" });
  return [published.overlappedMs, estimate.overlappedMs];
}

test("a step of stories110M on M4 takes what docs/cost-model.md says, with moments of 32 and of 16 bits", () => {
  const docs = readFileSync(new URL("../../docs/cost-model.md", import.meta.url), "utf8");
  const rowOf = (start: string): readonly number[] => {
    const row = docs.split("\n").find((line) => line.startsWith(`| ${start}`));
    return (row?.split("|").slice(2, 4) ?? []).map(Number);
  };
  const [singles, halves] = [pricesOf("fp32"), pricesOf("bf16")];
  for (const [start, prices] of [
    ["products that give heads", singles],
    ["moments of 16 bits", halves],
  ] as const) {
    const told = rowOf(start);
    expect(told, start).toHaveLength(2);
    for (const [place, price] of prices.entries())
      expect(Math.abs(price - (told[place] ?? NaN)), `${start}: ${price}`).toBeLessThan(0.05);
  }
  // The aims for a micro-batch of ten an update, and for one that is an update.
  expect(halves[0]).toBeLessThan(36);
  expect(halves[1]).toBeLessThan(55);
});
