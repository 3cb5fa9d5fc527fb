import { existsSync, readFileSync } from "node:fs";
import { writeWholeFile } from "../../util/atomic-file.ts";
import { MeasureError } from "../errors.ts";
import type { TestResult } from "./report.ts";

/** A refusal that is known: a test, an engine, the code of the refusal. */
interface Known {
  readonly id: string;
  readonly engine: string;
  readonly code: string;
}

/** A committed list of refusals, one a line: `ENGINE CODE TEST`. It may only get shorter. */
export function readKnownRefusals(path: string): readonly Known[] {
  return readFileSync(path, "utf8")
    .split("\n")
    .flatMap((line, index) => {
      if (line.trim() === "" || line.startsWith("#")) return [];
      const [engine, code, id, ...more] = line.split(" ");
      if (engine === undefined || code === undefined || id === undefined || more.length > 0) {
        throw new MeasureError(
          "measure.suite.known",
          `${path}, line ${index + 1}: "${line}" is not ENGINE CODE TEST`,
        );
      }
      return [{ engine, code, id }];
    });
}

const keyOf = ({ engine, code, id }: Known): string => `${engine} ${code} ${id}`;

const knownOf = ({ engine, id, outcome }: TestResult): Known => ({
  engine,
  id,
  code: outcome.code ?? "",
});

/**
 * What a run does that its list does not allow, as sentences: new refusals, wrong results, crashes, and lines of the
 * list that no longer hold and have to go. Lines about tests or engines that did not run say nothing.
 */
export function againstKnown(
  known: readonly Known[],
  results: readonly TestResult[],
): readonly string[] {
  const listed = new Set(known.map(keyOf));
  const refused = new Set(
    results
      .filter(({ outcome }) => outcome.result === "refused")
      .map((result) => keyOf(knownOf(result))),
  );
  const ran = new Set(results.map(({ engine, id }) => `${engine} ${id}`));
  return [
    ...results.flatMap((result) => {
      const { engine, id, outcome } = result;
      switch (outcome.result) {
        case "passed":
          return [];
        case "refused":
          return listed.has(keyOf(knownOf(result)))
            ? []
            : [`${id} on ${engine} is refused (${outcome.code}), which the list does not know`];
        case "wrong":
        case "crashed":
          return [`${id} on ${engine} is ${outcome.result}: ${outcome.reason?.split("\n")[0]}`];
      }
    }),
    ...known.flatMap((one) =>
      ran.has(`${one.engine} ${one.id}`) && !refused.has(keyOf(one))
        ? [`${one.id} on ${one.engine} is no longer refused with ${one.code}: take the line out`]
        : [],
    ),
  ];
}

/** Writes a run's refusals as a list. Throws `MeasureError` where a list is there already and would get longer. */
export function writeKnownRefusals(path: string, results: readonly TestResult[]): void {
  const refused = results.filter(({ outcome }) => outcome.result === "refused").map(knownOf);
  if (existsSync(path)) {
    const before = readKnownRefusals(path).length;
    if (refused.length > before) {
      throw new MeasureError(
        "measure.suite.known",
        `${path} has ${before} lines and would get ${refused.length}: the list may only get shorter`,
      );
    }
  }
  const lines = refused.map(keyOf).toSorted();
  writeWholeFile(path, new TextEncoder().encode(`${lines.join("\n")}\n`));
}
