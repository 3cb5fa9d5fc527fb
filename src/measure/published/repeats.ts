import { rowSource } from "./fit.ts";
import { describeRow, rowCase } from "./row-case.ts";
import type { MeasuredRow } from "./measured-row.ts";
import { grouped } from "../../util/grouped.ts";

/** One call that one source measured more than once on a chip. */
export interface Repeat {
  readonly chip: string;
  readonly what: string;
  readonly source: string;
  /** What each row took, ms, ascending. */
  readonly ms: readonly number[];
  /** What the rows count as together: their median, of an even number the geometric mean of the middle two. */
  readonly medianMs: number;
  /** The slowest over the fastest. */
  readonly spread: number;
}

export interface Measurements {
  /** A row for each measurement: repeated ones stand where the first of them stood, with their median. */
  readonly rows: readonly MeasuredRow[];
  readonly repeats: readonly Repeat[];
}

/** What differs between rows of one call, or is told by the call's chip, driver and bytes copied. */
const APART: ReadonlySet<string> = new Set([
  ...["ms", "source", "address", "ane_w", "ane_mw"],
  ...["chip", "driver", "host_copies"],
]);

/** All of a row that a model can see: two rows with one key measured the same call on the same chip and harness. */
export function callKey(row: MeasuredRow): string {
  const { chip, driver, hostBytes } = rowCase(row);
  const seen = Object.entries(row).filter(([name]) => !APART.has(name));
  return JSON.stringify([seen.sort(byName), chip.id, driver, hostBytes]);
}

/**
 * Rows of one call from one source are one measurement with a spread. Sources that disagree stay apart: each has a
 * harness of its own.
 */
export function joinRepeats(rows: readonly MeasuredRow[]): Measurements {
  const repeats: Repeat[] = [];
  const joined = [...grouped(rows, (row) => `${rowSource(row)} ${callKey(row)}`).values()].flatMap(
    (group) => {
      const [first] = group;
      if (first === undefined || group.length === 1) return group;
      const ms = group.map((row) => row.ms).sort((a, b) => a - b);
      const medianMs = logMedian(ms);
      repeats.push({
        chip: rowCase(first).chip.name,
        what: describeRow(first),
        source: rowSource(first),
        ms,
        medianMs,
        spread: (ms.at(-1) ?? medianMs) / (ms[0] ?? medianMs),
      });
      return [{ ...first, ms: medianMs, ...medianPower(group) }];
    },
  );
  return { rows: joined, repeats };
}

function medianPower(group: readonly MeasuredRow[]): { ane_w?: number } {
  const watts = group.flatMap(({ ane_w: watts, ane_mw: milliwatts }) =>
    watts !== undefined ? [watts] : milliwatts !== undefined ? [milliwatts / 1000] : [],
  );
  return watts.length === 0 ? {} : { ane_w: logMedian(watts.sort((a, b) => a - b)) };
}

/** The middle of ascending positive numbers, of two middle ones their geometric mean. */
function logMedian(sorted: readonly number[]): number {
  const low = sorted[Math.floor((sorted.length - 1) / 2)] ?? NaN;
  const high = sorted[Math.ceil((sorted.length - 1) / 2)] ?? NaN;
  return low === high ? low : Math.sqrt(low * high);
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1;
}
