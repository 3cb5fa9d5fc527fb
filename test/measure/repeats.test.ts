import { describe, expect, it } from "vitest";
import { parseMeasuredRows } from "../../src/measure/published/measured-row.ts";
import { joinRepeats } from "../../src/measure/published/repeats.ts";

const call = { kind: "conv1x1-chain", chip: "M3 Ultra", depth: 32, channels: 512, spatial: 64 };
const row = (ms: number, other: object = {}) => ({
  ...{ ...call, ms, source: "a project's suite, a machine" },
  ...other,
});
const joined = (...rows: readonly object[]) => joinRepeats(parseMeasuredRows(rows));

describe("rows of one call from one source", () => {
  it("are one measurement: the median, of an even number the geometric mean of the middle two", () => {
    const two = joined(row(0.5), row(0.9, { channels: 256 }), row(0.32));
    expect(two.rows.map(({ ms }) => ms)).toEqual([expect.closeTo(0.4, 12), 0.9]);
    expect(two.repeats).toEqual([
      expect.objectContaining({ chip: "M3 Ultra", ms: [0.32, 0.5], spread: 0.5 / 0.32 }),
    ]);
    const three = joined(row(0.5), row(0.3), row(0.32));
    expect(three.rows.map(({ ms }) => ms)).toEqual([0.32]);
    const four = joined(row(0.2), row(0.9), row(0.3), row(0.3));
    expect(four.rows.map(({ ms }) => ms)).toEqual([0.3]);
  });

  it("have the median of their power, in whatever unit it was read", () => {
    const { rows } = joined(row(0.5, { ane_w: 2 }), row(0.5), row(0.5, { ane_mw: 8000 }));
    expect(rows.map(({ ane_w }) => ane_w)).toEqual([4]);
  });

  it("are joined under any spelling of their chip, whatever follows a source's name", () => {
    const { rows } = joined(row(0.5), row(0.32, { chip: "Apple M3 Ultra" }), {
      ...row(0.4),
      source: "a project's suite; another day",
    });
    expect(rows.map(({ ms }) => ms)).toEqual([0.4]);
  });

  it("stay apart where source, driver, size, storage, engines or chip differ", () => {
    const others = [
      { source: "another suite" },
      { driver: "coreml" },
      { depth: 16 },
      { palette_bits: 4 },
      { engines: 1 },
      { host_copies: true },
      { chip: "M3 Max" },
    ].map((other) => row(0.1, other));
    expect(joined(row(0.5), ...others)).toMatchObject({ repeats: [], rows: { length: 8 } });
  });
});
