import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { run, runJson } from "./in-process.ts";

const folder = mkdtempSync(join(tmpdir(), "anecdote-estimates-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** One addition: a call of the dispatch floor. */
const PROGRAM = join(folder, "small.mil");
writeFileSync(
  PROGRAM,
  `program(1.0)
{
    func main<ios16>(tensor<fp16, [1, 64, 1, 64]> x) {
        tensor<fp16, [1, 64, 1, 64]> y = add(x = x, y = x)[name = tensor<string, []>("y")];
    } -> (y);
}
`,
);
const estimate = (...words: readonly string[]) =>
  runJson("estimate", PROGRAM, "--chip", "m6", ...words);

interface Paced {
  readonly addedMs: number;
  readonly coldMs: number;
  readonly watts: number;
  readonly lowClock?: { readonly ms: number };
}

describe("time and energy of what is not always busy", () => {
  const paced = async (seconds: string): Promise<Paced> =>
    (await estimate("--every", seconds))["paced"] as Paced;

  test("a call each millisecond, each second, and of a server that idles", async () => {
    const often = await paced("0.002");
    expect(often.addedMs).toBeGreaterThan(0);
    expect(often.addedMs).toBeLessThan(0.3);
    expect(often.lowClock?.ms).toBeGreaterThan(0);
    const each = await paced("1");
    expect(each.addedMs).toBeCloseTo(4, 1);
    const idle = await paced("60");
    expect(idle.addedMs).toBeGreaterThan(47);
    expect(idle.addedMs).toBeLessThan(60);
    expect((await paced("12")).addedMs).toBeCloseTo(7.7, 1);
    // The first of all finds the engine switched off, however often the others come.
    expect(often.coldMs).toBeCloseTo(idle.coldMs, 9);
    // Pauses take nothing: sixty times rarer is a sixtieth of the power.
    expect(each.watts / idle.watts).toBeCloseTo(60, 0);
  });

  test("and so it is told, with Low Power Mode's energy", async () => {
    const { stdout } = await run(
      ...["estimate", PROGRAM, "--chip", "m6", "--every", "1", "--low-power"],
    );
    expect(stdout).toMatch(/begun every 1 s: \d/);
    expect(stdout).toMatch(/the first one, with the engine switched off: 5\d/);
    expect(stdout).toMatch(/in Low Power Mode/);
    const { joules, low_power: low } = (await estimate("--low-power")) as {
      joules: number;
      low_power: { joules: number };
    };
    // 2.79 against 4.57 W.
    expect(low.joules / joules).toBeCloseTo(2.79 / 4.57, 6);
  });

  test("a pause that is no time is refused", async () => {
    const { code, stderr } = await run("estimate", PROGRAM, "--chip", "m6", "--every", "often");
    expect(code).toBe(2);
    expect(stderr).toContain('--every takes seconds up to 86400, not "often"');
  });
});

describe("what nobody knows", () => {
  test.each([
    ["a chip", ["estimate", PROGRAM, "--chip", "m44"], /no chip "m44".*Did you mean "m4"/],
    ["another chip", ["chips", "m4-ultra"], /no chip "m4-ultra".*Did you mean "m\d-ultra"/],
    [
      "a simulated chip",
      ["run", PROGRAM, "--random", "1", "--engine", "sim:m9"],
      /m9.*Did you mean/,
    ],
    ["a system", ["check", PROGRAM, "--macos", "25"], /macOS "25".*The nearest is 26/],
    ["a system's name", ["check", PROGRAM, "--macos", "sequoja"], /Did you mean "sequoia"/],
  ])("%s lists the nearest", async (_, words, message) => {
    const { code, stderr } = await run(...words);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(message);
  });

  const plain = async (): Promise<unknown> => (await estimate())["ms"];
  const REPORT = {
    ...{ kind: "anecdote-self-test", schema: 1, made: "2026-11-30T00:00:00Z", driver: "e5rt" },
    ...{ ran_on: "silicon", machine: { chip: "m6" }, probes: [] },
    rates: [{ id: "rate.floor", verdict: "held", measured: { medianMs: 0.5 } }],
  };

  test("a report changes the estimate; another schema and a damaged one change nothing and say why", async () => {
    const path = join(folder, "report.json");
    const before = await plain();
    writeFileSync(path, JSON.stringify(REPORT));
    expect((await estimate("--calibrated", path))["ms"]).not.toBe(before);
    for (const [text, why] of [
      [JSON.stringify({ ...REPORT, schema: 9 }), /later|schema|version/],
      [JSON.stringify({ ...REPORT, kind: "other" }), /kind/],
      [JSON.stringify(REPORT).slice(0, 90), /cannot be read/],
      [JSON.stringify({ ...REPORT, machine: { chip: "m4" } }), /report is of m4, not of m6/],
      [JSON.stringify({ ...REPORT, machine: { chip: "m99" } }), /no chip "m99"/],
    ] as const) {
      writeFileSync(path, text);
      const words = ["estimate", PROGRAM, "--chip", "m6", "--calibrated", path];
      const { code, stdout, stderr } = await run(...words);
      expect(code).not.toBe(0);
      expect(stdout).toBe("");
      expect(stderr).toMatch(why);
      expect(stderr).not.toContain("..");
    }
    expect(await plain()).toBe(before);
  });
});
