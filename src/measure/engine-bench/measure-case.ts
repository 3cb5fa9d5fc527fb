import { isBudgetSpent } from "../../engine/host/compile-budget.ts";
import { EngineError } from "../../engine/errors.ts";
import type { Engine, LoadedPlan } from "../../engine/engine.ts";
import { float16Value } from "../../util/float16.ts";
import { AnecdoteError, messageOf } from "../../util/errors.ts";
import type { BenchCase, BuildOptions, CasePlan } from "./case.ts";
import { expectedSamples, relativeError, toleranceOf } from "./expected.ts";
import type { CaseResult } from "./report.ts";
import { timingOf } from "./statistics.ts";

export interface Protocol {
  readonly warmUpRuns: number;
  /** Time that the timed runs of one case may take, after the least number of runs. */
  readonly budgetMs: number;
  readonly minimumRuns: number;
  readonly maximumRuns: number;
}

export const FULL_PROTOCOL: Protocol = {
  warmUpRuns: 10,
  budgetMs: 1000,
  minimumRuns: 20,
  maximumRuns: 2000,
};
export const QUICK_PROTOCOL: Protocol = {
  warmUpRuns: 10,
  budgetMs: 150,
  minimumRuns: 5,
  maximumRuns: 500,
};

/** A meter reads some times a second: peak cases run so long where there is one. */
const METERED_BUDGET_MS = 3000;

/** Reads power while something runs. */
export interface PowerProbe {
  readonly source: string;
  /** Begins a span. */
  start(): void;
  /** Mean watts of the engine's rail since `start`; nothing where the meter gave no sample. */
  stop(): number | undefined;
  /** Ends the meter's process. */
  close(): void;
}

export interface MeasureContext {
  readonly engine: Engine;
  readonly build: BuildOptions;
  readonly protocol: Protocol;
  readonly power?: PowerProbe | undefined;
  /** Asked between runs. */
  readonly isCancelled: () => boolean;
  /** A case whose programs are more than this process may still compile fails; otherwise that is thrown. */
  readonly keepsBudgetErrors?: boolean;
  readonly onProgress: (text: string) => void;
}

/** What measuring adds to a case's record. */
export type Outcome = Pick<
  CaseResult,
  "status" | "reason" | "timing" | "outputs" | "power_watts" | "power_source"
>;

interface Contestant {
  readonly benchCase: BenchCase;
  readonly plan: CasePlan;
  readonly loaded: LoadedPlan;
  readonly prepareMs: number;
  readonly firstRunMs: number;
  readonly samplesMs: number[];
  outcome: Outcome | undefined;
}

/** After such an error nothing of the engine can be trusted. */
export function endsEverything(error: unknown): boolean {
  return error instanceof EngineError && error.code === "engine.ane.timeout";
}

/**
 * Measures the cases of one group, taking turns run by run. A case that fails does not stop the others; a hang
 * of the engine is thrown, and so is the end of what the process may compile. Returns nothing where it was cancelled.
 */
export async function measureGroup(
  cases: readonly BenchCase[],
  context: MeasureContext,
): Promise<ReadonlyMap<string, Outcome> | undefined> {
  const outcomes = new Map<string, Outcome>();
  const contestants: Contestant[] = [];
  const keep = (benchCase: BenchCase, error: unknown): void => {
    if (endsEverything(error)) throw error;
    if (isBudgetSpent(error) && context.keepsBudgetErrors !== true) throw error;
    outcomes.set(benchCase.id, failure(error));
  };
  try {
    for (const benchCase of cases) {
      if (context.isCancelled()) return undefined;
      context.onProgress(`preparing ${benchCase.title}`);
      try {
        contestants.push(await prepare(benchCase, context));
      } catch (error) {
        keep(benchCase, error);
      }
    }
    const running = contestants.filter((contestant) => {
      if (contestant.outcome !== undefined)
        outcomes.set(contestant.benchCase.id, contestant.outcome);
      return contestant.outcome === undefined;
    });
    // Power of cases that take turns belongs to none of them.
    const power = running.length === 1 ? context.power : undefined;
    power?.start();
    let watts: number | undefined;
    let isDone = false;
    try {
      const { budgetMs } = context.protocol;
      const isMetered = power !== undefined && cases[0]?.suite === "peak";
      const budget = isMetered ? Math.max(budgetMs, METERED_BUDGET_MS) : budgetMs;
      isDone = await takeTurns(running, context, budget, keep);
    } finally {
      watts = power?.stop();
    }
    if (!isDone) return undefined;
    for (const contestant of running) {
      if (outcomes.has(contestant.benchCase.id)) continue;
      try {
        outcomes.set(contestant.benchCase.id, await conclude(contestant, watts, power?.source));
      } catch (error) {
        keep(contestant.benchCase, error);
      }
    }
    return outcomes;
  } finally {
    for (const { loaded } of contestants) await loaded.close();
  }
}

/** Ops that an engine does not have: its own rules, not a failure. */
const REFUSALS = /^(engine\.refused|onnx\.)/;

function failure(error: unknown): Outcome {
  const isRefusal = error instanceof AnecdoteError && REFUSALS.test(error.code);
  return { status: isRefusal ? "refused" : "failed", reason: messageOf(error) };
}

async function prepare(benchCase: BenchCase, context: MeasureContext): Promise<Contestant> {
  const startedMs = performance.now();
  const plan = benchCase.build(context.build);
  const loaded = await context.engine.load(plan.plan);
  try {
    plan.fill(loaded);
    for (const section of new Set([...plan.time, ...plan.check])) await loaded.prepare(section);
    const prepareMs = performance.now() - startedMs;
    const firstMs = performance.now();
    await runAll(loaded, plan.time);
    const firstRunMs = performance.now() - firstMs;
    for (let run = 1; run < context.protocol.warmUpRuns && !context.isCancelled(); run++)
      await runAll(loaded, plan.time);
    const contestant: Contestant = {
      benchCase,
      plan,
      loaded,
      prepareMs,
      firstRunMs,
      samplesMs: [],
      outcome: undefined,
    };
    // Wrong results are found before time is spent on them.
    await runAll(loaded, plan.check);
    const outputs = checkOutputs(contestant);
    if (outputs.problem !== undefined)
      contestant.outcome = { status: "wrong", reason: outputs.problem, outputs: outputs.outputs };
    return contestant;
  } catch (error) {
    await loaded.close();
    throw error;
  }
}

async function runAll(loaded: LoadedPlan, sections: readonly string[]): Promise<void> {
  for (const section of sections) await loaded.run(section);
}

/** False where it was cancelled. */
async function takeTurns(
  contestants: readonly Contestant[],
  context: MeasureContext,
  budgetMs: number,
  keep: (benchCase: BenchCase, error: unknown) => void,
): Promise<boolean> {
  const { minimumRuns, maximumRuns } = context.protocol;
  const spent = new Map<Contestant, number>();
  let active = [...contestants];
  for (let run = 0; active.length > 0; run++) {
    const next: Contestant[] = [];
    for (const contestant of active) {
      if (context.isCancelled()) return false;
      const { loaded, plan, samplesMs, benchCase } = contestant;
      try {
        const startedMs = performance.now();
        await runAll(loaded, plan.time);
        const elapsedMs = performance.now() - startedMs;
        samplesMs.push(elapsedMs);
        const total = (spent.get(contestant) ?? 0) + elapsedMs;
        spent.set(contestant, total);
        const isEnough = samplesMs.length >= minimumRuns && total >= budgetMs;
        if (!isEnough && samplesMs.length < maximumRuns) next.push(contestant);
        if (run % 16 === 0) context.onProgress(`${benchCase.title}: ${samplesMs.length} runs`);
      } catch (error) {
        keep(benchCase, error);
      }
    }
    active = next;
  }
  return true;
}

async function conclude(
  contestant: Contestant,
  watts: number | undefined,
  powerSource: string | undefined,
): Promise<Outcome> {
  const { loaded, plan, samplesMs, prepareMs, firstRunMs } = contestant;
  await runAll(loaded, plan.check);
  const { outputs, problem } = checkOutputs(contestant);
  if (problem !== undefined) return { status: "wrong", reason: problem, outputs };
  return {
    status: "measured",
    timing: { ...timingOf(samplesMs), prepare_ms: prepareMs, first_run_ms: firstRunMs },
    outputs,
    ...(watts !== undefined &&
      powerSource !== undefined && { power_watts: watts, power_source: powerSource }),
  };
}

interface CheckedOutputs {
  readonly outputs: NonNullable<CaseResult["outputs"]>;
  readonly problem: string | undefined;
}

/** So that nobody publishes the rate of zeros. */
function checkOutputs({ benchCase, plan, loaded }: Contestant): CheckedOutputs {
  for (const name of plan.outputs) {
    const problem = numbersProblem(name, loaded);
    if (problem !== undefined) return { outputs: { check: "finite" }, problem };
  }
  const { shape } = benchCase;
  const [output] = plan.outputs;
  const expected = shape === undefined ? undefined : expectedSamples(shape);
  if (shape === undefined || output === undefined || expected === undefined)
    return { outputs: { check: "finite" }, problem: undefined };
  const error = relativeError(expected, reader(loaded, output));
  const tolerance = toleranceOf(shape);
  return {
    outputs: { check: "compared", relative_error: error, tolerance },
    problem:
      error <= tolerance
        ? undefined
        : `${expected.size} results differ from double precision by ${error.toPrecision(3)} of their size, at most ${tolerance} is allowed`,
  };
}

function reader(loaded: LoadedPlan, buffer: string): (index: number) => number {
  const view = loaded.view(buffer);
  return view instanceof Uint16Array
    ? (index) => float16Value(view[index] ?? 0)
    : (index) => view[index] ?? 0;
}

function numbersProblem(buffer: string, loaded: LoadedPlan): string | undefined {
  const { length } = loaded.view(buffer);
  const read = reader(loaded, buffer);
  let isAllZero = true;
  for (let index = 0; index < length; index++) {
    const value = read(index);
    if (!Number.isFinite(value)) return `"${buffer}" holds ${value} at ${index}`;
    if (value !== 0) isAllZero = false;
  }
  return isAllZero ? `all ${length} numbers of "${buffer}" are 0` : undefined;
}
