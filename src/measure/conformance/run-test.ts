import { createEngine, hasThreads } from "../../engine/create.ts";
import type { Engine } from "../../engine/engine.ts";
import { runFunction } from "../../engine/run-function.ts";
import { prepareRun } from "../../files/prepare-run.ts";
import type { PreparedRun } from "../../files/prepare-run.ts";
import type { MilFunction } from "../../mil/program.ts";
import { RECURRENT } from "../../mil/ops/recurrent.ts";
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
      const outcome = failed ?? (await this.#runOn(name, prepared, test).catch(outcomeOf));
      onEnd(name, outcome);
    }
  }

  async #runOn(
    name: string,
    prepared: readonly PreparedRun[],
    test: LoadedTest | undefined,
  ): Promise<Outcome> {
    const { dataSets = [], expectsExact = false } = test ?? {};
    const bound = prepared.flatMap((run) => run.bound);
    let fallback: string | undefined;
    for (const [index, run] of prepared.entries()) {
      const dataSet = dataSets[index];
      if (dataSet === undefined) continue;
      const wanted = expectsExact ? inHalf(dataSet, run.fn) : dataSet;
      const problem = name.startsWith(ORACLE_PREFIX)
        ? await runExported(run, wanted)
        : compared(
            wanted,
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
    const engine =
      this.#engines.get(name) ?? (await createEngine(name, hasThreads(name) ? { threads: 1 } : {}));
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

/** Rounded results of recurrent ops come in again; as many roundings count at the end, older ones are forgotten. */
const RECURRENT_ROUNDINGS = 4;

/**
 * What roundings to fp16 make of exact results: the number that goes in and the one that comes out are off by half a
 * step each, 2^-11 of themselves, and a sum by half a step of its largest term.
 */
function inHalf(dataSet: DataSet, fn: MilFunction): DataSet {
  if (!computesHalf(fn)) return dataSet;
  const { absolute, relative, ofLargest } = dataSet.tolerance;
  const count = fn.operations.some(({ type }) => Object.hasOwn(RECURRENT, type))
    ? RECURRENT_ROUNDINGS
    : 1;
  const tolerance = {
    absolute,
    relative: Math.max(relative, count * 2 ** -10),
    ofLargest: Math.max(ofLargest, count * 2 ** -11),
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
