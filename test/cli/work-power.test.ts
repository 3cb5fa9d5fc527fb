import { afterEach, describe, expect, test, vi } from "vitest";
import { WorkPower, tokenCosts, tokenCostsText } from "../../src/cli/power.ts";
import { useFakeCommands } from "../helpers/fake-commands.ts";
import { MACMON } from "../track/fake-meters.ts";

afterEach(() => vi.unstubAllEnvs());

async function pass(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

describe("power of a command's work", () => {
  test("is the mean between the first and the last progress, and gives joules a token", async () => {
    useFakeCommands({ macmon: MACMON });
    const power = new WorkPower("macmon");
    await pass(600);
    for (let step = 0; step < 6; step++) {
      power.mark();
      await pass(100);
    }
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
