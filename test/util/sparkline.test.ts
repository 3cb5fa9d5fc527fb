import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sparkline } from "../../src/util/plot/sparkline.ts";

describe("a sparkline", () => {
  it("goes from the lowest to the highest number", () => {
    expect(sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8)).toBe("▁▂▃▄▅▆▇█");
    expect(sparkline([5, 4, 1], 8)).toBe("█▆▁");
  });

  it("is the mean of parts where there are more numbers than columns", () => {
    expect(sparkline([0, 2, 10, 12, 5, 7], 3)).toBe("▁█▅");
  });

  it("shows what is no number as a gap, equal numbers low, and nothing for none", () => {
    expect(sparkline([1, NaN, 2], 8)).toBe("▁ █");
    expect(sparkline([3, 3], 8)).toBe("▁▁");
    expect(sparkline([], 8)).toBe("");
    expect(sparkline([NaN], 8)).toBe("");
  });

  it("never takes more columns than it may", () => {
    fc.assert(
      fc.property(fc.array(fc.double()), fc.integer({ min: 1, max: 50 }), (values, columns) => {
        expect(sparkline(values, columns).length).toBeLessThanOrEqual(columns);
      }),
    );
  });
});
