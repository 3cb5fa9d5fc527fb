import { availableParallelism } from "node:os";
import { arithmeticOf } from "../../chip/arithmetic/arithmetic.ts";
import type { ArithmeticChoice } from "../../chip/arithmetic/arithmetic.ts";
import { familyIndex } from "../../chip/chip.ts";
import { OpenPlans } from "../host/open-plans.ts";
import { calibratedChip, readCalibration, reportOf } from "../../chip/calibration.ts";
import type { Chip, Driver } from "../../chip/chip.ts";
import { chipByName } from "../../chip/chips.ts";
import type { OperandScaling } from "../../lower/operand-scaling.ts";
import type { Plan } from "../../plan/plan.ts";
import { chooseDriver } from "../../chip/choose-driver.ts";
import { VERSION } from "../../util/version.ts";
import type { Engine, EngineDescription, LoadOptions } from "../engine.ts";
import { Machine } from "./machine.ts";
import type { Numerics } from "./numerics.ts";
import { SimPlan } from "./sim-plan.ts";
import type { SimulatedClock } from "./sim-plan.ts";
import { simulatedName } from "../../chip/simulated.ts";

export interface SimEngineOptions {
  readonly threads?: number;
  /** Default "e5rt", or what `ANECDOTE_ANE_DRIVER` names. */
  readonly driver?: Driver;
  /** Powers of two at operands where products would be lost. Default "auto". */
  readonly operandScaling?: OperandScaling;
  /** "exact" (default) is the engine's arithmetic bit for bit, "fp16" an approximation without grid and tables. */
  readonly numerics?: Numerics;
  /** Which rules decide about bits, as `parseArithmetic` reads them, or `calibrated:FILE`. Default: the best-supported ones for the chip. */
  readonly arithmetic?: ArithmeticChoice | string;
  /** Miscompiles and clamps of older chips; on unless switched off. */
  readonly clampSlices?: boolean;
}

/** An engine that says what the simulated chip would have taken. */
export interface SimEngine extends Engine {
  /** Predicted milliseconds, joules and watts of everything run so far. */
  readonly clock: () => SimulatedClock;
  /** Multiply-accumulates so far, by the kernel that ran them. */
  readonly products: () => Readonly<Record<string, number>>;
}

/** The chip and its rules, with what a report says where the choice is `calibrated:FILE`. */
function chosen(
  chip: Chip,
  choice: ArithmeticChoice | string | undefined,
): { readonly record: Chip; readonly choice: ArithmeticChoice | string | undefined } {
  const path = typeof choice === "string" ? reportOf(choice) : undefined;
  if (path === undefined) return { record: chip, choice };
  const calibration = readCalibration(path);
  return { record: calibratedChip(chip, calibration), choice: calibration.arithmetic };
}

/**
 * The Neural Engine of a chip on this machine's processor: its arithmetic, its refusals, and a clock by the cost
 * model. `chip` is a chip's name ("m4"). Throws `ChipError` for an unknown one, `EngineError` for an unknown driver.
 */
export function createSimEngine(chip: string, options: SimEngineOptions = {}): SimEngine {
  const { record, choice } = chosen(chipByName(chip), options.arithmetic);
  const { operandScaling } = options;
  const driver = chooseDriver(options.driver);
  const threads = options.threads ?? availableParallelism();
  const machine = new Machine(threads);
  const family = familyIndex(record.family);
  const context = {
    numerics: options.numerics ?? "exact",
    machine,
    arithmetic: arithmeticOf(record.family, choice),
    clampSlices: options.clampSlices ?? family <= familyIndex("H14"),
  };
  const description: EngineDescription = Object.freeze({
    name: simulatedName(record),
    device: `${record.name} (simulated, ${driver})`,
    runtime: `anecdote ${VERSION}, node ${process.version}`,
    threads,
    arithmetic: "fp16",
  });
  let elapsedMs = 0;
  let joules = 0;
  const advance = (ms: number, energy: number): void => {
    elapsedMs += ms;
    joules += energy;
  };
  const open = new OpenPlans();
  return {
    description,
    load: (plan: Plan, loadOptions: LoadOptions = {}) =>
      Promise.resolve().then(() => {
        const loaded = new SimPlan(
          plan,
          { chip: record, driver, operandScaling, context, advance },
          loadOptions,
        );
        open.add(loaded);
        return loaded;
      }),
    clock: () => ({
      elapsedMs,
      joules,
      watts: elapsedMs === 0 ? 0 : joules / (elapsedMs * 1e-3),
    }),
    products: () => machine.products.counts,
    close: async () => {
      await open.close();
      await machine.close();
    },
  };
}
