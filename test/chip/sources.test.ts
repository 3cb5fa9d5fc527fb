import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { ARITHMETIC_RULES } from "../../src/chip/arithmetic/rules.ts";
import type { Rule } from "../../src/chip/arithmetic/rules.ts";
import { CHIPS } from "../../src/chip/chips.ts";
import { PAUSES } from "../../src/chip/cost/pauses.ts";
import type { Figure } from "../../src/chip/figure.ts";
import { allRules } from "../../src/chip/legality/check.ts";
import { SYSTEM_NOTES, SYSTEM_RULES } from "../../src/chip/legality/system-rules.ts";
import { chipJson, formatChip } from "../../src/chip/print.ts";
import { publicationsIn } from "../../src/chip/publications.ts";
import { SOURCES } from "../../src/chip/sources.ts";
import { ASSUMPTIONS } from "../../src/engine/ane/assumptions.ts";
import {
  CLAIMS_NOT_REPEATED,
  formatPaper,
  paperJson,
  paperRows,
} from "../../src/measure/published/paper.ts";
import { PROBES } from "../../src/measure/self-test/probes.ts";

/** Words that say that a text is no report of somebody else's. */
const OWN = /^our (caution|reading)|^fitted to|^same engine as|^op table$/;

function figuresOf(record: object): readonly Figure[] {
  return Object.values(record).flatMap((value: unknown): readonly Figure[] => {
    if (typeof value !== "object" || value === null) return [];
    if ("unit" in value && "source" in value) return [value as Figure];
    return figuresOf(value);
  });
}

/** What doctor tries because this project's own code relies on it. */
const DRIVERS_OWN =
  /^(npm|the driver (calls|sends) it|they are NSObject's|the names of the constants|IOSurface's rules|all public projects|the cost model|macmon)/;

/** Sources without an address, but for those that say that they are our own. */
function lost(sources: readonly string[]): readonly string[] {
  return sources.filter((source) => publicationsIn(source).length === 0 && !OWN.test(source));
}

describe("sources can be found again", () => {
  test("each named source of the chips has a title and an address", () => {
    expect(lost(Object.values(SOURCES))).toEqual([]);
  });

  test("each measured or claimed figure of a chip names one", () => {
    const figures = [...CHIPS, PAUSES].flatMap(figuresOf);
    expect(figures.length).toBeGreaterThan(400);
    const told = figures.filter(({ kind }) => kind !== "inferred");
    expect(lost(told.map(({ source }) => source))).toEqual([]);
  });

  test("each rule of `check` names one, and so does what contradicts it", () => {
    const rules = [...allRules(), ...SYSTEM_RULES];
    expect(rules.length).toBeGreaterThan(60);
    expect(lost(rules.map(({ source }) => source))).toEqual([]);
    expect(lost(rules.flatMap(({ contradictedBy }) => contradictedBy ?? []))).toEqual([]);
    expect(lost(SYSTEM_NOTES)).toEqual([]);
  });

  test("each piece of evidence about the arithmetic names one, or assumes and says so", () => {
    const evidence = Object.values<Rule>(ARITHMETIC_RULES).flatMap(({ variants }) =>
      Object.values(variants).flatMap((variant) => variant.evidence),
    );
    expect(evidence.length).toBeGreaterThan(40);
    const told = evidence.filter(({ confidence }) => confidence !== "assumed");
    expect(lost(told.map(({ source }) => source))).toEqual([]);
  });

  test("each row and each refused claim of `bench paper` names one", () => {
    expect(lost([...paperRows(), ...CLAIMS_NOT_REPEATED].map(({ source }) => source))).toEqual([]);
    const printed = formatPaper();
    for (const { source } of [...paperRows(), ...CLAIMS_NOT_REPEATED]) {
      for (const { address } of publicationsIn(source)) expect(printed).toContain(address);
    }
    expect(JSON.stringify(paperJson())).toContain("https://");
  });

  test("the claim of a 1.1B micro-GPT has its row, without a figure nobody published", () => {
    const row = paperRows().find(({ what }) => what.includes("1.1B micro-GPT"));
    expect(row?.published).toBeUndefined();
    expect(row?.predicted).toBeGreaterThan(400);
    expect(row?.note).toContain("110M");
    expect(formatPaper()).toMatch(/1\.1B micro-GPT training step +- +\d/);
  });

  test.each(["measurements.json", "measurements-2026-11-30.json"])(
    "each row of %s has the address of its source",
    (file) => {
      const rows = JSON.parse(
        readFileSync(new URL(`../../bench/data/${file}`, import.meta.url), "utf8"),
      ) as readonly { readonly source: string; readonly address: string }[];
      expect(rows.length).toBeGreaterThan(80);
      for (const { source, address } of rows) {
        expect(publicationsIn(source)[0]?.address, source).toBe(address);
      }
    },
  );

  test("what the drivers take for granted, and what doctor tries, names one or is inferred", () => {
    const told = Object.values(ASSUMPTIONS).filter(({ evidence }) => evidence !== "inferred");
    expect(lost(told.map(({ source }) => source))).toEqual([]);
    const probes = PROBES.map(({ source }) => source);
    expect(probes.length).toBeGreaterThan(200);
    expect(lost(probes).filter((source) => !DRIVERS_OWN.test(source))).toEqual([]);
  });

  test("`chips NAME` prints the addresses of what it names, each once", () => {
    for (const chip of CHIPS) {
      const printed = formatChip(chip);
      const addresses = printed.match(/https:\/\/\S+/g) ?? [];
      expect(addresses.length, chip.name).toBeGreaterThan(3);
      expect(new Set(addresses).size).toBe(addresses.length);
      expect(chipJson(chip)["publications"]).toHaveLength(addresses.length);
    }
  });

  test("the exact name wins over the name of its project, and issues lead to their numbers", () => {
    expect(publicationsIn("ANEForge numeric cliffs, M1; ANEForge 116")).toEqual([
      expect.objectContaining({ address: expect.stringMatching(/docs\/numeric-cliffs\.md$/) }),
      expect.objectContaining({ address: expect.stringMatching(/ANEForge\/issues\/116$/) }),
    ]);
    expect(publicationsIn("somebody said so")).toEqual([]);
  });
});
