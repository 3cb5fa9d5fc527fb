import type { Driver } from "../../chip/chip.ts";
import { ASSUMPTIONS, canonicalSource } from "../../engine/ane/probe.ts";
import type { AneDriver, AssumptionId, DriverOperation } from "../../engine/ane/probe.ts";
import { given } from "./arithmetic-programs.ts";
import { constant, program } from "./number-case.ts";
import type { Outcome } from "./outcome.ts";
import type { Probe } from "./probe.ts";
import { compared, increment, ramp, rampPlus, WIDTH } from "./program-probes.ts";
import { LoadedProgram, readNumbers, runProgram, writeNumbers } from "./run-program.ts";

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
  const fn = program([[1, 64]], (f, x) => f.op("add", { x, y: constant(f, [1, 64], numbers) }));
  const [sum] = await runProgram(driver, fn, [numbers.map((n) => -n)]);
  return compared(
    sum,
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
  return compared(last[0], rampPlus(1), told);
}

/** One compiled addition loaded twice with buffers of its own, run on one stream in an order. */
export async function loadedTwice(
  driver: AneDriver,
  {
    byteLength,
    order,
    told,
  }: {
    /** Of each buffer. */
    readonly byteLength: number;
    readonly order: (first: DriverOperation, second: DriverOperation) => readonly DriverOperation[];
    /** Said where both are right. */
    readonly told: string;
  },
): Promise<Outcome> {
  const compiled = await driver.compile(canonicalSource("probe", increment()));
  const buffers = Array.from({ length: 4 }, () => driver.allocate(byteLength));
  const [a, b, c, d] = buffers;
  const first = driver.load(compiled, [given(a)], [given(b)], "first");
  const second = driver.load(compiled, [given(c)], [given(d)], "second");
  const stream = driver.encode(order(first, second));
  writeNumbers(given(a), ramp);
  writeNumbers(
    given(c),
    ramp.map((x) => 10 * x),
  );
  await driver.execute(stream, "both");
  const outcome = compared(
    [...readNumbers(given(b), WIDTH), ...readNumbers(given(d), WIDTH)],
    [...rampPlus(1), ...ramp.map((x) => 10 * x + 1)],
    told,
  );
  stream.release();
  first.release();
  second.release();
  compiled.release();
  for (const buffer of buffers) buffer.release();
  return outcome;
}
