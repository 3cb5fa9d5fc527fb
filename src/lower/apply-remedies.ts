import type { Chip, Driver } from "../chip/chip.ts";
import { checkFunction } from "../chip/legality/check.ts";
import type { Finding } from "../chip/legality/check.ts";
import { requirePossibleSizes } from "../chip/possible-sizes.ts";
import type { MilFunction } from "../mil/program.ts";
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
  const places = remaining.map(({ rule, result }) => {
    const place = result === undefined ? undefined : (original.get(result) ?? result);
    return { rule, place };
  });
  return {
    name,
    placed,
    findings: before.map((found) => outcome(found, before, places)),
    remaining,
  };
}

function place(fn: MilFunction, chip: Chip, driver: Driver): PlacedProgram {
  try {
    requirePossibleSizes(fn);
    return { place: "engine", program: lowerFunction(statesAsValues(fn).fn, chip, driver) };
  } catch (error) {
    if (!(error instanceof AnecdoteError)) throw error;
    return { place: "host", reason: error.message.replace(/^".*" stays on the host: /, "") };
  }
}

/** A rule that the rewritten program breaks, and the value of the original where. */
interface BrokenPlace {
  readonly rule: string;
  readonly place: string | undefined;
}

/**
 * Ops keep their names where they are copied. A rule that the rewritten program breaks at a place of another name
 * may be any of those that it broke before: none of them counts as rewritten then.
 */
function outcome(
  finding: Finding,
  before: readonly Finding[],
  remaining: readonly BrokenPlace[],
): RemediedFinding {
  const { rule, result, severity } = finding;
  if (severity === "handled") return { ...finding, outcome: "engine", because: finding.remedy };
  const row = Object.hasOwn(REMEDIES, rule) ? REMEDIES[rule] : undefined;
  const known = new Set(before.filter((found) => found.rule === rule).map((found) => found.result));
  const stays = remaining.some(
    (found) => found.rule === rule && (found.place === result || !known.has(found.place)),
  );
  return stays
    ? { ...finding, outcome: "stays", because: row?.stays ?? "no pass does this" }
    : { ...finding, outcome: "rewritten", because: row?.does ?? "the op is gone" };
}
