import { afterEach, describe, expect, test, vi } from "vitest";
import { WorkPower, tokenCosts, tokenCostsText, watchPower } from "../../src/cli/power.ts";
import { useFakeCommands } from "../helpers/fake-commands.ts";
import { MACMON } from "../track/fake-meters.ts";

afterEach(() => vi.unstubAllEnvs());

async function pass(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

describe("power of a command's work", () => {
  test("is the mean between the first and the last progress, and gives joules a token", async () => {
    useFakeCommands({ macmon: MACMON });
    const watch = watchPower("macmon");
    const power = new WorkPower(watch);
    const reads = (): number => watch.energy.energy.seconds;
    await expect.poll(reads).toBeGreaterThan(0);
    const [seconds, startedMs] = [reads(), performance.now()];
    // On a busy machine readings come late: until they cover the work.
    do {
      power.mark();
      await pass(100);
    } while (reads() - seconds < 0.7 * ((performance.now() - startedMs) / 1000));
    power.mark();
    const mean = power.end();
    expect(mean?.power_meter).toBe("macmon");
    expect(mean?.watts).toBeCloseTo(3.5, 6);
    expect(tokenCosts(mean, 7).joules_per_token).toBeCloseTo(0.5, 6);
    expect(tokenCostsText(mean, 7)).toBe(", 3.50 W, 500 mJ a token (macmon)");
  });

  test("is unknown without a meter, without progress, and where no reading fell into the work", async () => {
    const none = new WorkPower("off");
    none.mark();
    none.mark();
    expect(none.end()).toBeUndefined();
    expect(tokenCosts(undefined, 7)).toEqual({});
    expect(tokenCostsText(undefined, 7)).toBe("");
    useFakeCommands({ macmon: MACMON });
    const still = new WorkPower("macmon");
    await pass(300);
    still.mark();
    still.mark();
    expect(still.end()).toBeUndefined();
  });
});
