import { lowerBound } from "../util/plot/down-sample.ts";
import type { NumberList } from "../util/plot/down-sample.ts";

const FIRST_CAPACITY = 256;

/**
 * Rows of numbers in columns that grow: the step of each row, which never falls, and what was told of it. A number that
 * a row lacks is NaN; a column begins with the first row that has it.
 */
export class NumberTable {
  #steps: Float64Array = new Float64Array(FIRST_CAPACITY);
  readonly #columns = new Map<string, Float64Array>();
  #rowCount = 0;

  get rowCount(): number {
    return this.#rowCount;
  }

  /** Bytes that its columns take. */
  get byteLength(): number {
    return this.#steps.byteLength * (1 + this.#columns.size);
  }

  get names(): readonly string[] {
    return [...this.#columns.keys()];
  }

  get steps(): NumberList {
    return this.#steps.subarray(0, this.#rowCount);
  }

  /** Nothing where no row has had it. */
  column(name: string): NumberList | undefined {
    return this.#columns.get(name)?.subarray(0, this.#rowCount);
  }

  add(step: number, values: Readonly<Record<string, number | undefined>>): void {
    // A log whose steps fall without a rewind is none of ours; what comes last holds.
    this.cut(step);
    if (this.#rowCount === this.#steps.length) this.#grow();
    const row = this.#rowCount++;
    this.#steps[row] = step;
    for (const column of this.#columns.values()) column[row] = Number.NaN;
    for (const [name, value] of Object.entries(values)) {
      if (value === undefined) continue;
      let column: Float64Array | undefined = this.#columns.get(name);
      if (column === undefined) {
        column = new Float64Array(this.#steps.length).fill(Number.NaN);
        this.#columns.set(name, column);
      }
      column[row] = value;
    }
  }

  /** Removes rows of steps after `step`, and of that step itself beyond the first `kept`. */
  cut(step: number, kept = Number.POSITIVE_INFINITY): void {
    const first = lowerBound(this.#steps, step, this.#rowCount);
    let end = first;
    while (end < this.#rowCount && this.#steps[end] === step) end++;
    this.#rowCount = Math.min(end, first + kept);
  }

  clear(): void {
    this.#rowCount = 0;
  }

  #grow(): void {
    const grown = (column: Float64Array): Float64Array => {
      const larger = new Float64Array(2 * column.length).fill(Number.NaN);
      larger.set(column);
      return larger;
    };
    this.#steps = grown(this.#steps);
    for (const [name, column] of this.#columns) this.#columns.set(name, grown(column));
  }
}
