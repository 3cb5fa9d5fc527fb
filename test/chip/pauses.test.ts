import { expect, test } from "vitest";
import { paced, pauseCostMs } from "../../src/chip/cost/pauses.ts";

test("a call of 1.6 ms pays for the pause before it what M6 did", () => {
  expect(pauseCostMs(1.6, 0.1)).toBe(0);
  // 8 to 30 %.
  expect(pauseCostMs(1.6, 10) / 1.6).toBeCloseTo(0.19);
  expect(pauseCostMs(1.6, 100)).toBeCloseTo(4);
  expect(pauseCostMs(1.6, 5500)).toBeCloseTo(4);
  // Off at 5.68 s, woken at 10.2, off again at 15.3: 47 to 60, 9.1 to 9.6, 53 to 58 ms.
  expect(pauseCostMs(1.6, 5700)).toBeCloseTo(53);
  expect(1.7 + pauseCostMs(1.7, 12_000)).toBeGreaterThan(9.1);
  expect(1.7 + pauseCostMs(1.7, 12_000)).toBeLessThan(9.6);
  expect(pauseCostMs(1.6, 20_000)).toBeCloseTo(53);
});

test("longer calls run through the clock's ramp, which ends after 50 ms of work", () => {
  const short = pauseCostMs(1.6, 1000);
  const middle = pauseCostMs(20, 1000);
  const long = pauseCostMs(50, 1000);
  expect(middle).toBeGreaterThan(short + 10);
  expect(long).toBeGreaterThan(middle);
  expect(pauseCostMs(5000, 1000)).toBe(long);
  // Four fifths of the way from 852 MHz: 27 tasks of 34 ms took 62 ms there.
  expect(34 + pauseCostMs(34, 1000)).toBeGreaterThan(55);
  expect(34 + pauseCostMs(34, 1000)).toBeLessThan(70);
});

test("a call every second and a server that idles use their energy once and nothing between", () => {
  const step = paced(50, 0.2, 1000);
  expect(step.ms).toBeCloseTo(50 + pauseCostMs(50, 950));
  expect(step.watts).toBeCloseTo(0.2);
  const idle = paced(50, 0.2, 60_000);
  expect(idle.addedMs).toBeGreaterThan(53);
  expect(idle.ms).toBe(idle.coldMs);
  expect(idle.watts).toBeCloseTo(0.2 / 60);
  const busy = paced(50, 0.2, 10);
  expect(busy).toMatchObject({ ms: 50, pauseMs: 0, addedMs: 0 });
  expect(busy.watts).toBeCloseTo(4);
  expect(busy.lowClock).toBeUndefined();
});

test("calls with short pauses between them are told at the low clock too", () => {
  const { lowClock, ms } = paced(2, 0.003, 4);
  expect(ms).toBeCloseTo(2.38);
  expect(lowClock?.ms ?? 0).toBeGreaterThan(2 * 2.2);
  expect(lowClock?.ms ?? 0).toBeLessThan(2 * 2.9);
  expect(lowClock?.joules).toBeCloseTo(0.001);
  expect(paced(2, 0.003, 1000).lowClock).toBeUndefined();
});
