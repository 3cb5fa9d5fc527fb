import type { Chip, Driver } from "../chip/chip.ts";
import { checkFunction } from "../chip/legality/check.ts";
import type { Finding } from "../chip/legality/check.ts";
import { requirePossibleSizes } from "../chip/possible-sizes.ts";
import type { MilFunction } from "../mil/program.ts";
import { listsAsTensors } from "../mil/lists-as-tensors.ts";
import { statesAsValues } from "../mil/states-as-values.ts";
import { AnecdoteError } from "../util/errors.ts";
import { lowerFunction } from "./lower-function.ts";
import type { PlacedProgram } from "./ports.ts";
import { REMEDIES } from "./remedies.ts";

/**
 * What becomes of a broken rule: `rewritten`, the passes' program does not break it; `stays`, it does, or no
 * pass does it; `host`, the whole function cannot be rewritten; `engine`, the driver keeps the rule when it runs.
 */
export interface RemediedFinding extends Finding {
  readonly outcome: "rewritten" | "stays" | "host" | "engine";
  /** What the passes write, or why it stays. */
  readonly because: string;
}

/** What becomes of a broken rule, as words. */
export function describeOutcome({ outcome, because }: RemediedFinding): string {
  switch (outcome) {
    case "rewritten":
      return `the passes rewrite it: ${because}`;
    case "stays":
      return `stays: ${because}`;
    case "host":
      return "stays: the function is not rewritten";
    case "engine":
      return "the driver does it when the program runs";
  }
}

/** A function as it stands, and as the passes write it for a chip. */
export interface RemediedFunction {
  readonly name: string;
  readonly placed: PlacedProgram;
  /** Rules that the function breaks as it stands. */
  readonly findings: readonly RemediedFinding[];
  /** Rules that the rewritten one breaks; none where it stays on the host. */
  readonly remaining: readonly Finding[];
}

/**
 * Applies the remedies of the passes to a function, as `run` and plans do. A state becomes an input and a result
 * of its own. Never throws for a function that cannot be rewritten: it is `host`, with the reason.
 */
export function applyRemedies(fn: MilFunction, chip: Chip, driver: Driver): RemediedFunction {
  const { name } = fn;
  const before = checkFunction(fn, chip, driver);
  const placed = place(fn, chip, driver);
  if (placed.place === "host") {
    const because = placed.reason;
    const findings = before.map((finding) => ({ ...finding, outcome: "host", because }) as const);
    return { name, placed, findings, remaining: [] };
  }
  const { program } = placed;
  const remaining = checkFunction(program.function, chip, driver);
  const original = new Map(program.outputs.map((port) => [port.name, port.to]));
  const places = placesOf(before);
  const broken = placesOf(
    remaining.map(({ rule, result }) => {
      const place = result === undefined ? undefined : (original.get(result) ?? result);
      return { rule, result: place };
    }),
  );
  const moved = new Set(
    [...broken].flatMap(([rule, found]) => (hasOthers(found, places.get(rule)) ? [rule] : [])),
  );
  const stays = ({ rule, result }: Finding): boolean =>
    moved.has(rule) || broken.get(rule)?.has(result) === true;
  return { name, placed, findings: before.map((found) => outcome(found, stays(found))), remaining };
}

function place(fn: MilFunction, chip: Chip, driver: Driver): PlacedProgram {
  try {
    requirePossibleSizes(fn);
    return {
      place: "engine",
      program: lowerFunction(listsAsTensors(statesAsValues(fn).fn), chip, driver),
    };
  } catch (error) {
    if (!(error instanceof AnecdoteError)) throw error;
    return { place: "host", reason: error.message.replace(/^".*" stays on the host: /, "") };
  }
}

/** Values at which rules are broken, by rule. */
type Places = ReadonlyMap<string, ReadonlySet<string | undefined>>;

function placesOf(
  findings: readonly { readonly rule: string; readonly result?: string | undefined }[],
): Places {
  const places = new Map<string, Set<string | undefined>>();
  for (const { rule, result } of findings) {
    const known = places.get(rule) ?? new Set();
    known.add(result);
    places.set(rule, known);
  }
  return places;
}

function hasOthers(
  found: ReadonlySet<string | undefined>,
  known: ReadonlySet<string | undefined> = new Set(),
): boolean {
  return [...found].some((place) => !known.has(place));
}

/**
 * Ops keep their names where they are copied. A rule that the rewritten program breaks at a place of another name
 * may be any of those that it broke before: none of them counts as rewritten then.
 */
function outcome(finding: Finding, stays: boolean): RemediedFinding {
  const { rule, severity } = finding;
  if (severity === "handled") return { ...finding, outcome: "engine", because: finding.remedy };
  const row = Object.hasOwn(REMEDIES, rule) ? REMEDIES[rule] : undefined;
  return stays
    ? { ...finding, outcome: "stays", because: row?.stays ?? "no pass does this" }
    : { ...finding, outcome: "rewritten", because: row?.does ?? "the op is gone" };
}
