// What the server tells a page of measurements of engines. Types alone, so that the page can import them.

/** A folder that `bench engine --output-dir` wrote. */
export interface BenchRow {
  /** Its name in the folder of runs. */
  readonly id: string;
  readonly title: string;
  readonly kind: "measured" | "predicted" | "test-double";
}

/** A report, drawn as its own file is: HTML without style or script. */
export interface BenchView {
  readonly title: string;
  readonly html: string;
}
