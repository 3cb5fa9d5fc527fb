import { join } from "node:path";
import type { Driver } from "../chip/chip.ts";
import { chipByName } from "../chip/chips.ts";
import { saveText, textWeightsPath } from "../coreml/index.ts";
import { chooseChip, findLibrary, hasNeuralEngine } from "../engine/ane/probe.ts";
import { chooseDriver } from "../chip/choose-driver.ts";
import { engineOptions } from "../engine/create.ts";
import { programOf } from "../mil/builder.ts";
import type { MilFunction } from "../mil/program.ts";
import { printProgram } from "../mil/text/index.ts";
import { placePlan } from "../lower/index.ts";
import type { Plan } from "../plan/plan.ts";
import { UsageError } from "./errors.ts";
import { requireFreeOutputs } from "../files/output-file.ts";
import { simulatedChip } from "../chip/simulated.ts";
import type { EngineChoice } from "../engine/create.ts";
import { printJson } from "./terminal.ts";

/** A program of a plan as it goes where it runs. */
interface ShownProgram {
  readonly name: string;
  readonly function: MilFunction;
  readonly place: "engine" | "host";
  /** Why it stays on the host. */
  readonly reason?: string;
}

interface ShownPlan {
  readonly programs: readonly ShownProgram[];
  /** The Neural Engine that programs are rewritten for; absent where they run as the plan has them. */
  readonly target?: { readonly chip: string; readonly driver: Driver };
}

export interface ShowOptions {
  /** Folder for a file a program; absent prints them. */
  readonly output: string | undefined;
  readonly overwrite: boolean;
  readonly json: boolean;
}

/**
 * Prints a plan's programs as the chosen engine takes them, or writes a file for each: those of a Neural Engine in
 * fp16 and rewritten for the chip, those of the host as the plan has them, in `host/`.
 */
export async function showPrograms(
  plan: Plan,
  config: EngineChoice,
  { output, overwrite, json }: ShowOptions,
): Promise<void> {
  const shown = await programsOf(plan, config);
  const files = output === undefined ? undefined : write(shown, output, overwrite);
  if (json) {
    printJson(jsonOf(shown, files));
    return;
  }
  if (files === undefined) {
    process.stdout.write(
      `// ${shown.programs.length} programs one after the other; --output DIR writes a file for each\n\n`,
    );
  }
  for (const program of shown.programs) {
    const written = files?.get(program.name);
    process.stdout.write(
      written === undefined
        ? `// ${program.name}${whereOf(program, shown)}\n${printProgram(programOf(program.function))}\n`
        : `${written.join(", ")}${whereOf(program, shown)}\n`,
    );
  }
}

async function programsOf(plan: Plan, config: EngineChoice): Promise<ShownPlan> {
  const chip = await chipOf(config.engine);
  if (chip === undefined) {
    return {
      programs: [...plan.programs.values()].map(({ name, function: fn }) => ({
        name,
        function: fn,
        place: "host",
      })),
    };
  }
  const driver = chooseDriver(config.ane_driver);
  const { operandScaling = "auto" } = engineOptions(config);
  const placed = placePlan(plan, chip, driver, { operandScaling });
  return {
    target: { chip: chip.name, driver },
    programs: [...plan.programs.values()].map(({ name, function: fn }): ShownProgram => {
      const found = placed.get(name);
      return found?.place === "engine"
        ? { name, function: found.program.function, place: "engine" }
        : { name, function: fn, place: "host", reason: found?.reason ?? "not placed" };
    }),
  };
}

/** The chip whose programs `--engine` runs; undefined for the engines that take them as they are. */
async function chipOf(engine: string) {
  const simulated = simulatedChip(engine);
  if (simulated !== undefined) return simulated;
  if (engine !== "ane") return undefined;
  const named = process.env["ANECDOTE_ANE_CHIP"];
  if (named !== undefined && named !== "") return chipByName(named);
  if (hasNeuralEngine()) return chooseChip(undefined, findLibrary());
  throw new UsageError("cli.show.chip", "--show needs a chip, and this machine has none", {
    remedy: "Name one, as in --engine sim:m4.",
  });
}

/** The files of each program. */
function write(
  { programs, target }: ShownPlan,
  folder: string,
  overwrite: boolean,
): ReadonlyMap<string, readonly string[]> {
  const pathOf = ({ name, place }: ShownProgram): string =>
    target !== undefined && place === "host"
      ? join(folder, "host", `${name}.mil`)
      : join(folder, `${name}.mil`);
  const paths = programs.map(pathOf);
  requireFreeOutputs({
    paths: paths.flatMap((path) => [path, textWeightsPath(path)]),
    inputs: [],
    overwrite,
  });
  return new Map(
    programs.map((program) => [
      program.name,
      saveText(pathOf(program), programOf(program.function)),
    ]),
  );
}

function whereOf({ place, reason }: ShownProgram, { target }: ShownPlan): string {
  if (target === undefined) return "";
  return place === "engine"
    ? `: for ${target.chip} through ${target.driver}, rewritten`
    : `: stays on the host: ${reason ?? ""}`;
}

function jsonOf(
  { programs, target }: ShownPlan,
  files: ReadonlyMap<string, readonly string[]> | undefined,
): object {
  return {
    ...target,
    programs: programs.map(({ name, function: fn, place, reason }) => ({
      name,
      ...(target !== undefined && { place }),
      ...(reason !== undefined && { reason }),
      ...(files === undefined
        ? { text: printProgram(programOf(fn)) }
        : { files: files.get(name) ?? [] }),
    })),
  };
}
