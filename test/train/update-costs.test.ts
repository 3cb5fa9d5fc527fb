import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EnergyBlock } from "../../src/train/costs/energy-block.ts";
import { UpdateMeter } from "../../src/train/costs/update-costs.ts";

/** A machine whose clock and counters the test moves. */
function machine() {
  const now = { ms: 0, engineMs: 0, flops: 0, meterSeconds: 0, joules: 0 };
  const meter = new UpdateMeter({
    clock: () => now.ms,
    usage: () => ({ engineMs: now.engineMs, hostMs: 0, wallMs: now.engineMs, flops: now.flops }),
    energy: () => ({
      seconds: now.meterSeconds,
      joules: { ane: now.joules, cpu: now.joules, package: 2 * now.joules },
    }),
  });
  return {
    meter,
    now,
    /** Time passes at `watts` a rail; the meter has read up to here. */
    pass: (ms: number, watts = 2) => {
      now.ms += ms;
      now.meterSeconds += ms / 1000;
      now.joules += (watts * ms) / 1000;
    },
  };
}

describe("what updates cost", () => {
  test("is time, engine and energy between two reports, and in all", () => {
    const { meter, now, pass } = machine();
    pass(50);
    meter.resume();
    for (let step = 0; step < 4; step++) {
      pass(100);
      now.engineMs += 80;
      now.flops += 1e11;
      meter.count(32);
    }
    const costs = meter.report();
    expect(costs).toMatchObject({ steps: 4, tokens: 128 });
    expect(costs.seconds).toBeCloseTo(0.4);
    expect(costs.usage).toMatchObject({ engineMs: 320, flops: 4e11 });
    expect(costs.energy?.joules.package).toBeCloseTo(1.6);
    expect(costs.energy?.watts.ane).toBeCloseTo(2);
    expect(costs.energy?.joulesPerStep).toBeCloseTo(0.4);
    expect(costs.energy?.joulesPerToken).toBeCloseTo(0.4 / 32);
    expect(costs.energy?.flopsPerJoule).toBeCloseTo(5e11);
    expect(meter.total()).toMatchObject({ steps: 4, tokens: 128 });
    expect(meter.report()).toMatchObject({ steps: 0, seconds: 0, energy: undefined });
  });

  test("leaves out evaluation, samples and checkpoints", () => {
    const { meter, pass } = machine();
    pass(50);
    meter.resume();
    pass(100);
    meter.count(8);
    meter.pause();
    pass(10_000, 50);
    meter.resume();
    pass(100);
    meter.count(8);
    const { seconds, energy } = meter.report();
    expect(seconds).toBeCloseTo(0.2);
    expect(energy?.seconds).toBeCloseTo(0.2);
    expect(energy?.watts.package).toBeCloseTo(4);
    expect(meter.total().seconds).toBeCloseTo(0.2);
  });

  test("leaves energy to the next report where no reading fell into this one", () => {
    const { meter, now, pass } = machine();
    pass(50);
    meter.resume();
    now.ms += 100;
    meter.count(8);
    expect(meter.report()).toMatchObject({ steps: 1, energy: undefined });
    pass(100);
    meter.count(8);
    const { steps, energy } = meter.report();
    expect(steps).toBe(1);
    // 0.1 s of readings over two updates that took 0.2 s at 4 W.
    expect(energy?.seconds).toBeCloseTo(0.1);
    expect(energy?.joulesPerStep).toBeCloseTo(0.4);
  });

  test("has no energy without a meter, nor of a rail that is not read", () => {
    const none = new UpdateMeter({ usage: () => undefined, energy: () => undefined });
    none.resume();
    none.count(1);
    expect(none.report()).toMatchObject({ usage: undefined, energy: undefined });
    let seconds = 1;
    const engineOnly = new UpdateMeter({
      usage: () => undefined,
      energy: () => ({ seconds, joules: { ane: seconds } }),
    });
    engineOnly.resume();
    seconds = 2;
    engineOnly.count(1);
    expect(engineOnly.report().energy).toMatchObject({
      joules: { ane: 1 },
      watts: { ane: 1 },
      joulesPerStep: undefined,
      joulesPerToken: undefined,
    });
  });

  test("adds up over any course of updates, pauses and reports", () => {
    const acts = fc.constantFrom("update", "pause", "report");
    fc.assert(
      fc.property(fc.array(acts, { maxLength: 40 }), (course) => {
        const { meter, pass } = machine();
        pass(1);
        meter.resume();
        let [steps, seconds, joules] = [0, 0, 0];
        for (const act of [...course, "update", "report"]) {
          if (act === "update") {
            pass(10);
            meter.count(4);
          } else if (act === "pause") {
            meter.pause();
            pass(1000, 9);
            meter.resume();
          } else {
            const costs = meter.report();
            steps += costs.steps;
            seconds += costs.seconds;
            joules += costs.energy?.joules.package ?? 0;
          }
        }
        const total = meter.total();
        expect(total.steps).toBe(steps);
        expect(total.seconds).toBeCloseTo(seconds, 9);
        expect(total.energy?.joules.package).toBeCloseTo(joules, 9);
        expect(joules).toBeCloseTo(0.04 * steps, 9);
      }),
    );
  });
});

describe("the energy block", () => {
  test("carries readings, the meter's name and why there is none to another thread's view", () => {
    const block = new EnergyBlock();
    const other = new EnergyBlock(block.buffer);
    expect(other.state).toEqual({ kind: "pending" });
    expect(other.energy).toEqual({ seconds: 0, joules: { ane: 0, cpu: 0, gpu: 0, package: 0 } });
    block.publish({ seconds: 1.5, joules: { ane: 3, package: 4 } });
    block.announce({ kind: "reading", meter: "macmon" });
    expect(other.energy).toEqual({ seconds: 1.5, joules: { ane: 3, package: 4 } });
    expect(other.state).toEqual({ kind: "reading", meter: "macmon" });
    block.announce({ kind: "unavailable", reason: "é".repeat(5000) });
    expect(other.state).toEqual({ kind: "unavailable", reason: "é".repeat(1024) });
  });
});
