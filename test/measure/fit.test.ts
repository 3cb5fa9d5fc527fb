import { describe, expect, it } from "vitest";
import { chipByName } from "../../src/chip/chips.ts";
import { priceCall } from "../../src/chip/cost/model.ts";
import { fitModel, pricingOf } from "../../src/measure/published/fit.ts";
import { parseMeasuredRows } from "../../src/measure/published/measured-row.ts";
import { rowCase } from "../../src/measure/published/row-case.ts";

describe("the fit of a chip's figures", () => {
  it("finds the rate that its rows were made with", () => {
    const m4 = chipByName("m4");
    const wanted = m4.rates.pointwise.value * 1.3;
    const start = new Map([[m4.id, m4.rates]]);
    const truth = new Map([[m4.id, { ...m4.rates, pointwise: { value: wanted } }]]);
    const rows = parseMeasuredRows(
      [512, 1024, 2048].map((channels) => ({
        ...{ kind: "conv1x1-chain", chip: "M4", depth: 64, channels, spatial: 4096 },
        ...{ weights: "constant", ms: 1, source: "made here" },
      })),
    );
    const made = rows.map((row) => {
      const one = rowCase(row);
      const { shared } = fitModel([], truth);
      const { hostBytes, edgeBytes } = one;
      const rates = pricingOf({ rates: truth, shared }, one);
      return { ...row, ms: priceCall(one.work, rates, { hostBytes, edgeBytes, shared }).ms };
    });
    const found = fitModel(made, start).rates.get(m4.id)?.pointwise.value ?? 0;
    expect(Math.abs(Math.log(found / wanted))).toBeLessThan(0.1);
    expect(fitModel([], start).rates.get(m4.id)).toBe(m4.rates);
  });
});
