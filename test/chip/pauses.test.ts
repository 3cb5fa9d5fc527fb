import { expect, test } from "vitest";
import { paced, pauseCostMs } from "../../src/chip/cost/pauses.ts";

test("a call pays for the pause before it: clock, first call, power", () => {
  expect(pauseCostMs(10, 0.1)).toBe(0);
  expect(pauseCostMs(10, 5)).toBeCloseTo(1.9);
  expect(pauseCostMs(10, 1000)).toBeCloseTo(5.9);
  expect(pauseCostMs(10, 5600)).toBeCloseTo(5.9);
  expect(pauseCostMs(10, 6000)).toBeCloseTo(54.9);
  // A long call is at its full clock after 50 ms.
  expect(pauseCostMs(1000, 1000)).toBeCloseTo(13.5);
});

test("a call every second and a server that idles use their energy once and nothing between", () => {
  const step = paced(50, 0.2, 1000);
  expect(step.ms).toBeCloseTo(63.5);
  expect(step.watts).toBeCloseTo(0.2);
  const idle = paced(50, 0.2, 60_000);
  expect(idle.ms).toBeCloseTo(112.5);
  expect(idle.watts).toBeCloseTo(0.2 / 60);
  const busy = paced(50, 0.2, 10);
  expect(busy).toMatchObject({ ms: 50, pauseMs: 0, addedMs: 0 });
  expect(busy.watts).toBeCloseTo(4);
});
