import { createEngine } from "../../engine/create.ts";
import type { Engine } from "../../engine/engine.ts";
import { runFunction } from "../../engine/run-function.ts";
import { prepareRun } from "../../files/prepare-run.ts";
import type { PreparedRun } from "../../files/prepare-run.ts";
import type { MilFunction } from "../../mil/program.ts";
import { isFloat, staticShape } from "../../mil/types.ts";
import { roundToFloat16 } from "../../util/float16.ts";
import { AnecdoteError, messageOf } from "../../util/errors.ts";
import { asHalf } from "./as-half.ts";
import { compared, EXACT, HALF } from "./compare.ts";
import type { ActualTensor } from "./compare.ts";
import { ORACLE_PREFIX, runExported } from "./oracles.ts";
import type { Job, Outcome } from "./outcome.ts";
import { loadTest } from "./suite.ts";
import type { DataSet, LoadedTest } from "./conformance-test.ts";
import { isSimulated } from "../../chip/simulated.ts";

/** Engines by name, each made once and kept for all tests of a process. */
export class TestRunner {
  readonly #engines = new Map<string, Engine>();

  /** Runs a test on each engine of a job; never throws for what a test does. */
  async run(job: Job, onEnd: (engine: string, outcome: Outcome) => void): Promise<void> {
    let test: LoadedTest | undefined;
    let failed: Outcome | undefined;
    const prepared: PreparedRun[] = [];
    try {
      test = loadTest(job.folder, job.layout, job.id);
      for (const { arrays } of test.dataSets) {
        const { path, bindsConstants } = test;
        prepared.push(prepareRun({ path, arrays, bindsConstants, castsArrays: true }));
      }
    } catch (error) {
      failed = outcomeOf(error);
    }
    for (const name of job.engines) {
      const outcome =
        failed ?? (await this.#runOn(name, prepared, test?.dataSets ?? []).catch(outcomeOf));
      onEnd(name, outcome);
    }
  }

  async #runOn(
    name: string,
    prepared: readonly PreparedRun[],
    dataSets: readonly DataSet[],
  ): Promise<Outcome> {
    const bound = prepared.flatMap((run) => run.bound);
    let fallback: string | undefined;
    for (const [index, run] of prepared.entries()) {
      const dataSet = dataSets[index];
      if (dataSet === undefined) continue;
      const problem = name.startsWith(ORACLE_PREFIX)
        ? await runExported(run, computesHalf(run.fn) ? inHalf(dataSet) : dataSet)
        : compared(
            computesHalf(run.fn) ? inHalf(dataSet) : dataSet,
            await this.#results(name, run, (reason) => (fallback = reason)),
            isSimulated(name) || name === "ane" ? HALF : EXACT,
          );
      if (problem !== undefined && !(await this.#isLimitOfHalf(name, run))) {
        return {
          result: "wrong",
          reason: problem,
          ...withBound(bound),
          ...(fallback && { fallback }),
        };
      }
    }
    return { result: "passed", ...withBound(bound), ...(fallback && { fallback }) };
  }

  /** Whether an engine of fp16 gives what the program gives where all of it is fp16. */
  async #isLimitOfHalf(name: string, run: PreparedRun): Promise<boolean> {
    if (!isHalf(name)) return false;
    const dataSet = await this.#halfExpectation(run);
    if (dataSet === undefined) return false;
    const results = await this.#results(name, run, () => undefined);
    return compared(dataSet, results, HALF) === undefined;
  }

  async #halfExpectation({ fn, inputs }: PreparedRun): Promise<DataSet | undefined> {
    const rounded = Object.fromEntries(
      Object.entries(inputs).map(([name, numbers]) => [name, Array.from(numbers)]),
    );
    const half = asHalf(fn);
    // An input beyond fp16 is an infinity there.
    for (const { name, type } of half.inputs)
      if (type.kind === "tensor" && type.dataType === "fp16")
        rounded[name] = (rounded[name] ?? []).map(roundToFloat16);
    try {
      const results = await this.#results(
        "reference",
        { fn: half, inputs: rounded, bound: [] },
        () => undefined,
      );
      const expected = [...results.values()].map(({ type, numbers }) => ({
        kind: isFloat(type.dataType) ? ("float" as const) : ("integer" as const),
        shape: staticShape(type),
        numbers: Float64Array.from(numbers),
      }));
      return {
        arrays: new Map(),
        expected,
        tolerance: { absolute: 1e-3, relative: 0, ofLargest: 0 },
      };
    } catch (error) {
      // A program that says fp32 somewhere we did not look has no such form.
      if (error instanceof AnecdoteError) return undefined;
      throw error;
    }
  }

  async #results(
    name: string,
    { fn, inputs }: PreparedRun,
    onFallback: (reason: string) => void,
  ): Promise<ReadonlyMap<string, ActualTensor>> {
    const engine = this.#engines.get(name) ?? (await createEngine(name, { threads: 1 }));
    this.#engines.set(name, engine);
    const results = await runFunction(engine, fn, inputs, { onFallback });
    return new Map(
      [...results].map(([output, result]) => [
        output,
        { type: result.type, numbers: result.toFloat64Array() },
      ]),
    );
  }
}

/** Whether a program has fp16 values of its own. */
function computesHalf(fn: MilFunction): boolean {
  return fn.operations.some(({ outputs }) =>
    outputs.some(({ type }) => type.kind === "tensor" && type.dataType === "fp16"),
  );
}

/** Some steps of fp16 more: suites expect what exact arithmetic, or another order of it, gives. */
function inHalf(dataSet: DataSet): DataSet {
  const { absolute, relative, ofLargest } = dataSet.tolerance;
  const tolerance = {
    absolute,
    relative: Math.max(relative, 5e-3),
    ofLargest: Math.max(ofLargest, 2e-3),
  };
  return { ...dataSet, tolerance };
}

const isHalf = (engine: string): boolean => engine.startsWith("sim:") || engine === "ane";

const withBound = (bound: readonly string[]) =>
  bound.length > 0 ? { bound: [...new Set(bound)] } : {};

function outcomeOf(error: unknown): Outcome {
  if (error instanceof AnecdoteError)
    return { result: "refused", code: error.code, reason: error.message };
  const reason = error instanceof Error ? (error.stack ?? error.message) : messageOf(error);
  return { result: "crashed", reason };
}
