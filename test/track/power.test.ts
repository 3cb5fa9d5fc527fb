import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { openPowerMeter, powerChoice } from "../../src/track/power/index.ts";
import type { OpenMeterOptions, PowerMeter } from "../../src/track/power/index.ts";
import { ioreportSource, railOfChannel } from "../../src/track/power/ioreport.ts";
import { macmonReader, macmonSource } from "../../src/track/power/macmon.ts";
import { SourceMeter } from "../../src/track/power/meter.ts";
import { powermetricsSource, readPropertyList } from "../../src/track/power/powermetrics.ts";
import type { EnergyReading } from "../../src/util/energy.ts";
import { openDouble } from "../engine/ane/double-library.ts";
import { temporaryFolder } from "../helpers/cli.ts";
import { useFakeCommands } from "../helpers/fake-commands.ts";
import { MACMON, POWERMETRICS, macmonLine, powermetricsSample } from "./fake-meters.ts";

afterEach(() => vi.unstubAllEnvs());

const WATTS = { ane: 2, cpu: 1, gpu: 0.5, package: 3.5 };

async function opened(options: OpenMeterOptions): Promise<PowerMeter> {
  const { meter, reason } = await openPowerMeter({ intervalMs: 100, ...options });
  if (meter === undefined) throw new Error(reason);
  onTestFinished(() => meter.close());
  return meter;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** A meter whose process has a last word soon, and what it said of it. */
async function failureOf(script: string, silenceMs?: number): Promise<string> {
  useFakeCommands({ macmon: script });
  let failure: string | undefined;
  const meter = new SourceMeter(macmonSource(silenceMs), 100, {
    onFailure: (why) => (failure = why),
  });
  onTestFinished(() => meter.close());
  await meter.start(4000);
  const before = meter.energyJoules();
  await until(() => failure !== undefined);
  expect(meter.failure).toBe(failure);
  expect(meter.watts()).toBeUndefined();
  expect(meter.energyJoules().seconds).toBeGreaterThanOrEqual(before.seconds);
  return failure ?? "";
}

const ONE_LINE = `echo '${macmonLine("2.0", "1.0", "0.5", "3.5")}'; sleep 0.1`;

describe("a power meter", () => {
  test.each([
    ["macmon", { macmon: MACMON }],
    ["powermetrics", { powermetrics: POWERMETRICS, sudo: `shift; exec "$@"` }],
  ] as const)("%s gives watts and joules by rail", async (choice, scripts) => {
    useFakeCommands(scripts);
    const readings: EnergyReading[] = [];
    const meter = await opened({
      choice,
      listener: { onReading: (energy) => readings.push(energy) },
    });
    expect(meter.name).toBe(choice);
    await until(() => readings.length >= 4);
    const { joules, seconds } = meter.energyJoules();
    expect(seconds).toBeGreaterThan(0.1);
    for (const rail of ["ane", "cpu", "gpu", "package"] as const) {
      expect(joules[rail]).toBeCloseTo(WATTS[rail] * seconds, 9);
      expect(meter.watts()?.[rail]).toBeCloseTo(WATTS[rail], 9);
    }
    expect(readings.map((reading) => reading.seconds)).toEqual(
      readings.map((reading) => reading.seconds).sort((a, b) => a - b),
    );
  });

  test("the first that works is taken, and the environment may name another", async () => {
    useFakeCommands({ macmon: "exit 3", powermetrics: POWERMETRICS, sudo: `shift; exec "$@"` });
    expect((await opened({})).name).toBe("powermetrics");
    vi.stubEnv("ANECDOTE_POWER", "macmon");
    expect((await openPowerMeter()).reason).toBe("macmon: macmon ended with code 3");
    vi.stubEnv("ANECDOTE_POWER", "off");
    expect((await openPowerMeter()).reason).toBe("it is switched off");
    expect(() => powerChoice("macman")).toThrow(/Did you mean "?macmon/);
  });

  test.runIf(process.platform === "linux")(
    "is unavailable with every reason where there is none",
    async () => {
      vi.stubEnv("PATH", temporaryFolder());
      expect(await openPowerMeter()).toEqual({
        reason:
          "macmon: there is no macmon on this machine; ioreport: IOReport is a library of macOS; powermetrics: there is no powermetrics on this machine",
      });
    },
  );

  test("powermetrics is not asked for a password", async () => {
    useFakeCommands({
      powermetrics: POWERMETRICS,
      sudo: `[ "$1" = "-n" ] && echo "sudo: a password is required" >&2; exit 1`,
    });
    const meter = new SourceMeter(powermetricsSource(false), 100);
    await expect(meter.start(4000)).rejects.toThrow(
      "sudo ended with code 1: sudo: a password is required",
    );
  });

  test("ends its process when it is closed, a child of it included", async () => {
    const pidFile = join(temporaryFolder(), "pid");
    vi.stubEnv("FAKE_PID_FILE", pidFile);
    useFakeCommands({ macmon: MACMON });
    const meter = await opened({ choice: "macmon" });
    const pid = Number(readFileSync(pidFile, "utf8"));
    expect(isAlive(pid)).toBe(true);
    meter.close();
    meter.close();
    await until(() => !isAlive(pid));
    expect(meter.failure).toBeUndefined();
  });

  test("a search that is ended ends the meter that is tried", async () => {
    const pidFile = join(temporaryFolder(), "pid");
    vi.stubEnv("FAKE_PID_FILE", pidFile);
    useFakeCommands({ macmon: `echo $$ > "$FAKE_PID_FILE"; exec sleep 60` });
    const abort = new AbortController();
    const search = openPowerMeter({ signal: abort.signal });
    await until(() => existsSync(pidFile) && readFileSync(pidFile, "utf8").endsWith("\n"));
    abort.abort();
    expect((await search).reason).toBe("macmon: it was closed");
    await until(() => !isAlive(Number(readFileSync(pidFile, "utf8"))));
  });
});

describe("a power meter becomes unavailable with the reason when its process", () => {
  test("dies", async () => {
    expect(await failureOf(`${ONE_LINE}; echo "IOReport is gone" >&2; exit 5`)).toBe(
      "macmon ended with code 5: IOReport is gone",
    );
    expect(await failureOf(`${ONE_LINE}; kill -9 $$`)).toBe("macmon ended by SIGKILL");
  });

  test("hangs", async () => {
    expect(await failureOf(`${ONE_LINE}; exec sleep 60`, 200)).toBe(
      "it has told nothing for 0.2 s",
    );
    useFakeCommands({ macmon: "exec sleep 60" });
    expect((await openPowerMeter({ choice: "macmon", limitMs: 200 })).reason).toBe(
      "macmon: it told nothing within 0.2 s",
    );
  });

  test("prints garbage", async () => {
    expect(await failureOf(`${ONE_LINE}; echo thermal; sleep 60`)).toMatch(
      /^it printed what is no reading/,
    );
    expect(await failureOf(`${ONE_LINE}; echo '{"cpu_power":1}'; sleep 60`)).toMatch(
      /no ane_power/,
    );
    expect(await failureOf(`${ONE_LINE}; yes | tr -d '\\n'`)).toBe(
      "it prints no readings but garbage",
    );
  });

  test.each([
    ["null", "it reads NaN on an M6"],
    ["NaN", "a printer that knows no JSON"],
  ])("reads %s (%s)", async (word) => {
    const bad = macmonLine(word, "1.0", "0.5", word);
    expect(await failureOf(`${ONE_LINE}; echo '${bad}'; sleep 60`)).toBe("its ane rail reads NaN");
  });

  test("reads what no chip can consume", async () => {
    const bad = macmonLine("-1.0", "1.0", "0.5", "3");
    expect(await failureOf(`${ONE_LINE}; echo '${bad}'; sleep 60`)).toMatch(/ane rail reads -1/);
  });
});

describe("readings", () => {
  const taken: EnergyReading[] = [];
  const sink = {
    take: (joules: EnergyReading["joules"], seconds: number) =>
      void taken.push({ joules, seconds }),
    fail: (reason: string) => {
      throw new Error(reason);
    },
  };
  afterEach(() => void taken.splice(0));

  test("of macmon cover the time between their timestamps, but not a sleep", () => {
    const read = macmonReader(500);
    const line = (time: string) =>
      macmonLine("2", "1", "0.5", "3.5").replace(/T[\d:.]+/, `T${time}`);
    for (const time of ["20:00:00", "20:00:00.512", "20:00:01.012", "21:00:00.0"])
      read(line(time), sink);
    expect(taken.map(({ seconds }) => seconds)).toEqual([0.5, 0.512, 0.5, 0.5]);
    expect(taken[1]?.joules).toMatchObject({
      ane: 1.024,
      package: expect.closeTo(1.792) as number,
    });
  });

  test("of powermetrics take power over energy, either over nothing, and add up a package", () => {
    readPropertyList(powermetricsSample("2000"), sink);
    expect(taken.pop()?.joules.ane).toBeCloseTo(0.2);
    const older = powermetricsSample("2000")
      .replace(/<key>ane_power.*\n/, "")
      .replace(/<key>combined_power.*\n/, "");
    readPropertyList(older, sink);
    expect(taken.pop()?.joules).toEqual({
      ane: 0.2,
      cpu: expect.closeTo(0.1) as number,
      gpu: expect.closeTo(0.05) as number,
      package: expect.closeTo(0.35) as number,
    });
    expect(() => readPropertyList(older.replace(/<key>ane_energy.*\n/, ""), sink)).toThrow(
      /ane_power/,
    );
    readPropertyList(powermetricsSample("nan"), sink);
    expect(taken.pop()?.joules.ane).toBeNaN();
  });

  test("are taken from no garbage", () => {
    const read = macmonReader(500);
    const words = fc.constantFrom(
      "{",
      "}",
      "[",
      '"ane_power":',
      "1",
      "NaN",
      ",",
      "<plist>",
      "<dict>",
      "null",
    );
    fc.assert(
      fc.property(fc.array(words, { maxLength: 12 }), (parts) => {
        for (const reader of [read, readPropertyList])
          expect(() => reader(parts.join(""), sink)).toThrow();
      }),
    );
  });

  test.each([
    ["ANE", "ane"],
    ["ANE0", "ane"],
    ["DIE_1_CPU Energy", "cpu"],
    ["GPU Energy", "gpu"],
    ["GPU SRAM", undefined],
    ["EACC_CPU0", undefined],
    ["DRAM", undefined],
  ])("of the channel %s count for %s", (name, rail) => {
    expect(railOfChannel(name)).toBe(rail);
  });
});

describe(`IOReport through its double`, () => {
  const double = openDouble("ioreport");
  if (double === undefined) return;
  afterEach(() => {
    expect(double.violations()).toEqual({ count: 0, first: "" });
    // The one that a subscription keeps, and nothing else.
    expect(double.count("live")).toBe(0);
    double.forget();
  });

  test("gives the energy of each rail and releases what it made", async () => {
    vi.stubEnv("ANECDOTE_IOREPORT_LIBRARY", double.path);
    const meter = await opened({ choice: "ioreport" });
    await until(() => (meter.energyJoules().joules.ane ?? 0) >= 1.5);
    const { joules, seconds } = meter.energyJoules();
    const count = double.count("samples") - 1;
    expect(joules.ane).toBeCloseTo(0.5 * count, 9);
    expect(joules.cpu).toBeCloseTo(2 * count, 9);
    expect(joules.gpu).toBeCloseTo(0.25 * count, 9);
    expect(joules.package).toBeCloseTo(2.75 * count, 9);
    expect(seconds).toBeGreaterThan(0.09 * count);
    const watts = meter.watts();
    expect((watts?.package ?? 0) / (watts?.ane ?? 1)).toBeCloseTo(5.5, 9);
    meter.close();
  });

  test("a failure of any call is a reason, and nothing leaks", async () => {
    const functions = [
      ...["CFStringCreateWithCString", "IOReportCopyChannelsInGroup"],
      ...["CFDictionaryCreateMutableCopy", "IOReportCreateSubscription", "IOReportCreateSamples:1"],
      ...["IOReportCreateSamples:2", "IOReportCreateSamplesDelta", "CFDictionaryGetValue"],
      ...["CFArrayGetCount", "IOReportSimpleGetIntegerValue", "IOReportChannelGetUnitLabel"],
    ];
    for (const name of functions) {
      double.order("fail", name);
      const meter = new SourceMeter(ioreportSource(double.path), 20);
      await expect(meter.start(2000), name).rejects.toThrow(/^ioreport: /);
      expect(double.count("live"), name).toBe(0);
    }
    double.order("fail", "");
  });

  test("unknown units and absurd counts are reasons", async () => {
    for (const [what, reason] of [
      ["unit", /counts DIE_0_CPU Energy in "furlongs"/],
      ["value", /its cpu rail reads/],
    ] as const) {
      double.order("garbage", what);
      await expect(new SourceMeter(ioreportSource(double.path), 20).start(2000)).rejects.toThrow(
        reason,
      );
    }
    await expect(
      new SourceMeter(ioreportSource("/nonexistent.so"), 20).start(2000),
    ).rejects.toThrow("/nonexistent.so cannot be loaded");
  });
});
