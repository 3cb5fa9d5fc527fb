import { formatDuration, formatMs } from "../util/format.ts";
import os from "node:os";
import type { Command } from "commander";
import type { Driver } from "../chip/chip.ts";
import { DRIVERS } from "../chip/chip.ts";
import {
  chooseChip,
  describeProfile,
  driverAvailability,
  findLibrary,
  hasNeuralEngine,
  identifyMachine,
  readMachineProfile,
  systemBuild,
} from "../engine/ane/probe.ts";
import { createEngine } from "../engine/create.ts";
import { EngineError } from "../engine/errors.ts";
import { measureStep } from "../train/index.ts";
import { GROUP_NAMES } from "../measure/self-test/outcome.ts";
import type { Group } from "../measure/self-test/outcome.ts";
import { saveReport } from "../measure/self-test/report.ts";
import type { SelfTestReport } from "../measure/self-test/report.ts";
import { runSelfTest } from "../measure/self-test/self-test.ts";
import type { SelfTestOptions } from "../measure/self-test/self-test.ts";
import { writeWholeFile } from "../util/atomic-file.ts";
import { messageOf } from "../util/errors.ts";
import { didYouMean } from "../util/nearest.ts";
import { VERSION } from "../util/version.ts";
import type { Exit } from "./exit.ts";
import { addDriverOption, namedDriver } from "./driver-option.ts";
import type { DriverFlags } from "./driver-option.ts";
import { EXIT_CODES, exitCodeOf, reportError, UsageError } from "./errors.ts";
import { STOP_SIGNALS } from "./interruptions.ts";
import { formatSelfTest } from "./self-test-table.ts";
import { StatusLine, styled, printJson } from "./terminal.ts";

interface Finding {
  readonly what: string;
  readonly state: "ok" | "missing" | "note";
  readonly detail: string;
}

function finding(what: string, state: Finding["state"], detail: string): Finding {
  return { what, state, detail };
}

interface DoctorFlags extends DriverFlags {
  readonly json?: boolean;
  readonly quick?: boolean;
  readonly thorough?: boolean;
  readonly group?: string;
  readonly fresh?: boolean;
  readonly report?: string;
  readonly timeLimit?: string;
  readonly totalTime?: string;
  readonly selfTest: boolean;
}

export function register(program: Command, exit: Exit): void {
  const command = program
    .command("doctor")
    .option("--json", "findings and the self-test's report as one JSON object")
    .option("--quick", "self-test: the few rules without which nothing works, in half a minute")
    .option("--thorough", "self-test: all rules, the ones that take long too")
    .option("--group <names>", `self-test: only these groups (${GROUP_NAMES.join(", ")})`)
    .option("--fresh", "self-test: ask anew what an earlier one of this machine answered")
    .option("--time-limit <seconds>", "self-test: what one rule may take at most")
    .option(
      "--total-time <seconds>",
      "self-test: what it may take in all (default: 170, without --thorough); the next one goes on where it stopped",
    )
    .option("--report <file>", "self-test: save the report, to attach it to an issue")
    .option("--no-self-test", "findings alone");
  addDriverOption(command)
    .addHelpText(
      "after",
      "\nExamples:\n  anecdote doctor --report doctor.json\n  anecdote doctor --quick --json\n\nNothing leaves this machine.",
    )
    .action(async (flags: DoctorFlags) => {
      const plan = selfTestPlan(flags);
      const isJson = flags.json === true;
      const findings: Finding[] = [];
      const status = new StatusLine();
      status.show("looking at this machine", true);
      for await (const finding of examine(plan.driver)) {
        findings.push(finding);
        status.clear();
        if (!isJson) printFinding(finding);
        if (finding.what === "neural engine") status.show("timing a step", true);
      }
      status.clear();
      const missesCpu = findings.some(
        ({ what, state }) => what === "cpu engine" && state === "missing",
      );
      exit(missesCpu ? EXIT_CODES.deviceUnavailable : EXIT_CODES.ok);
      const save = (contents: object): void => {
        if (flags.report === undefined) return;
        writeWholeFile(flags.report, `${JSON.stringify(contents, undefined, 2)}\n`);
        process.stderr.write(`The report is in ${flags.report}. Nothing was sent anywhere.\n`);
      };
      const known = { version: VERSION, findings };
      const wantsTest = flags.selfTest && (hasNeuralEngine() || isSelected(flags));
      // What is known stays where the self-test fails.
      if (!wantsTest || !hasNeuralEngine()) save(known);
      const report = wantsTest ? await selfTest(plan, isJson, exit) : undefined;
      if (report !== undefined) {
        saveReport(report);
        save({ ...report, findings });
      }
      if (isJson) printJson({ ...known, ...(report && { self_test: report }) });
      else if (report !== undefined) process.stdout.write(formatSelfTest(report, process.stdout));
    });
}

/** Flags that only a self-test has a use for: without an engine it says why there is none. */
function isSelected({ quick, thorough, group, fresh, timeLimit, totalTime }: DoctorFlags): boolean {
  return [quick, thorough, group, fresh, timeLimit, totalTime].some((flag) => flag !== undefined);
}

const MARKS = {
  ok: ["green", "ok     "],
  missing: ["red", "missing"],
  note: ["dim", "note   "],
} as const;

function printFinding({ what, state, detail }: Finding): void {
  const [style, mark] = MARKS[state];
  process.stdout.write(
    `${styled(process.stdout, style, mark)}  ${what.padEnd(14)} ${detail.replaceAll("\n", `\n${" ".repeat(24)}`)}\n`,
  );
}

/** Throws `UsageError` for flags that do not go together, groups nobody knows, and times that are none. */
function selfTestPlan(flags: DoctorFlags): SelfTestOptions {
  const { quick, thorough, group, fresh, timeLimit, totalTime } = flags;
  const idle = Object.entries({
    quick,
    thorough,
    group,
    fresh,
    "time-limit": timeLimit,
    "total-time": totalTime,
  }).find(([, value]) => value !== undefined);
  if (!flags.selfTest && idle !== undefined)
    throw new UsageError("cli.doctor.idle", `--${idle[0]} does nothing beside --no-self-test`);
  if (flags.quick === true && flags.thorough === true)
    throw new UsageError("cli.doctor.level", "--quick and --thorough exclude each other");
  const level = flags.quick === true ? "quick" : flags.thorough === true ? "thorough" : "default";
  const driver = namedDriver(flags);
  const groups = flags.group?.split(",").map((name) => groupNamed(name.trim()));
  const limitSeconds = secondsOf("time-limit", timeLimit);
  const totalSeconds =
    secondsOf("total-time", totalTime) ?? (level === "thorough" ? undefined : TOTAL_SECONDS);
  return {
    level,
    ...(driver !== undefined && { driver }),
    ...(groups !== undefined && { groups }),
    ...(limitSeconds !== undefined && { timeLimitMs: limitSeconds * 1000 }),
    ...(totalSeconds !== undefined && { totalMs: totalSeconds * 1000 }),
    ...(flags.fresh === true && { isFresh: true }),
  };
}

/** A first report takes three minutes at most, with what comes before and after the self-test. */
const TOTAL_SECONDS = 170;

function secondsOf(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const seconds = Number(text);
  if (seconds > 0 && Number.isFinite(seconds)) return seconds;
  throw new UsageError(
    `cli.doctor.${flag}`,
    `--${flag} takes a number of seconds above 0, not "${text}"`,
  );
}

function groupNamed(name: string): Group {
  const found = GROUP_NAMES.find((group) => group === name);
  if (found !== undefined) return found;
  throw new UsageError(
    "cli.doctor.group",
    `there is no group "${name}".${didYouMean(name, GROUP_NAMES)}`,
    { remedy: `Groups: ${GROUP_NAMES.join(", ")}.` },
  );
}

function whatItWillDo({ totalMs }: SelfTestOptions): string {
  const time = totalMs === undefined ? "many minutes" : `at most ${formatDuration(totalMs / 1000)}`;
  return (
    `Self-test: asks the engine about its rules with small programs, ${time}. It needs no root, changes\n` +
    "nothing but its own cache and sends nothing; each answer is kept, so Ctrl-C loses none.\n"
  );
}

/** Ctrl-C ends the test; what is known by then is reported and kept. */
async function selfTest(
  plan: SelfTestOptions,
  isJson: boolean,
  exit: Exit,
): Promise<SelfTestReport | undefined> {
  const status = new StatusLine();
  const stopper = new AbortController();
  const onInterrupt = (): void => stopper.abort();
  for (const signal of STOP_SIGNALS) process.on(signal, onInterrupt);
  try {
    if (!isJson && hasNeuralEngine()) process.stderr.write(whatItWillDo(plan));
    let keptCount = 0;
    const report = await runSelfTest({
      ...plan,
      signal: stopper.signal,
      onProgress: ({ done, total, title, remainingMs }) => {
        const place =
          total === 0 ? "" : `${done} of ${total}  ETA ${formatDuration(remainingMs / 1000)}  `;
        status.show(`self-test ${place}${title}`);
      },
      onResult: (_, isKept) => {
        if (isKept) keptCount++;
      },
    });
    status.clear();
    if (keptCount > 0) {
      process.stderr.write(
        `${keptCount} answers are of an earlier self-test; --fresh asks everything anew.\n`,
      );
    }
    if (stopper.signal.aborted) exit(EXIT_CODES.interrupted);
    return report;
  } catch (error) {
    if (!(error instanceof EngineError) || isJson) throw error;
    status.clear();
    reportError(error, false);
    exit(exitCodeOf(error));
    return undefined;
  } finally {
    status.clear();
    for (const signal of STOP_SIGNALS) process.off(signal, onInterrupt);
  }
}

/** Each finding as soon as it is known: the step that is timed takes seconds. */
async function* examine(driver: Driver | undefined): AsyncGenerator<Finding> {
  yield nodeFinding();
  yield* await machineFindings();
  yield await koffiFinding();
  yield await cpuFinding();
  yield await gpuFinding();
  yield* await driverFindings();
  yield siliconFinding();
  yield aneFinding();
  yield await speedFinding(driver);
}

function nodeFinding(): Finding {
  const major = Number(process.versions.node.split(".")[0]);
  const system = `Node ${process.versions.node} on ${process.platform} ${process.arch}, ${os.cpus().length} × ${os.cpus()[0]?.model.trim() ?? "processor"}, ${Math.round(os.totalmem() / 2 ** 30)} GiB`;
  return major >= 22
    ? finding("system", "ok", system)
    : finding("system", "note", `${system}; Node 20 works and is out of support since April 2026`);
}

async function machineFindings(): Promise<readonly Finding[]> {
  const { chip, model, system, neuralEngine, unread } = await identifyMachine();
  if (system.name !== "macOS") return [];
  const engine =
    neuralEngine.state === "present"
      ? neuralEngine.devices
          .map(
            ({ architecture, cores }) =>
              `${architecture ?? "unknown architecture"}${cores === undefined ? "" : `, ${cores} cores`}`,
          )
          .join(" and ")
      : neuralEngine.reason;
  const parts = [
    model ?? "unknown model",
    chip === undefined ? "a chip nobody knows" : `${chip.name} (${chip.family})`,
    `macOS ${system.version ?? "?"} (${system.build ?? "?"})`,
    `Neural Engine: ${engine}`,
  ];
  return [
    finding("machine", chip === undefined ? "note" : "ok", parts.join(", ")),
    ...unread.map((detail) => finding("machine", "note", detail)),
  ];
}

/** Whether each driver has what it calls, and the profile that it would take. */
async function driverFindings(): Promise<readonly Finding[]> {
  if (!hasNeuralEngine()) return [];
  const findings = DRIVERS.map((driver): Finding => {
    const { available, libraries, reason } = driverAvailability(driver);
    const lacking = libraries.flatMap(({ path, opens, missing }) =>
      opens ? missing : [`${path} does not open`],
    );
    const count = libraries.reduce((sum, { symbolCount }) => sum + symbolCount, 0);
    const what = `driver ${driver}`;
    if (available) return finding(what, "ok", `all ${count} functions and classes are there`);
    const names = `${lacking.slice(0, 4).join(", ")}${lacking.length > 4 ? " …" : ""}`;
    return finding(
      what,
      "missing",
      reason ?? `${lacking.length} of ${count} are missing: ${names}`,
    );
  });
  return [...findings, await profileFinding()];
}

async function profileFinding(): Promise<Finding> {
  const what = "profile";
  try {
    const library = findLibrary();
    const chip = await chooseChip(undefined, library);
    const key = { chip: chip.id, osBuild: systemBuild(), library: library.path };
    return finding(what, "note", describeProfile(readMachineProfile(key)));
  } catch (error) {
    return finding(what, "missing", messageOf(error));
  }
}

async function koffiFinding(): Promise<Finding> {
  try {
    const { default: koffi } = await import("koffi");
    const text = `${koffi.version}: weights and kernels share memory without copies`;
    return finding("koffi", "ok", text);
  } catch (error) {
    const instead = "the CPU engine copies buffers instead; the ANE engine and MPI need it";
    return finding("koffi", "missing", `${messageOf(error)}\n${instead}`);
  }
}

async function cpuFinding(): Promise<Finding> {
  try {
    const engine = await createEngine("cpu", { blas: "auto" });
    const { device, runtime, threads, rowSums = "", blas = "" } = engine.description;
    await engine.close();
    return finding(
      "cpu engine",
      "ok",
      `${runtime} on ${device}, ${threads} threads\nproduct and sum of generated texts: ${rowSums}\nlarge matrices of training by a library of the system: ${blas}`,
    );
  } catch (error) {
    return finding("cpu engine", "missing", messageOf(error));
  }
}

/** What the GPU engine would run on: a real device, one in software, or why there is none. */
async function gpuFinding(): Promise<Finding> {
  const what = "gpu engine";
  try {
    const { createGpuEngine, findGpuDevices, isSoftware } = await import("../engine/gpu/index.ts");
    const engine = createGpuEngine();
    const { device, runtime } = engine.description;
    await engine.close();
    const note = isSoftware(findGpuDevices())
      ? "\nit is a processor that plays a GPU: good for tests, slower than --engine cpu"
      : "\nnot measured here yet: `anecdote bench engine --beside gpu,cpu` holds it against the CPU engine";
    return finding(what, "note", `${runtime} on ${device}${note}`);
  } catch (error) {
    // No engine needs it: its absence is no fault of the machine.
    return finding(what, "note", messageOf(error));
  }
}

/** A step on this machine's processor beside what the cost model says of an engine. */
async function speedFinding(driver: Driver | undefined): Promise<Finding> {
  const what = "speed";
  try {
    const { preset, batchSize, sequenceLength, ms, predicted } = await measureStep("cpu", driver);
    const measured = `a step of ${preset} (${batchSize} x ${sequenceLength} tokens) takes ${formatMs(ms)} on the CPU engine here`;
    if (predicted === undefined) return finding(what, "ok", measured);
    const { chip, ms: predictedMs, joules } = predicted;
    const told = `${formatMs(predictedMs)}, ${joules.toPrecision(3)} J`;
    return finding(
      what,
      "ok",
      `${measured}; predicted for the engine of ${chip} through ${predicted.driver}: ${told}`,
    );
  } catch (error) {
    return finding(what, "missing", `no step could be timed: ${messageOf(error)}`);
  }
}

function aneFinding(): Finding {
  return finding("neural engine", "note", aneText());
}

function aneText(): string {
  const library = process.env["ANECDOTE_ANE_LIBRARY"];
  if (library !== undefined && library !== "")
    return `ANECDOTE_ANE_LIBRARY names ${library}: \`--engine ane\` and auto use it`;
  if (hasNeuralEngine())
    return "`--engine ane` and auto try to reach it through its private runtime; nobody has reported a run yet";
  return process.platform === "darwin"
    ? "Intel Macs have no Neural Engine and are not supported"
    : "a Neural Engine is in Apple Silicon Macs only; everything runs on the CPU engine here, `--engine sim:m4` simulates one; there is no self-test";
}

/** The same everywhere, until somebody reports a Mac. */
function siliconFinding(): Finding {
  return finding(
    "verified",
    "note",
    "nothing of Anecdote has run on a Neural Engine yet: both drivers ran against test doubles on Linux only (docs/ane.md)",
  );
}
