import { existsSync, readFileSync } from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { chipByName, findChip } from "../../chip/chips.ts";
import type { Chip, Driver } from "../../chip/chip.ts";
import { optionalFunction } from "../../ffi/foreign.ts";
import { findLibrary, identifyMachine } from "../../engine/ane/probe.ts";
import { chooseDriver } from "../../chip/choose-driver.ts";
import { createEngine, engineOptions } from "../../engine/create.ts";
import type { Engine } from "../../engine/engine.ts";
import { findGpuDevices, isSoftware } from "../../engine/gpu/index.ts";
import { isBudgetSpent } from "../../engine/host/compile-budget.ts";
import type { Rail } from "../../util/energy.ts";
import { messageOf } from "../../util/errors.ts";
import { didYouMean } from "../../util/nearest.ts";
import { VERSION } from "../../util/version.ts";
import { SUITE_NAMES } from "./case.ts";
import type { BenchCase, CasePlan, SuiteName } from "./case.ts";
import { MeasureError } from "../errors.ts";
import { endsEverything, FULL_PROTOCOL, measureGroup, QUICK_PROTOCOL } from "./measure-case.ts";
import type { Outcome, PowerProbe, Protocol } from "./measure-case.ts";
import { openPowerProbe } from "./power-probe.ts";
import { buildPlaceholder, predict, refusalOf } from "./predict.ts";
import { publishedFor } from "./published.ts";
import { contributedRows, parseReport, REPORT_SCHEMA } from "./report.ts";
import type { CaseResult, EngineReport, ReportKind } from "./report.ts";
import { allCases } from "./suites.ts";
import { writeReport, REPORT_FILE } from "./write-report.ts";
import { simulatedChip, simulatedName } from "../../chip/simulated.ts";
import { grouped } from "../../util/grouped.ts";

/** What is measured, on which engine, for how long. */
export interface BenchOptions {
  /** As `--engine` takes it. "sim:<chip>" predicts and runs nothing. */
  readonly engine: string;
  readonly driver?: Driver | undefined;
  readonly threads?: number | undefined;
  /** Whose published rows and predictions stand beside an engine that is not a chip's. Default "m4". */
  readonly chip?: string | undefined;
  /** Default: all. */
  readonly suites?: readonly string[] | undefined;
  /** Only cases whose id contains one of these. */
  readonly only?: readonly string[] | undefined;
  readonly isQuick: boolean;
  /** Milliseconds of timed runs a case. */
  readonly budgetMs?: number | undefined;
  readonly outputFolder?: string | undefined;
  readonly resume: boolean;
  /** Of an earlier run, what failed or was wrong is kept too, not tried again. */
  readonly keepsFailures?: boolean;
  readonly overwrite: boolean;
  /** Default: what openPowerProbe finds, for an engine with a rail of its own. */
  readonly power?: PowerProbe | undefined;
  /** Asked between runs; true ends the measurement with what there is. */
  readonly isCancelled: () => boolean;
  /** Cases done, cases in all, what is going on. */
  readonly onProgress: (done: number, total: number, text: string) => void;
  /** Hears each case as soon as it is measured. */
  readonly onResult: (result: CaseResult) => void;
  /** This process may compile no more programs: a new one goes on with what is left. Default: those cases fail. */
  readonly onBudgetSpent?: () => void;
}

/** Products that an engine gets in one call at most: above, ten warm-up runs take minutes. */
const FLOP_LIMITS: Readonly<Record<string, number>> = {
  cpu: 2e10,
  "gpu in software": 2e8,
  reference: 2e6,
  "test-double": 4e7,
};
/** Whose power is whose. */
const RAIL_OF: Readonly<Record<string, Rail>> = { ane: "ane", cpu: "cpu", gpu: "gpu" };
/** Bytes of a case without products on a test double, whose arithmetic is the simulator's: seconds a call above. */
const DOUBLE_BYTE_LIMIT = 16 << 20;
const QUICK_FRACTION = 0.25;
/** Share of the machine's memory that one case may need. */
const MEMORY_SHARE = 0.5;

/** The cases that suites, names and `--quick` choose. Throws `MeasureError` for unknown ones, with the nearest. */
export function selectCases({
  suites,
  only,
  isQuick,
}: Pick<BenchOptions, "suites" | "only" | "isQuick">): readonly BenchCase[] {
  const wanted = new Set<SuiteName>();
  for (const name of suites ?? []) {
    const known = SUITE_NAMES.find((suite) => suite === name);
    if (known === undefined) {
      throw new MeasureError(
        "measure.suite",
        `there is no suite "${name}".${didYouMean(name, SUITE_NAMES)}`,
        { remedy: `Suites: ${SUITE_NAMES.join(", ")}.` },
      );
    }
    wanted.add(known);
  }
  const inSuites = allCases().filter(({ suite }) => wanted.size === 0 || wanted.has(suite));
  const chosen = inSuites.filter(
    ({ id, isQuick: isPart }) =>
      (isPart || !isQuick) && (only === undefined || only.some((text) => id.includes(text))),
  );
  if (chosen.length === 0) {
    const ids = inSuites.map(({ id }) => id);
    throw new MeasureError(
      "measure.case",
      `no case${isQuick ? " of --quick" : ""} has "${only?.join('", "') ?? ""}" in its name.${didYouMean(only?.[0] ?? "", ids)}`,
      { remedy: "`anecdote bench engine --list` names them all." },
    );
  }
  return chosen;
}

/** Measures, or predicts, the chosen cases. A report of an interrupted run says `complete: false`. */
export async function runBench(options: BenchOptions): Promise<EngineReport> {
  const cases = selectCases(options);
  const chip = simulatedChip(options.engine);
  const session = chip === undefined ? await openSession(options) : predictedSession(chip, options);
  try {
    return await new Bench(options, cases, session, await machineRecord()).run();
  } finally {
    session.power?.close();
    await session.engine?.close();
  }
}

interface Session {
  readonly power?: PowerProbe | undefined;
  /** Why there is no power meter. */
  readonly powerReason?: string | undefined;
  readonly kind: ReportKind;
  readonly engine: Engine | undefined;
  readonly chip: Chip;
  readonly driver: Driver | undefined;
  readonly record: EngineReport["engine"];
  readonly flopLimit: number;
}

function predictedSession(chip: Chip, { driver: given }: BenchOptions): Session {
  const driver = chooseDriver(given);
  const runtime = `cost model of anecdote ${VERSION}`;
  const record = { name: simulatedName(chip), device: `${chip.name} (predicted)`, runtime, driver };
  return { kind: "predicted", engine: undefined, chip, driver, record, flopLimit: Infinity };
}

async function openSession(options: BenchOptions): Promise<Session> {
  const engine = await createEngine(options.engine, engineOptions(options));
  const { name, device, runtime, threads } = engine.description;
  const isEngine = name === "ane";
  const driver = isEngine ? chooseDriver(options.driver) : undefined;
  const kind = isEngine && isDouble() ? "test-double" : "measured";
  const ownChip = isEngine ? findChip(device.replace(/ \(.*$/, "")) : undefined;
  const rail = RAIL_OF[name];
  const metered =
    kind === "measured" && rail !== undefined && options.power === undefined
      ? await openPowerProbe(rail)
      : { probe: options.power, reason: "only read for engines with a rail of their own" };
  const isPlayed = name === "gpu" && isSoftware(findGpuDevices());
  const limit =
    FLOP_LIMITS[kind === "test-double" ? kind : isPlayed ? "gpu in software" : name] ?? Infinity;
  return {
    kind,
    power: metered.probe,
    powerReason: metered.probe === undefined ? metered.reason : undefined,
    engine,
    driver,
    chip: ownChip ?? chipByName(options.chip ?? "m4"),
    record: { name, device, runtime, threads, ...(driver !== undefined && { driver }) },
    flopLimit: options.isQuick ? limit * QUICK_FRACTION : limit,
  };
}

/** A library that is lent arithmetic has no engine of its own. */
function isDouble(): boolean {
  const { isNamed, path } = findLibrary();
  return isNamed && optionalFunction(path, "void anecdote_set_evaluator(void *)") !== undefined;
}

async function machineRecord(): Promise<EngineReport["machine"]> {
  const { processor, cores, memoryBytes, model, architecture, system } = await identifyMachine();
  const build = system.build === undefined ? "" : ` (${system.build})`;
  return {
    system: system.name,
    release: `${system.version ?? "unknown version"}${build}`,
    architecture,
    processor,
    ...(model !== undefined && { model }),
    cores,
    memory_bytes: memoryBytes,
    node: process.version,
  };
}

class Bench {
  readonly #options: BenchOptions;
  readonly #cases: readonly BenchCase[];
  readonly #session: Session;
  readonly #protocol: Protocol;
  readonly #results = new Map<string, CaseResult>();
  /** Cases that this process ran. */
  #measuredHere = 0;
  readonly #machine: EngineReport["machine"];
  readonly #created = new Date().toISOString();

  constructor(
    options: BenchOptions,
    cases: readonly BenchCase[],
    session: Session,
    machine: EngineReport["machine"],
  ) {
    this.#machine = machine;
    this.#options = options;
    this.#cases = cases;
    this.#session = session;
    const protocol = options.isQuick ? QUICK_PROTOCOL : FULL_PROTOCOL;
    this.#protocol = {
      ...protocol,
      ...(options.budgetMs !== undefined && { budgetMs: options.budgetMs }),
    };
  }

  async run(): Promise<EngineReport> {
    this.#takeUp();
    const open = this.#cases.filter(({ id }) => !this.#results.has(id));
    const groups = grouped(open, ({ suite, group }) => `${suite} ${group}`);
    for (const group of groups.values()) {
      if (this.#options.isCancelled()) break;
      if ((await this.#runGroup(group)) === "budget-spent") {
        this.#options.onBudgetSpent?.();
        break;
      }
      // What is predicted is soon predicted again.
      if (this.#session.engine !== undefined) this.#save();
      // The event loop sees signals between groups, a prediction included.
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
    this.#save();
    return this.#report();
  }

  /** Results of an earlier run of the same kind. */
  #takeUp(): void {
    const { outputFolder, resume, overwrite, keepsFailures = false } = this.#options;
    if (outputFolder === undefined) return;
    const path = join(outputFolder, REPORT_FILE);
    if (!existsSync(path)) return;
    const earlier = resume || !overwrite ? readReport(path) : undefined;
    if (earlier === undefined) return;
    if (!resume) {
      throw new MeasureError("measure.exists", `${path} holds ${earlier.cases.length} results`, {
        remedy: "Go on with --resume, replace it with --overwrite, or choose another folder.",
      });
    }
    this.#checkSame(path, earlier);
    const known = new Set(this.#cases.map(({ id }) => id));
    for (const result of earlier.cases) {
      const isFinal = keepsFailures || (result.status !== "failed" && result.status !== "wrong");
      if (isFinal && known.has(result.id)) this.#results.set(result.id, result);
    }
  }

  #checkSame(path: string, earlier: EngineReport): void {
    const { record, kind } = this.#session;
    const pairs = [
      ["kind", earlier.kind, kind],
      ["engine", earlier.engine.name, record.name],
      ["device", earlier.engine.device, record.device],
      ["driver", earlier.engine.driver, record.driver],
      ["--quick", earlier.protocol.quick, this.#options.isQuick],
    ] as const;
    for (const [what, then, now] of pairs) {
      if (then === now) continue;
      throw new MeasureError(
        "measure.resume",
        `${path} is of another run: ${what} was ${then ?? "none"}, now it is ${now ?? "none"}`,
        { remedy: "Choose another --output-dir." },
      );
    }
  }

  async #runGroup(group: readonly BenchCase[]): Promise<"budget-spent" | undefined> {
    const { engine, driver, chip } = this.#session;
    const ready: BenchCase[] = [];
    for (const benchCase of group) {
      this.#progress(benchCase.title);
      const early = this.#withoutRunning(benchCase);
      if (early === undefined) ready.push(benchCase);
      else this.#keep(benchCase, early);
    }
    if (ready.length === 0) return undefined;
    if (engine === undefined) {
      for (const benchCase of ready) this.#keep(benchCase, { status: "predicted" });
      return undefined;
    }
    try {
      const outcomes = await measureGroup(ready, {
        engine,
        build: { dataType: "fp32", constants: "numbers", readsResults: driver === undefined },
        protocol: this.#protocol,
        power: this.#session.power,
        isCancelled: this.#options.isCancelled,
        // What is too much for a new process too fails.
        keepsBudgetErrors: this.#measuredHere === 0 || this.#options.onBudgetSpent === undefined,
        onProgress: (text) => this.#progress(text),
      });
      this.#measuredHere += outcomes?.size ?? 0;
      for (const benchCase of ready) {
        const outcome = outcomes?.get(benchCase.id);
        if (outcome !== undefined) this.#keep(benchCase, outcome);
      }
      return undefined;
    } catch (error) {
      if (isBudgetSpent(error)) return "budget-spent";
      if (!endsEverything(error)) throw error;
      for (const benchCase of ready)
        this.#keep(benchCase, { status: "failed", reason: messageOf(error) });
      this.#save();
      throw new MeasureError(
        "measure.hang",
        `${chip.name} stopped answering in ${ready[0]?.id ?? "a case"}: ${messageOf(error)}`,
        { remedy: "What was measured before is kept; go on with --resume.", cause: error },
      );
    }
  }

  /** What can be told of a case before anything runs: refused by the chip, or too large. */
  #withoutRunning(benchCase: BenchCase): (Outcome & Partial<CaseResult>) | undefined {
    const { chip, driver, flopLimit, engine, kind } = this.#session;
    const { memoryBytes } = benchCase;
    if (driver !== undefined) {
      const refusal = refusalOf(this.#placeholder(benchCase), chip, driver, {
        hostIsFine: benchCase.shape === undefined,
      });
      if (refusal !== undefined) {
        const { rule, reason, source } = refusal;
        return { status: "refused", reason, rule, rule_source: source };
      }
    }
    if (benchCase.flops > flopLimit) {
      return {
        status: "skipped",
        reason: `${(benchCase.flops / 1e9).toPrecision(3)} GFLOP a call, this engine gets at most ${flopLimit / 1e9} GFLOP`,
      };
    }
    if (kind === "test-double" && benchCase.flops === 0 && memoryBytes > DOUBLE_BYTE_LIMIT) {
      return {
        status: "skipped",
        reason: `about ${mebibytes(memoryBytes)} MiB, a test double gets at most ${mebibytes(DOUBLE_BYTE_LIMIT)} MiB`,
      };
    }
    const memoryLimit = os.totalmem() * MEMORY_SHARE;
    if (engine !== undefined && memoryBytes > memoryLimit) {
      const gibibytes = (bytes: number): string => (bytes / 2 ** 30).toPrecision(3);
      return {
        status: "skipped",
        reason: `needs about ${gibibytes(memoryBytes)} GiB, at most ${gibibytes(memoryLimit)} GiB are taken`,
      };
    }
    return undefined;
  }

  #keep(benchCase: BenchCase, outcome: Outcome & Partial<CaseResult>): void {
    const { chip, driver = chooseDriver(this.#options.driver) } = this.#session;
    const { id, suite, title, dispatches, hostCopies, flops, weightBytes } = benchCase;
    const { ms, joules, watts, boundBy } = predict(benchCase, chip, driver, () =>
      this.#placeholder(benchCase),
    );
    const result: CaseResult = {
      id,
      suite,
      title,
      dispatches,
      host_copies: hostCopies,
      flops,
      weight_bytes: weightBytes,
      predicted: { ms, joules, watts, bound_by: boundBy },
      published: [...publishedFor(benchCase)],
      ...outcome,
    };
    this.#results.set(id, result);
    this.#options.onResult(result);
  }

  /** The last case's plan without numbers: refusal and prediction ask for it in turn. */
  #placeholder(benchCase: BenchCase): CasePlan {
    if (this.#built?.benchCase !== benchCase)
      this.#built = { benchCase, plan: buildPlaceholder(benchCase) };
    return this.#built.plan;
  }

  #built: { readonly benchCase: BenchCase; readonly plan: CasePlan } | undefined;

  #progress(text: string): void {
    this.#options.onProgress(this.#results.size, this.#cases.length, text);
  }

  #save(): void {
    const { outputFolder } = this.#options;
    if (outputFolder !== undefined) writeReport(outputFolder, this.#report());
  }

  #report(): EngineReport {
    const { record, kind, chip } = this.#session;
    const { isQuick } = this.#options;
    const { warmUpRuns, budgetMs, minimumRuns } = this.#protocol;
    const results = this.#cases.flatMap(({ id }) => this.#results.get(id) ?? []);
    const report: Omit<EngineReport, "rows"> = {
      schema: REPORT_SCHEMA,
      kind,
      complete: results.length === this.#cases.length,
      created: this.#created,
      anecdote: VERSION,
      engine: record,
      chip: chip.name,
      machine: this.#machine,
      ...(this.#session.power !== undefined && { power: { meter: this.#session.power.source } }),
      ...(this.#session.powerReason !== undefined && {
        power: { unavailable: this.#session.powerReason },
      }),
      protocol: {
        quick: isQuick,
        warm_up_runs: warmUpRuns,
        budget_ms: budgetMs,
        minimum_runs: minimumRuns,
        suites: [...new Set(this.#cases.map(({ suite }) => suite))],
      },
      cases: results,
    };
    const byId = new Map(this.#cases.map((benchCase) => [benchCase.id, benchCase]));
    return { ...report, rows: contributedRows(report, byId).map((row) => ({ ...row })) };
  }
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toPrecision(3);
}

function readReport(path: string): EngineReport {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new MeasureError("measure.report", `${path}: ${messageOf(error)}`, {
      remedy: "Choose another --output-dir, or remove the file.",
    });
  }
  return parseReport(json, path);
}
