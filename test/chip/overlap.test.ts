import { array, assert, constantFrom, integer, property, record } from "fast-check";
import { describe, expect, test } from "vitest";
import { overlappedMs } from "../../src/chip/cost/overlap.ts";
import type { LaneTask } from "../../src/chip/cost/overlap.ts";

const on = (buffer: string) => [{ buffer, offset: 0, count: 1 }];

function task(lane: LaneTask["lane"], ms: number, reads: string[], writes: string[]): LaneTask {
  return { lane, ms, memoryBytes: 0, reads: reads.flatMap(on), writes: writes.flatMap(on) };
}

describe("engine and host at the same time", () => {
  test("a layer's gradients are converted while the engine runs the next", () => {
    const layers = [0, 1, 2].flatMap((layer) => [
      task("engine", 4, ["hidden"], ["hidden", `result${layer}`]),
      task("host", 3, [`result${layer}`], [`gradient${layer}`]),
    ]);
    // The last conversion has nothing to hide behind.
    expect(overlappedMs(layers, 1)).toBe(15);
  });

  test("the host takes first what the engine waits for", () => {
    const tasks = [
      task("host", 10, [], ["statistics"]),
      task("host", 2, [], ["weights"]),
      task("engine", 5, ["weights"], ["hidden"]),
    ];
    expect(overlappedMs(tasks, 1)).toBe(12);
  });

  test("bytes of both are paid for with the package's bandwidth", () => {
    const tasks = [
      { ...task("host", 1, [], ["a"]), memoryBytes: 300 },
      { ...task("engine", 1, [], ["b"]), memoryBytes: 200 },
    ];
    expect(overlappedMs(tasks, 100)).toBe(5);
    expect(overlappedMs(tasks, 1e6)).toBe(1);
  });

  test("takes no longer than one after the other and no less than the busier lane", () => {
    const names = constantFrom("a", "b", "c", "d");
    const tasks = array(
      record({
        lane: constantFrom("engine" as const, "host" as const),
        ms: integer({ min: 0, max: 9 }),
        reads: array(names, { maxLength: 2 }),
        writes: array(names, { maxLength: 2 }),
      }).map(({ lane, ms, reads, writes }) => task(lane, ms, reads, writes)),
      { maxLength: 14 },
    );
    assert(
      property(tasks, (given) => {
        const total = (lane?: string): number =>
          given
            .filter((one) => lane === undefined || one.lane === lane)
            .reduce((s, { ms }) => s + ms, 0);
        const ms = overlappedMs(given, 1);
        expect(ms).toBeLessThanOrEqual(total());
        expect(ms).toBeGreaterThanOrEqual(Math.max(total("engine"), total("host")));
      }),
    );
  });
});
