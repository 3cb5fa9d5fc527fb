import { describe, expect, it } from "vitest";
import { priceCall } from "../../src/chip/cost/model.ts";
import { CHIPS, chipByName } from "../../src/chip/chips.ts";
import { measured } from "../../src/chip/figure.ts";
import { fitModel, pricingOf, relativeRates } from "../../src/measure/published/fit.ts";
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

describe("what is known of a chip nobody measured", () => {
  const m4 = chipByName("m4");

  it("comes from its relatives, never from itself", () => {
    const strange = {
      ...m4,
      rates: Object.fromEntries(
        Object.entries(m4.rates).map(([name, { unit }]) => [name, measured(1e6, unit, "a test")]),
      ) as unknown as typeof m4.rates,
    };
    const others = CHIPS.map((chip) => (chip.id === m4.id ? strange : chip));
    expect(relativeRates(strange, others)).toEqual(relativeRates(m4, CHIPS));
  });

  it("carries products over by the advertised rate, and not what others took from it", () => {
    const { pointwise, weightStream } = relativeRates(chipByName("m1"), CHIPS);
    // M2, M3 and M4 at their advertised shares: about 11 TFLOP/s.
    expect(pointwise.value).toBeGreaterThan(9);
    expect(pointwise.value).toBeLessThan(13);
    expect(weightStream.value).toBeLessThan(80);
  });
});
