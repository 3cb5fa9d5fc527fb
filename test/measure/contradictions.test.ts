import { describe, expect, it } from "vitest";
import { contradictions, leastQuantile } from "../../src/measure/published/contradictions.ts";
import { parseMeasuredRows } from "../../src/measure/published/measured-row.ts";

const row = (channels: number, ms: number) => ({
  ...{ kind: "conv1x1-chain", chip: "M3 Ultra", depth: 32, channels, spatial: 64, ms },
  source: `harness of ${ms}`,
});

describe("rows of one call", () => {
  it("are found to disagree by what no prediction can meet", () => {
    const [only, ...more] = contradictions(
      parseMeasuredRows([row(512, 0.5), row(512, 0.3), row(256, 0.2)]),
    );
    expect(more).toEqual([]);
    expect(only?.ms).toEqual([0.3, 0.5]);
    // 0.375 is 25 % off on both.
    expect(only?.leastError).toBeCloseTo(0.25);
  });

  it("are no contradiction where a driver, an engine or a size differs", () => {
    const rows = [
      row(512, 0.5),
      { ...row(512, 0.3), driver: "coreml" },
      { ...row(512, 0.2), depth: 16 },
      { ...row(512, 0.1), palette_bits: 4 },
    ];
    expect(contradictions(parseMeasuredRows(rows))).toEqual([]);
  });

  it("bound what any model reaches", () => {
    const rows = parseMeasuredRows([row(512, 0.5), row(512, 0.3), row(256, 0.2), row(128, 0.1)]);
    expect(leastQuantile(rows, 1)).toBeCloseTo(0.25, 2);
    expect(leastQuantile(rows, 0.5)).toBe(0);
    expect(leastQuantile(rows.slice(2), 1)).toBe(0);
  });
});
