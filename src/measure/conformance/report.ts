import type { Outcome } from "./outcome.ts";
import type { Suite } from "./conformance-test.ts";
import { tableLines } from "../../util/format.ts";
import { grouped } from "../../util/grouped.ts";

export interface TestResult {
  readonly id: string;
  readonly family: string;
  readonly engine: string;
  readonly outcome: Outcome;
}

export interface Counts {
  readonly passed: number;
  readonly refused: number;
  readonly wrong: number;
  readonly crashed: number;
  /** Of those that passed or are wrong: run by the reference engine, since this one cannot. */
  readonly fallback: number;
  /** Of those that passed or are wrong: with inputs bound to the test's values. */
  readonly bound: number;
}

export interface Summary {
  readonly suite: string;
  readonly tests: number;
  readonly engines: Readonly<Record<string, Counts>>;
}

export function countsOf(results: readonly TestResult[]): Counts {
  const count = (holds: (outcome: Outcome) => boolean): number =>
    results.filter(({ outcome }) => holds(outcome)).length;
  return {
    passed: count(({ result }) => result === "passed"),
    refused: count(({ result }) => result === "refused"),
    wrong: count(({ result }) => result === "wrong"),
    crashed: count(({ result }) => result === "crashed"),
    fallback: count(({ fallback }) => fallback !== undefined),
    bound: count(({ bound }) => bound !== undefined),
  };
}

export function summaryOf(
  suite: string,
  tests: number,
  engines: readonly string[],
  results: readonly TestResult[],
): Summary {
  return {
    suite,
    tests,
    engines: Object.fromEntries(
      engines.map((engine) => [
        engine,
        countsOf(results.filter((result) => result.engine === engine)),
      ]),
    ),
  };
}

const COLUMNS = ["passed", "refused", "wrong", "crashed", "fallback", "bound"] as const;

/** Counts by engine and family, and refusals by code. */
export function formatReport(engines: readonly string[], results: readonly TestResult[]): string {
  const rows: string[][] = [["engine", "family", "tests", ...COLUMNS]];
  for (const engine of engines) {
    const own = results.filter((result) => result.engine === engine);
    for (const [family, members] of sortedBy(own, (result) => result.family))
      rows.push([engine, family, String(members.length), ...cells(countsOf(members))]);
    rows.push([engine, "all", String(own.length), ...cells(countsOf(own))]);
  }
  const lines = [...tableLines(rows, (column) => column >= 2)];
  for (const engine of engines) {
    const refused = results.filter(
      (result) => result.engine === engine && result.outcome.result === "refused",
    );
    for (const [code, members] of sortedBy(refused, ({ outcome }) => outcome.code ?? "?"))
      lines.push(`${engine}: ${members.length} refused with ${code}`);
    const others = results.filter(
      (result) => result.engine === engine && result.outcome.fallback !== undefined,
    );
    for (const [reason, members] of sortedBy(others, ({ outcome }) => outcome.fallback ?? ""))
      lines.push(`${engine}: ${members.length} fell back: ${reason.split("\n")[0]}`);
  }
  return `${lines.join("\n")}\n`;
}

function cells(counts: Counts): readonly string[] {
  return COLUMNS.map((column) => String(counts[column]));
}

/** What is not run, with the reason, as lines. */
export function formatLeftOut(suite: Suite): string {
  const out = suite.tests.filter(({ leftOut }) => leftOut !== undefined);
  const random = out.filter(({ leftOut }) => leftOut?.endsWith(RANDOM_END));
  return [
    ...(out.length > random.length
      ? [`${out.length - random.length} left out: their ports are not all tensors of numbers`]
      : []),
    ...random.map(({ id, leftOut }) => `left out: ${id} (${leftOut})`),
    "",
  ].join("\n");
}

/** How the reason ends where results are random. */
export const RANDOM_END = "is random";

function sortedBy(results: readonly TestResult[], keyOf: (result: TestResult) => string) {
  return [...grouped(results, keyOf)].toSorted(([a], [b]) => (a < b ? -1 : 1));
}
