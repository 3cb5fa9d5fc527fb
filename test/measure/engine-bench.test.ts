import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { checkAccuracy } from "../../src/measure/published/accuracy.ts";
import { parseMeasuredRows } from "../../src/measure/published/measured-row.ts";
import { describeRow } from "../../src/measure/published/row-case.ts";
import { createAneEngine } from "../../src/engine/ane/index.ts";
import { createReferenceEngine } from "../../src/engine/reference/index.ts";
import { rowPlan } from "../../src/measure/engine-bench/case-plan.ts";
import type { BenchCase, RowShape } from "../../src/measure/engine-bench/case.ts";
import { factsOf } from "../../src/measure/engine-bench/facts.ts";
import { reportPage } from "../../src/measure/engine-bench/html/page.ts";
import { measureGroup, QUICK_PROTOCOL } from "../../src/measure/engine-bench/measure-case.ts";
import { PowerWindow } from "../../src/measure/engine-bench/power-probe.ts";
import { buildPlaceholder, predict, refusalOf } from "../../src/measure/engine-bench/predict.ts";
import { publishedFor, publishedRows } from "../../src/measure/engine-bench/published.ts";
import { contributedRows, parseReport } from "../../src/measure/engine-bench/report.ts";
import type { CaseResult, EngineReport } from "../../src/measure/engine-bench/report.ts";
import { runBench } from "../../src/measure/engine-bench/run-bench.ts";
import type { BenchOptions } from "../../src/measure/engine-bench/run-bench.ts";
import { allCases } from "../../src/measure/engine-bench/suites.ts";
import { chipByName } from "../../src/chip/chips.ts";
import { placePlan } from "../../src/lower/place-plan.ts";
import { buildDouble, openDouble } from "../engine/ane/double-library.ts";
import { run, runJson } from "../cli/in-process.ts";
import { finished, runCli, startCli } from "../helpers/cli.ts";
import { wellFormed } from "./well-formed.ts";

const scratch = mkdtempSync(join(tmpdir(), "anecdote-bench-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function options(given: Partial<BenchOptions> & Pick<BenchOptions, "engine">): BenchOptions {
  return {
    isQuick: true,
    resume: false,
    overwrite: false,
    isCancelled: () => false,
    onProgress: () => undefined,
    onResult: () => undefined,
    ...given,
  };
}

let everyCase: Promise<EngineReport> | undefined;

/** Every case predicted, once for all tests that want it. */
function predictedReport(): Promise<EngineReport> {
  everyCase ??= runBench(options({ engine: "sim:m4", isQuick: false }));
  return everyCase;
}

/** A report of a machine that nobody has: what is predicted, as if it had been measured. */
async function pretended(): Promise<EngineReport> {
  const { rows: _, ...report } = await predictedReport();
  const cases = report.cases.map((result): CaseResult => {
    const { ms } = result.predicted;
    return {
      ...result,
      status: "measured",
      timing: {
        runs: 21,
        median_ms: ms,
        p10_ms: 0.9 * ms,
        p90_ms: 1.2 * ms,
        minimum_ms: 0.8 * ms,
        quantiles_ms: Array.from({ length: 21 }, (_unused, i) => ms * (0.8 + i / 40)),
        prepare_ms: 50,
        first_run_ms: 2 * ms,
      },
      outputs: { check: "finite" },
    };
  });
  return { ...report, kind: "measured", cases, rows: [] };
}

describe("the published rows", () => {
  test("all stand beside a case of the same work with the same copies", () => {
    const found = new Set(
      allCases().flatMap((benchCase) =>
        publishedFor(benchCase).map(({ ms, source }) => `${ms} ${source}`),
      ),
    );
    const missing = publishedRows().filter(({ ms, source }) => !found.has(`${ms} ${source}`));
    expect(missing.map(describeRow)).toEqual([]);
    expect(publishedRows().length).toBeGreaterThanOrEqual(193);
  });

  test("are in the published package", () => {
    const { files } = JSON.parse(
      readFileSync(new URL("../../package.json", import.meta.url), "utf8"),
    ) as { files: string[] };
    expect(files).toContain("bench/data");
  });

  test("names of cases are unique", () => {
    const ids = allCases().map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });
});

describe("a predicted report", () => {
  test("has the cost model's numbers, and says PREDICTED everywhere", async () => {
    const report = await predictedReport();
    expect(report).toMatchObject({ kind: "predicted", chip: "M4", complete: true });
    const cases = new Map(allCases().map((benchCase) => [benchCase.id, benchCase]));
    for (const { id, status, predicted, timing } of report.cases) {
      const benchCase = cases.get(id);
      if (benchCase === undefined) throw new Error(id);
      expect(predicted.ms).toBe(predict(benchCase, chipByName("m4"), "e5rt").ms);
      expect([status, timing]).toEqual(["predicted", undefined]);
    }
    const rows = parseMeasuredRows(report.rows);
    expect(rows.length).toBeGreaterThan(100);
    expect(checkAccuracy(rows).medianRelativeError).toBe(0);
    for (const { source } of rows) expect(source).toMatch(/^PREDICTED .* not measured/);
    const page = reportPage(report);
    expect(page).toMatch(/<title>PREDICTED, not measured/);
    expect(page).not.toContain("filled circle");
    expect(factsOf(report).every(({ values }) => values.measured === undefined)).toBe(true);
  });

  test("matches what others published of the same chip within the model's accuracy", async () => {
    const report = await predictedReport();
    const errors = report.cases.flatMap(({ predicted, published, suite }) =>
      published
        .filter(({ chip }) => chip === "M4" && suite !== "layer")
        .map(({ ms }) => Math.abs(predicted.ms / ms - 1)),
    );
    expect(errors.length).toBeGreaterThan(30);
    expect(errors.sort((a, b) => a - b)[Math.floor(errors.length / 2)]).toBeLessThan(0.1);
  });

  test("is read back as it was written, from a folder with the page and the rows", async () => {
    const outputFolder = join(scratch, "written");
    const report = await runBench(
      options({ engine: "sim:m5", driver: "in-memory", suites: ["latency"], outputFolder }),
    );
    const json: unknown = JSON.parse(readFileSync(join(outputFolder, "report.json"), "utf8"));
    expect(parseReport(json, "report.json")).toEqual(report);
    const rows: unknown = JSON.parse(readFileSync(join(outputFolder, "rows.json"), "utf8"));
    expect(parseMeasuredRows(rows).every(({ driver }) => driver === "in-memory")).toBe(true);
    expect(readFileSync(join(outputFolder, "report.html"), "utf8")).toContain("<!doctype html>");
  });
});

describe("the page", () => {
  test("is well-formed, asks nothing of the network and has a name for every picture", async () => {
    for (const report of [await predictedReport(), await pretended()]) {
      const page = reportPage(report);
      wellFormed(page);
      expect(page).not.toMatch(/(?:src|href|action)\s*=/);
      expect(page).not.toMatch(/@import|url\((?!#)|<script|<link|<iframe/);
      const addresses = new Set(page.match(/https?:\/\/[^"\s<]*/g));
      expect([...addresses]).toEqual(["http://www.w3.org/2000/svg"]);
      const pictures = page.match(/<svg [^>]*role="img"[^>]*>/g) ?? [];
      expect(pictures.length).toBeGreaterThan(7);
      for (const picture of pictures) expect(picture).toMatch(/aria-label="[^"]{10,}"/);
      expect(page).not.toMatch(/NaN|Infinity|undefined/);
      expect(page.length).toBeLessThan(300_000);
    }
  });

  test("tells measured, published and predicted apart by form", async () => {
    const page = reportPage(await pretended());
    const key = /<ul class="key">.*?<\/ul>/s.exec(page)?.[0] ?? "";
    expect(key).toMatch(/<circle.*measured.*<rect.*published.*<path.*predicted/s);
    expect(page).toContain("notch");
    expect(page).toContain("How calls are distributed");
  });

  test("escapes whatever stands in a report", async () => {
    const report = await pretended();
    fc.assert(
      fc.property(
        fc.stringMatching(/^[a-z<>&"'/ ]{0,12}$/),
        fc.constantFrom("</title><script>alert(1)</script>", `"><img src=x onerror=y>`, "'&<"),
        (text, attack) => {
          const evil = `${text}${attack}`;
          const page = reportPage({
            ...report,
            engine: { ...report.engine, device: evil, runtime: evil, name: evil },
            machine: { ...report.machine, processor: evil },
            cases: report.cases.slice(0, 30).map((result, index) => ({
              ...result,
              title: evil,
              ...(index % 2 === 0 && { status: "failed" as const, reason: evil, rule: evil }),
              published: [{ chip: "M4", ms: 1, source: evil }],
            })),
          });
          wellFormed(page);
          expect(page).not.toMatch(/<script|<img/);
        },
      ),
      { numRuns: 20 },
    );
  });

  test("shows a refused case with its rule, and a wrong one without a rate", async () => {
    const report = await pretended();
    const [first, second, ...rest] = report.cases;
    if (first === undefined || second === undefined) throw new Error("no cases");
    const { timing: _, ...bare } = first;
    const page = reportPage({
      ...report,
      cases: [
        {
          ...bare,
          status: "refused",
          reason: "Too wide.",
          rule: "axis-limit",
          rule_source: "a table",
        },
        { ...second, status: "wrong", reason: "all numbers are 0" },
        ...rest,
      ],
    });
    expect(page).toContain("refused: Too wide. Rule axis-limit (a table).");
    expect(page).toContain("wrong: all numbers are 0");
  });
});

describe("rows for everybody's file", () => {
  test("come from an engine alone, name machine and date, and are accepted by the cost model", async () => {
    const { rows: _, ...report } = await pretended();
    const cases = new Map(allCases().map((benchCase) => [benchCase.id, benchCase]));
    const rows = contributedRows(report, cases);
    expect(parseMeasuredRows(JSON.parse(JSON.stringify(rows)))).toHaveLength(rows.length);
    expect(checkAccuracy(rows).medianRelativeError).toBe(0);
    expect(rows[0]?.source).toMatch(/^anecdote .* bench engine, M4, .* \d{4}-\d\d-\d\d$/);
    expect(contributedRows({ ...report, kind: "test-double" }, cases)).toEqual([]);
    const { driver: _driver, ...processor } = report.engine;
    expect(contributedRows({ ...report, engine: processor }, cases)).toEqual([]);
  });
});

/** A case of one small program. */
function caseOf(shape: RowShape): BenchCase {
  const how = { hostCopies: false, dispatches: 1, calls: "one" } as const;
  return {
    ...how,
    id: "small",
    suite: "peak",
    title: "small",
    shape,
    flops: 1,
    weightBytes: 1,
    group: "small",
    isQuick: true,
    memoryBytes: 1,
    build: (build) => rowPlan("small", shape, how, build),
  };
}

const CONSTANT = { weights: "constant" } as const;
const SMALL: readonly (readonly [string, RowShape])[] = [
  ...[undefined, "weights" as const, "w8a8" as const].map((int8): readonly [string, RowShape] => [
    `chain ${int8 ?? "fp16"}`,
    {
      kind: "conv1x1-chain",
      depth: 3,
      channels: 96,
      spatial: 64,
      own_weights: int8 === undefined,
      ...CONSTANT,
      ...(int8 !== undefined && { int8 }),
    },
  ]),
  ["convolution", { kind: "conv1x1", cin: 64, cout: 96, spatial: 32, ...CONSTANT }],
  ["product", { kind: "gemm", m: 32, k: 64, n: 96, ...CONSTANT }],
  [
    "3x3",
    {
      ...{ kind: "conv", cin: 16, cout: 16, kernel: 3, height: 8, width: 8 },
      ...{ batch: 2, depth: 1 },
      ...CONSTANT,
    },
  ],
  ...["relu", "gelu", "sigmoid", "softmax", "layer_norm", "rms_norm", "l2_norm", "reduce_sum"].map(
    (op): readonly [string, RowShape] => [
      op,
      { kind: "op", op, rows: 4, width: 64, depth: 1, ...CONSTANT },
    ],
  ),
];
const PROTOCOL = { ...QUICK_PROTOCOL, budgetMs: 1 };

function contextFor(engine: Awaited<ReturnType<typeof createAneEngine>>, isEngine: boolean) {
  return {
    engine,
    build: { dataType: "fp32", constants: "numbers", readsResults: !isEngine },
    protocol: PROTOCOL,
    isCancelled: () => false,
    onProgress: () => undefined,
  } as const;
}

test.each(SMALL)("the reference engine gives the expected numbers of %s", async (_, shape) => {
  const engine = createReferenceEngine();
  const outcomes = await measureGroup([caseOf(shape)], contextFor(engine, false));
  expect(outcomes?.get("small")).toMatchObject({
    status: "measured",
    outputs: { check: "compared" },
  });
  const isRounded = "int8" in shape && shape.int8 !== undefined;
  const error = outcomes?.get("small")?.outputs?.relative_error ?? 1;
  expect(error).toBeLessThan(isRounded ? 1e-2 : 1e-6);
  await engine.close();
});

describe("through the doubles", () => {
  const e5rt = openDouble("e5rt");
  const objc = openDouble("objc");
  const cacheFolder = join(scratch, "cache");
  const open = (driver: "e5rt" | "in-memory") =>
    createAneEngine({
      library: (driver === "e5rt" ? e5rt : objc)?.path ?? "",
      driver,
      chip: "m4",
      threads: 1,
      cacheFolder,
    });

  test.each(["e5rt", "in-memory"] as const)(
    "programs with constants give the expected numbers through %s, int8 ones too",
    async (driver) => {
      const engine = await open(driver);
      for (const [name, shape] of SMALL) {
        const outcomes = await measureGroup([caseOf(shape)], contextFor(engine, true));
        expect([name, outcomes?.get("small")]).toMatchObject([
          name,
          { status: "measured", outputs: { check: "compared" } },
        ]);
      }
      await engine.close();
      const double = driver === "e5rt" ? e5rt : objc;
      expect(double?.violations()).toEqual({ count: 0, first: "" });
    },
  );

  test("garbage from an engine gives no rate, and the next case runs", async () => {
    const engine = await open("e5rt");
    const shape = SMALL[0]?.[1];
    if (shape === undefined) throw new Error("no case");
    const context = contextFor(engine, true);
    e5rt?.order("garbage", `execute:${PROTOCOL.warmUpRuns + 1}`);
    const spoilt = (await measureGroup([caseOf(shape)], context))?.get("small");
    e5rt?.order("garbage", "");
    expect(spoilt).toMatchObject({ status: "wrong" });
    expect(spoilt?.timing).toBeUndefined();
    const next = (await measureGroup([caseOf(shape)], context))?.get("small");
    expect(next).toMatchObject({ status: "measured" });
    await engine.close();
    e5rt?.violations();
  });

  test("an error of the engine fails its case alone", async () => {
    const engine = await open("e5rt");
    const shape = SMALL[0]?.[1];
    if (shape === undefined) throw new Error("no case");
    e5rt?.order("fail", "e5rt_execution_stream_execute_sync:3");
    const outcomes = await measureGroup([caseOf(shape)], contextFor(engine, true));
    e5rt?.order("fail", "");
    expect(outcomes?.get("small")).toMatchObject({ status: "failed" });
    await engine.close();
  });
});

describe("programs of cases", () => {
  test("keep the ops that are measured, though a chip likes others better", () => {
    const written = (id: string): readonly string[] => {
      const benchCase = allCases().find((candidate) => candidate.id === id);
      if (benchCase === undefined) throw new Error(id);
      const { plan } = buildPlaceholder(benchCase);
      const placed = placePlan(plan, chipByName("m4"), "e5rt").get("program");
      if (placed?.place !== "engine") throw new Error(`${id} is not on the engine`);
      return placed.program.function.operations
        .map(({ type }) => type)
        .filter((op) => op !== "const");
    };
    expect(written("matmul.gemm-2048x2048x2048")).toEqual(["matmul"]);
    expect(written("weights.conv1x1-4096-4096@64")).toEqual(["conv"]);
    expect(written("int8.64x-conv1x1-512@4096-weights")).toHaveLength(65);
    expect(written("latency.64x-conv1x1-512@1024")).toEqual(
      Array.from({ length: 64 }, () => "conv"),
    );
  });

  test.each(["m1", "m2-pro", "m3-ultra", "m4-max", "m5", "m6"])(
    "are told to be refused by %s with a rule, or are legal there",
    async (chip) => {
      const report = await runBench(
        options({
          engine: `sim:${chip}`,
          suites: ["int8", "ops", "gemv", "matmul"],
        }),
      );
      for (const { status, reason, rule, rule_source: source } of report.cases) {
        if (status === "predicted") continue;
        expect([status, rule, reason, source]).toEqual([
          "refused",
          expect.stringMatching(/^[a-z0-9-]+$/),
          expect.stringMatching(/\w+ .*\./),
          expect.any(String),
        ]);
      }
      expect(report.complete).toBe(true);
    },
  );

  test("that break a rule are refused before anything runs", () => {
    const shape: RowShape = { kind: "gemm", m: 8, k: 20_000, n: 8, ...CONSTANT };
    const plan = rowPlan(
      "wide",
      shape,
      { hostCopies: false, dispatches: 1, calls: "one" },
      { dataType: "fp16", constants: "placeholder", readsResults: false },
    );
    const on = (chip: string) => refusalOf(plan, chipByName(chip), "e5rt", { hostIsFine: false });
    expect(on("m1")?.reason).toMatch(/20000/);
    expect(on("m4")).toBeUndefined();
  });
});

describe("power of a case", () => {
  test("is the mean between readings that lie inside its run", () => {
    const window = new PowerWindow();
    const read = (joules: number, seconds: number) =>
      window.read({ joules: { ane: joules }, seconds });
    read(1, 1);
    window.open();
    read(100, 2);
    read(102, 2.5);
    read(104, 3);
    expect(window.close()).toBe(4);
    read(200, 4);
    window.open();
    read(300, 5);
    expect(window.close()).toBeUndefined();
    window.open();
    window.read({ joules: { package: 1 }, seconds: 1 });
    window.read({ joules: { package: 2 }, seconds: 2 });
    expect(window.close()).toBeUndefined();
  });

  test("stands in the report of a case that ran alone, never in that of a group", async () => {
    const engine = createReferenceEngine();
    const power = {
      source: "test",
      start: () => undefined,
      stop: () => 2.5,
      close: () => undefined,
    };
    const context = { ...contextFor(engine, false), power };
    const shape: RowShape = { kind: "op", op: "relu", rows: 2, width: 4, depth: 1, ...CONSTANT };
    const lone = { ...caseOf(shape), suite: "ops" } as const;
    const alone = await measureGroup([lone], context);
    expect(alone?.get("small")).toMatchObject({ power_watts: 2.5, power_source: "test" });
    const pair = await measureGroup([lone, { ...lone, id: "other" }], context);
    for (const outcome of pair?.values() ?? []) expect(outcome.power_watts).toBeUndefined();
    await engine.close();
  });
});

describe("an interrupted run", () => {
  test("ends with 130 at Ctrl-C, as a real process, and goes on where it was", async () => {
    const outputFolder = join(scratch, "signal");
    const args = [
      ...["bench", "engine", "--engine", "cpu", "--threads", "1", "--quick", "--suite", "ops"],
      ...["--budget", "400", "--output-dir", outputFolder],
    ];
    const child = startCli(args);
    child.stderr?.once("data", () => child.kill("SIGINT"));
    const stopped = await finished(child);
    expect([stopped.code, stopped.stdout]).toEqual([130, expect.stringContaining("PARTIAL")]);
    const path = join(outputFolder, "report.json");
    const partial = parseReport(JSON.parse(readFileSync(path, "utf8")), path);
    expect(partial.complete).toBe(false);
    const resumed = await runCli([
      ...args.slice(0, -3),
      "5",
      "--output-dir",
      outputFolder,
      "--resume",
      "--json",
    ]);
    expect(resumed.code).toBe(0);
    const whole = parseReport(JSON.parse(resumed.stdout), "stdout");
    expect(whole.complete).toBe(true);
    expect(whole.cases.slice(0, partial.cases.length)).toEqual(partial.cases);
  });

  const cpu = {
    engine: "cpu",
    threads: 1,
    budgetMs: 1,
    only: ["latency.relu", "ops.relu-256x1024", "ops.softmax-256x1024"],
  } as const;

  test("keeps what is done and goes on with the rest", async () => {
    const outputFolder = join(scratch, "resumed");
    const seen: string[] = [];
    const partial = await runBench(
      options({
        ...cpu,
        outputFolder,
        onResult: ({ id }) => seen.push(id),
        isCancelled: () => seen.length >= 1,
      }),
    );
    expect(partial.complete).toBe(false);
    expect(partial.cases.map(({ id }) => id)).toEqual(seen);
    expect(readFileSync(join(outputFolder, "report.html"), "utf8")).toContain("PARTIAL");
    const again: string[] = [];
    const whole = await runBench(
      options({ ...cpu, outputFolder, resume: true, onResult: ({ id }) => again.push(id) }),
    );
    expect(whole.complete).toBe(true);
    expect(new Set([...seen, ...again]).size).toBe(seen.length + again.length);
    expect(whole.cases.slice(0, seen.length)).toEqual(partial.cases);
    expect(whole.kind).toBe("measured");
    expect(whole.rows).toEqual([]);
    expect(whole.cases.every(({ status }) => status === "measured")).toBe(true);
  });

  test("is not overwritten unasked, and not continued by another engine", async () => {
    const outputFolder = join(scratch, "resumed");
    await expect(runBench(options({ ...cpu, outputFolder }))).rejects.toMatchObject({
      code: "measure.exists",
    });
    await expect(
      runBench(options({ engine: "sim:m4", outputFolder, resume: true })),
    ).rejects.toMatchObject({ code: "measure.resume" });
    const damaged = join(scratch, "damaged");
    await runBench(options({ engine: "sim:m4", suites: ["latency"], outputFolder: damaged }));
    for (const text of ["{", "{}", "[]"]) {
      writeFileSync(join(damaged, "report.json"), text);
      await expect(
        runBench(options({ engine: "sim:m4", outputFolder: damaged, resume: true })),
      ).rejects.toMatchObject({ code: "measure.report" });
    }
  });
});

describe("the command line with a double", () => {
  test.each(["e5rt", "in-memory"] as const)(
    "measures through %s, says that the times mean nothing, and contributes no rows",
    async (driver) => {
      const outputFolder = join(scratch, `double-${driver}`);
      const { code, stdout, stderr } = await runCli(
        [
          ...["bench", "engine", "--engine", "ane", "--ane-driver", driver, "--quick"],
          ...["--only", "latency.relu", "--only", "weights", "--budget", "1"],
          ...["--output-dir", outputFolder],
        ],
        {
          ANECDOTE_ANE_LIBRARY: buildDouble(driver === "e5rt" ? "e5rt" : "objc"),
          ANECDOTE_CACHE_DIR: join(scratch, "cli-cache"),
          ANECDOTE_ANE_CHIP: "m4",
        },
      );
      expect([code, stdout]).toEqual([0, expect.stringMatching(/^TEST DOUBLE M4 .*say nothing/)]);
      expect(stderr).not.toContain("protocol:");
      const path = join(outputFolder, "report.json");
      const report = parseReport(JSON.parse(readFileSync(path, "utf8")), path);
      expect(report).toMatchObject({ kind: "test-double", chip: "M4", rows: [] });
      expect(report.engine).toMatchObject({ name: "ane", driver });
      const byId = new Map(report.cases.map((result) => [result.id, result]));
      expect(byId.get("latency.relu-1x64.32-in-one-call")).toMatchObject({ status: "measured" });
      expect(byId.get("weights.conv1x1-256-256@64")).toMatchObject({
        status: "measured",
        outputs: { check: "compared" },
      });
      expect(byId.get("weights.conv1x1-5120-5120@64")).toMatchObject({ status: "skipped" });
      expect(existsSync(join(outputFolder, "rows.json"))).toBe(false);
      const page = readFileSync(join(outputFolder, "report.html"), "utf8");
      wellFormed(page);
      expect(page).toContain("<title>Test double, times say nothing");
    },
  );
});

describe("the command line", () => {
  test("goes on in new processes where one may compile no more, as one command with one report", async () => {
    const only = ["relu", "gelu", "sigmoid"].flatMap((op) => ["--only", `ops.${op}-64x256`]);
    const { code, stdout, stderr } = await runCli(
      ["bench", "engine", "--engine", "ane", "--ane-driver", "in-memory", ...only, "--json"],
      {
        ANECDOTE_ANE_LIBRARY: buildDouble("objc"),
        ANECDOTE_ANE_CHIP: "m4",
        ANECDOTE_ANE_COMPILE_BUDGET: "1",
        ANECDOTE_CACHE_DIR: scratch,
        TMPDIR: scratch,
      },
    );
    expect(code, stderr).toBe(0);
    expect(stderr.split("a new one goes on")).toHaveLength(3);
    const report = JSON.parse(stdout) as EngineReport;
    expect(report.complete).toBe(true);
    expect(report.cases.map(({ status }) => status)).toEqual(["measured", "measured", "measured"]);
    expect(readdirSync(scratch).filter((name) => name.startsWith("anecdote-bench-"))).toEqual([]);
  });

  test("predicts anywhere and prints 80 columns", async () => {
    const printed = await run("bench", "engine", "--engine", "sim:m1", "--quick");
    expect(printed.code).toBe(0);
    expect(printed.stdout).toMatch(/^PREDICTED by the cost model for M1 through e5rt/);
    for (const line of printed.stdout.split("\n").filter((text) => text.startsWith("  ")))
      expect(line.length).toBeLessThanOrEqual(80);
    const report = await runJson("bench", "engine", "--engine", "sim:m1", "--suite", "gemv");
    expect(report).toMatchObject({ schema: "anecdote-engine-report/1", kind: "predicted" });
  });

  test("suggests the nearest suite and case, and refuses numbers that are none", async () => {
    const suite = await run("bench", "engine", "--engine", "sim:m4", "--suite", "latencies");
    expect([suite.code, suite.stderr]).toEqual([
      2,
      expect.stringMatching(/no suite "latencies"\. Did you mean "latency"\?.*Suites: peak, /s),
    ]);
    const only = await run("bench", "engine", "--engine", "sim:m4", "--only", "latency.relu-1x46");
    expect(only.stderr).toMatch(/Did you mean "latency\.relu-1x64"\?/);
    const budget = await run("bench", "engine", "--engine", "sim:m4", "--budget", "soon");
    expect([budget.code, budget.stderr]).toEqual([2, expect.stringContaining("--budget")]);
    const resume = await run("bench", "engine", "--engine", "sim:m4", "--resume");
    expect([resume.code, resume.stderr]).toEqual([2, expect.stringContaining("--output-dir")]);
    const chip = await run("bench", "engine", "--engine", "sim:m44");
    expect(chip.stderr).toMatch(/Did you mean/);
  });

  test("has help with examples, and a list of cases", async () => {
    const help = await run("bench", "engine", "--help");
    expect(help.stdout).toContain("anecdote bench engine --engine sim:m4 --output-dir");
    const list = await run("bench", "engine", "--list", "--suite", "weights");
    expect(list.stdout.split("\n")[0]).toBe("weights.conv1x1-256-256@64");
    expect(existsSync("report.json")).toBe(false);
  });
});
