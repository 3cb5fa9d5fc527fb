import { didYouMean } from "../../../util/nearest.ts";
import { COMPILE_BUDGET, SURFACE_MINIMUM } from "../assumptions.ts";
import { EngineError } from "../../errors.ts";
import type { WeightFileWay } from "../weight-file-ways.ts";
import type { ObjcRuntime } from "./objc.ts";
import {
  COMPILATION_NAMES,
  COMPILATION_ROUTES,
  EVALUATION_NAMES,
  EVALUATION_ROUTES,
} from "./routes.ts";
import type { CompilationRoute, EvaluationRoute } from "./routes.ts";

/** What stands for the weights of a program that has none. */
export const NO_WEIGHTS = ["dictionary", "nil"] as const;
export type NoWeights = (typeof NO_WEIGHTS)[number];

/** Choices where sources disagree; a machine profile may make them. Absent: the best known. */
export interface InMemorySettings {
  /** Who compiles and loads: the in-memory model, or a client over a folder. `ANECDOTE_ANE_COMPILATION`. */
  readonly compilation?: CompilationRoute | undefined;
  /** Who evaluates. `ANECDOTE_ANE_EVALUATION`. */
  readonly evaluation?: EvaluationRoute | undefined;
  /** One size for all input surfaces of a program and one for all output surfaces. Default true. */
  readonly equalSizes?: boolean | undefined;
  /** Bytes of the smallest surface. Default 49152. */
  readonly minimumBytes?: number | undefined;
  /** What a program without weights is described with: an empty dictionary (default), or nothing. */
  readonly noWeights?: NoWeights | undefined;
  /** Default "one". */
  readonly weightFiles?: WeightFileWay | undefined;
  /** Programs that one process may compile. Default 100, or `ANECDOTE_ANE_COMPILE_BUDGET`. */
  readonly compileBudget?: number | undefined;
}

export interface Routes {
  readonly compilation: CompilationRoute;
  readonly evaluation: EvaluationRoute;
}

/** What the environment says. Throws `EngineError` `engine.ane.route` or `engine.ane.budget` for what it cannot mean. */
export function inMemoryEnvironment(): InMemorySettings {
  const compilation = named("ANECDOTE_ANE_COMPILATION", COMPILATION_NAMES);
  const evaluation = named("ANECDOTE_ANE_EVALUATION", EVALUATION_NAMES);
  const compileBudget = budgetFromEnvironment();
  return {
    ...(compilation !== undefined && { compilation }),
    ...(evaluation !== undefined && { evaluation }),
    ...(compileBudget !== undefined && { compileBudget }),
  };
}

export function surfaceRules({ equalSizes, minimumBytes }: InMemorySettings) {
  return { minimumBytes: minimumBytes ?? SURFACE_MINIMUM, equalSizes: equalSizes ?? true };
}

export function compileBudgetOf({ compileBudget }: InMemorySettings): number {
  return compileBudget ?? COMPILE_BUDGET;
}

/**
 * The ways that are asked for, or the best known ones that this system has. Throws `EngineError`:
 * `engine.ane.symbols` for a way that the system lacks, `engine.ane.route` for two that do not go together.
 */
export function chooseRoutes(objc: ObjcRuntime, asked: InMemorySettings): Routes {
  const compilation = firstPresent(
    objc,
    asked.compilation === undefined ? COMPILATION_NAMES : [asked.compilation],
    (name) => COMPILATION_ROUTES[name],
  );
  if (
    asked.evaluation !== undefined &&
    !EVALUATION_ROUTES[asked.evaluation].compiledBy.includes(compilation)
  ) {
    throw new EngineError(
      "engine.ane.route",
      `evaluation by "${asked.evaluation}" takes no program that was compiled by "${compilation}"`,
      {
        remedy: `It takes those compiled by ${EVALUATION_ROUTES[asked.evaluation].compiledBy.join(", ")}: see ANECDOTE_ANE_COMPILATION.`,
      },
    );
  }
  const evaluation = firstPresent(
    objc,
    asked.evaluation === undefined
      ? EVALUATION_NAMES.filter((name) => EVALUATION_ROUTES[name].compiledBy.includes(compilation))
      : [asked.evaluation],
    (name) => EVALUATION_ROUTES[name],
  );
  return { compilation, evaluation };
}

function firstPresent<Name extends string>(
  objc: ObjcRuntime,
  names: readonly Name[],
  rowOf: (name: Name) => (typeof EVALUATION_ROUTES)["model"] | (typeof COMPILATION_ROUTES)["model"],
): Name {
  const missing: string[] = [];
  for (const name of names) {
    const lacks = objc.missing(rowOf(name).selectors);
    if (lacks.length === 0) return name;
    missing.push(...lacks);
  }
  throw objc.lacking(missing);
}

function named<Name extends string>(variable: string, names: readonly Name[]): Name | undefined {
  const text = process.env[variable];
  if (text === undefined || text === "") return undefined;
  const found = names.find((name) => name === text);
  if (found !== undefined) return found;
  throw new EngineError(
    "engine.ane.route",
    `${variable} names no way into the engine: "${text}".${didYouMean(text, names)}`,
    { remedy: `Ways: ${names.join(", ")}.` },
  );
}

function budgetFromEnvironment(): number | undefined {
  const text = process.env["ANECDOTE_ANE_COMPILE_BUDGET"];
  if (text === undefined || text === "") return undefined;
  const budget = Number(text);
  if (Number.isInteger(budget) && budget > 0) return budget;
  throw new EngineError(
    "engine.ane.budget",
    `ANECDOTE_ANE_COMPILE_BUDGET must be a whole number above 0, not "${text}"`,
  );
}
