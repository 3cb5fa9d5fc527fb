import { describe, expect, test } from "vitest";
import { CHIPS, chipByName } from "../../src/chip/chips.ts";
import { ChipError } from "../../src/chip/errors.ts";
import type { Figure } from "../../src/chip/figure.ts";
import { formatChip, formatChips } from "../../src/chip/print.ts";
import { rooflineSvg, rooflineText } from "../../src/measure/published/roofline.ts";
import { compileTarget } from "../../src/chip/targets.ts";

function figuresOf(record: object): Figure[] {
  return Object.values(record).flatMap((value: unknown): Figure[] => {
    if (typeof value !== "object" || value === null) return [];
    if ("unit" in value && "source" in value) return [value as Figure];
    return figuresOf(value);
  });
}

describe("chip records", () => {
  test("every figure of every chip carries a positive value, a unit and a source", () => {
    for (const chip of CHIPS) {
      const figures = figuresOf(chip);
      expect(figures.length).toBeGreaterThan(15);
      for (const figure of figures) {
        expect(figure.source, chip.name).not.toBe("");
        expect(figure.unit, chip.name).not.toBe("");
        expect(figure.value, `${chip.name}: ${figure.source}`).toBeGreaterThanOrEqual(0);
      }
    }
  });

  test("advertised operations are twice the units times the clock", () => {
    for (const { advertised, multiplyAccumulateUnits, clock, name } of CHIPS) {
      const operations = 2 * multiplyAccumulateUnits.value * clock.value * 1e6;
      expect(operations / (advertised.value * 1e12), name).toBeCloseTo(1, 3);
    }
  });

  test("names are understood as people write them", () => {
    for (const name of ["M4 Max", "m4-max", "m4max", "Apple M4 Max", "  m4_max "]) {
      expect(chipByName(name).name).toBe("M4 Max");
    }
  });

  test("an unknown name is answered with the nearest known one", () => {
    expect(() => chipByName("m4-mx")).toThrow(ChipError);
    expect(() => chipByName("m4-mx")).toThrow(/Did you mean "m4-max"/);
    expect(() => chipByName("x".repeat(1e6))).toThrow(/Known chips: m1/);
  });

  test("a compile target that the engine would silently ignore is refused", () => {
    expect(compileTarget("H17S").family).toBe("H17");
    expect(() => compileTarget("h17x")).toThrow(/Did you mean "h17/);
  });

  test("printing names every chip, its sources and a roofline in both forms", () => {
    const all = formatChips();
    for (const chip of CHIPS) expect(all).toContain(chip.name);
    const m4 = chipByName("m4");
    expect(formatChip(m4)).toMatch(
      /weights from memory +60 GB\/s \(measured: maderix\/ANE\s+sram_probe\.m\s+\(56.5\)/,
    );
    expect(rooflineSvg(m4)).toMatch(/^<svg .*<\/svg>\n$/s);
    expect(rooflineText(m4)).toContain("FLOP a byte");
  });
});
