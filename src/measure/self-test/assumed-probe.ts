import type { Driver } from "../../chip/chip.ts";
import { ASSUMPTIONS } from "../../engine/ane/probe.ts";
import type { AneDriver, AssumptionId } from "../../engine/ane/probe.ts";
import { given } from "./arithmetic-programs.ts";
import { constant, program } from "./number-case.ts";
import type { Outcome } from "./outcome.ts";
import type { Probe } from "./probe.ts";
import { compared, increment, ramp } from "./program-probes.ts";
import { LoadedProgram, runProgram } from "./run-program.ts";

type Row = Omit<Probe, "driver" | "source" | "title" | "id" | "assumption" | "needs" | "failure"> &
  Partial<Pick<Probe, "needs" | "failure">>;

/** Makes probes of entries of a driver's assumptions: sentence and source are the entry's. */
export function assumedBy<Name extends Driver>(
  driver: Name,
): (id: Extract<AssumptionId, `${Name}.${string}`>, row: Row) => Probe {
  return (id, row) => ({
    id,
    assumption: id,
    title: ASSUMPTIONS[id].says,
    source: ASSUMPTIONS[id].source,
    driver,
    needs: ["program.runs"],
    failure: "did not hold",
    ...row,
  });
}

/** Adds a constant of 64 different numbers, which stands in the weight file. */
export async function addStoredConstant(driver: AneDriver): Promise<Outcome> {
  const numbers = Array.from({ length: 64 }, (_, index) => index * index);
  const fn = program([[1, 64]], (f, x) =>
    f.op("add", { x: given(x), y: constant(f, [1, 64], numbers) }),
  );
  const [sum] = await runProgram(driver, fn, [numbers.map((n) => -n)]);
  return compared(
    sum ?? [],
    numbers.map(() => 0),
    "64 right numbers",
  );
}

/** Runs an addition `count` times and compares the last result; `told` is said where it is right. */
export async function runAgain(driver: AneDriver, count: number, told: string): Promise<Outcome> {
  const loaded = await LoadedProgram.load(driver, increment());
  let last: readonly Float64Array[] = [];
  for (let run = 0; run < count; run++) last = await loaded.run([ramp]);
  loaded.release();
  return compared(
    last[0] ?? [],
    ramp.map((x) => x + 1),
    told,
  );
}
