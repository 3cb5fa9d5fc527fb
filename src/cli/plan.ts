import type { Command } from "commander";
import { chooseDriver } from "../chip/choose-driver.ts";
import { autoChoice, mayBeNeuralEngine } from "../engine/auto.ts";
import { createEngine, engineOptions } from "../engine/create.ts";
import type { SectionExecution } from "../engine/engine.ts";
import { placePlan } from "../lower/index.ts";
import type { OperandScale } from "../lower/index.ts";
import { describeModel, describedModel } from "../model/describe.ts";
import { planJson, printPlan } from "../plan/print.ts";
import type { Plan } from "../plan/plan.ts";
import { LINKS } from "../cluster/index.ts";
import type { TrainConfig } from "../train/index.ts";
import type { MachineFlags } from "./plan-machines.ts";
import { formatPrices, pricesJson, pricesOf } from "./plan-prices.ts";
import {
  TRAIN_DEFAULTS,
  TRAIN_OPTIONS,
  planOf,
  plannedTraining,
  readTrainLayer,
} from "../train/index.ts";
import { CHANGES_PLAN } from "../train/config/plan-keys.ts";
import { flagName } from "../util/options.ts";
import type { Exit } from "./exit.ts";
import { UsageError } from "./errors.ts";
import { addOptions, commandLineLayer } from "./options.ts";
import { resolveFromCommandLine } from "./train.ts";
import { simulatedChip } from "../chip/simulated.ts";
import type { EngineChoice } from "../engine/create.ts";
import { printJson, printNote } from "./terminal.ts";

export function register(program: Command, _exit: Exit): void {
  const command = program
    .command("plan")
    .option("-c, --config <file>", "YAML file with the training options")
    .option("--json", "the plan as one JSON object")
    .option("--memory <size>", "whether it fits so much memory, as 16GB, and what limits it")
    .option(
      "--measure",
      "with --memory: time a few of its layers here, and say what all would take",
    )
    .option(
      "--machines <n>",
      "predict an update on so many machines, or of mixed chips as m4:6,m2:2: layouts, memory, what limits",
    )
    .option(
      "--chip <name>",
      "the chip that steps, frozen bases and placements are priced for (default: that of sim:<chip>, else m4)",
    )
    .option(
      "--link <name>",
      `with --machines: ${LINKS.map(({ name }) => name).join(", ")}, or RATE:LATENCY such as 9.4gbit:0.03ms (default: 10gbe)`,
    )
    .option("--machine-memory <gib>", "with --machines: memory of each (default: 16)")
    .option("--growth", "with --machines: the best layouts of 1 to 1,024")
    .option("--svg <file>", "with --machines: the best layout's timeline")
    .addHelpText(
      "after",
      `
With --engine, the engine loads the plan and tells how it runs it: which dispatches it joins, and why.

Examples:
  anecdote plan --preset stories15M --recompute auto --tap-bytes 200000000
  anecdote plan --preset nanogpt-char --engine cpu
  anecdote plan --preset nanogpt-char --engine sim:m4   # with the scales of operands
  anecdote plan --preset stories110M --machines 8 --chip m4 --link 10gbe --svg step.svg
  anecdote plan --preset llama-2-70b --method qlora --memory 16GB --chip m4
  anecdote plan --preset stories15M --method lora --chip m4     # constants or inputs, with both prices
  anecdote plan --preset stories15M --engine sim:m4 --placement linear-only`,
    );
  addOptions(command, TRAIN_OPTIONS, TRAIN_DEFAULTS);
  for (const option of command.options) {
    const key = option.name().replaceAll("-", "_");
    const isRead = MACHINE_SETTINGS.some((setting) => setting === key);
    if (key in CHANGES_PLAN && !CHANGES_PLAN[key as keyof typeof CHANGES_PLAN] && !isRead)
      option.hideHelp();
  }
  command.action(async (flags: PlanFlags) => {
    refuseIdleSettings(command, flags.machines === undefined ? [] : MACHINE_SETTINGS);
    const { memory, machines: count } = flags;
    if (flags.measure === true && (memory === undefined || count !== undefined))
      throw new UsageError("cli.plan.measure", "--measure does nothing without --memory SIZE", {
        remedy: "Times of several machines are predicted, not measured.",
      });
    const several = count === undefined ? {} : { isGroup: true };
    const { config, origins } = resolveFromCommandLine(command, flags.config, several);
    await tellWhatAutoRefuses(config);
    if (memory !== undefined && count === undefined) {
      await (await import("./plan-memory.ts")).printMemory(config, memory, flags);
      return;
    }
    const { memorySize } = await import("./plan-memory.ts");
    const machineMemory = memory === undefined ? undefined : `${memorySize(memory) / 2 ** 30}`;
    const machines = machineFlags(
      machineMemory === undefined ? flags : { ...flags, machineMemory },
      origins,
      config,
    );
    if (machines !== undefined) {
      const { machineGroups, planMachines } = await import("./plan-machines.ts");
      planMachines(config, { ...machines, machines: machineGroups(machines.machines, flags.chip) });
      return;
    }
    const model = plannedTraining(config);
    const built = planOf(config, model);
    const execution =
      origins.get("engine") === "command line" ? await executionOf(built.plan, config) : undefined;
    const scales = scalesOf(built.plan, config);
    const prices = pricesOf(config, model, built.plan, flags.chip);
    if (flags.json === true) {
      const more = {
        ...(execution && { execution }),
        ...(scales && { scales }),
        ...(prices && pricesJson(prices)),
      };
      printJson({ model: describedModel(model), ...planJson(built), ...more });
      return;
    }
    process.stdout.write(`${describeModel(model)}\n\n${printPlan(built)}`);
    if (execution !== undefined) process.stdout.write(formatExecution(config.engine, execution));
    if (scales !== undefined) process.stdout.write(formatScales(config, scales));
    if (prices !== undefined) process.stdout.write(formatPrices(prices));
  });
}

interface PlanFlags {
  readonly config?: string;
  readonly json?: boolean;
  readonly memory?: string;
  readonly measure?: boolean;
  readonly machines?: string;
  readonly chip?: string;
  readonly link?: string;
  readonly machineMemory?: string;
  readonly growth?: boolean;
  readonly svg?: string;
}

/** Settings that change what several machines do, and no plan of one. */
const MACHINE_SETTINGS = ["gradient_accumulation_steps", "wire"] as const;

/** What `--machines` asks for. Throws `UsageError` for its flags without it, and for numbers that are none. */
function machineFlags(
  flags: PlanFlags,
  origins: ReadonlyMap<string, string>,
  config: TrainConfig,
): (Omit<MachineFlags, "machines"> & { readonly machines: string }) | undefined {
  const { machines, chip, link, machineMemory, growth, svg, json = false } = flags;
  const { gradient_accumulation_steps: batchCount } = config;
  if (machines === undefined) {
    requireUseOfChip(chip, config);
    const idle = Object.entries({ link, machineMemory, growth, svg }).find(
      ([, value]) => value !== undefined,
    );
    if (idle === undefined) return undefined;
    const name = flagName(idle[0].replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
    throw new UsageError("cli.plan.machines", `${name} does nothing without --machines N`);
  }
  const memory = Number(machineMemory ?? "16");
  if (!(memory > 0)) {
    throw new UsageError(
      "cli.plan.machines",
      `--machine-memory takes a number above 0, not "${machineMemory ?? ""}"`,
    );
  }
  const isGiven = origins.get("gradient_accumulation_steps") === "command line";
  return {
    ...{ machines, link: link ?? "10gbe", svg, json, growth: growth === true },
    machineMemory: memory,
    batchCount: isGiven ? batchCount : undefined,
  };
}

/** Throws `UsageError` for a chip where there is nothing to price: all weights are trained, all is the engine's. */
function requireUseOfChip(chip: string | undefined, { method, placement }: TrainConfig): void {
  if (chip === undefined || method !== "full" || placement === "linear-only") return;
  throw new UsageError(
    "cli.plan.machines",
    "--chip does nothing without --machines N, --memory SIZE, a frozen base (--method lora) or --placement linear-only",
    { remedy: "What a step takes on a chip: anecdote estimate." },
  );
}

/**
 * Throws `UsageError` for a training setting of the command line that changes no plan. A file has the settings of the
 * whole run, and may.
 */
function refuseIdleSettings(command: Command, read: readonly string[]): void {
  const { values } = readTrainLayer(commandLineLayer(command, TRAIN_OPTIONS));
  for (const [key, changes] of Object.entries<boolean>(CHANGES_PLAN)) {
    if (changes || read.includes(key) || !Object.hasOwn(values, key)) continue;
    throw new UsageError("cli.plan.idle", `${flagName(key)} does nothing: it changes no plan`, {
      remedy: `Leave it out, or print the plan of a whole command: anecdote train … --show plan`,
    });
  }
}

/** Tells of a plan for a Neural Engine that a run under `--engine auto` would refuse on this machine, which is to be the CPU. */
async function tellWhatAutoRefuses({
  engine,
  ane_driver: driver,
  placement,
  method,
  base_weights: base,
}: TrainConfig): Promise<void> {
  const isConstant = method !== "full" && base === "constants";
  if (engine !== "auto" || (placement === "engine" && !isConstant)) return;
  const auto = await autoChoice({ ...(driver !== undefined && { driver }) });
  if (auto.engine !== "cpu") return;
  const flag = placement === "engine" ? "--base-weights constants" : `--placement ${placement}`;
  printNote(
    `${flag} is a Neural Engine's, and --engine auto is cpu on this machine: a run would be refused there; take --engine sim:m4 or ane`,
  );
}

/** Nothing for a Neural Engine on a machine that has none: its plan and prices are told all the same. */
async function executionOf(
  plan: Plan,
  config: EngineChoice,
): Promise<readonly SectionExecution[] | undefined> {
  if (config.engine === "ane" && !mayBeNeuralEngine()) {
    printNote(
      "this machine has no Neural Engine: the plan is told as it is written and priced, not as an engine loads it",
    );
    return undefined;
  }
  const engine = await createEngine(config.engine, engineOptions(config));
  try {
    const loaded = await engine.load(plan);
    try {
      return [...plan.sections.keys()].flatMap((section) => {
        const execution = loaded.describeExecution?.(section);
        return execution === undefined ? [] : [execution];
      });
    } finally {
      await loaded.close();
    }
  } finally {
    await engine.close();
  }
}

interface ProgramScales {
  readonly program: string;
  readonly scales: readonly OperandScale[];
}

/** The powers of two at operands of products, for a named chip: `--engine sim:<chip>`. */
function scalesOf(plan: Plan, config: EngineChoice): readonly ProgramScales[] | undefined {
  const chip = simulatedChip(config.engine);
  if (chip === undefined) return undefined;
  const { operandScaling = "auto" } = engineOptions(config);
  const placed = placePlan(plan, chip, chooseDriver(config.ane_driver), { operandScaling });
  return [...placed].flatMap(([program, found]) =>
    found.place === "engine" && found.program.scales.length > 0
      ? [{ program, scales: found.program.scales }]
      : [],
  );
}

function formatScales(
  { scaling = "auto" }: EngineChoice,
  programs: readonly ProgramScales[],
): string {
  const power = (exponent: number): string => `2^${exponent.toFixed(1)}`;
  const lines = programs.flatMap(({ program, scales }) => [
    `  ${program}`,
    ...scales.map(
      ({ product, operand, exponent, range }) =>
        `    ${product}: ${operand} times 2^${exponent}; products about ${power(range.product)}, sums up to ${power(range.sum)}`,
    ),
  ]);
  const none = programs.length === 0 ? " none" : "";
  return `\noperands scaled against the engine's grid (--scaling ${scaling}):${none}\n${lines.join("\n")}\n`;
}

function formatExecution(engineName: string, execution: readonly SectionExecution[]): string {
  if (execution.length === 0) return `\non ${engineName}: each dispatch runs by itself\n`;
  const lines = execution.flatMap(({ section, reason, steps }) => [
    `  ${section}: ${steps.length} steps; ${reason}`,
    ...steps.map(
      ({ kind, madeOf, dispatches, beside }) =>
        `    ${kind.padEnd(11)} ${spanOf(dispatches, "dispatches")}${madeOf === undefined ? "" : `  | ${madeOf}`}${beside !== undefined && beside.length > 0 ? `  | beside ${spanOf(beside, "steps")}` : ""}`,
    ),
  ]);
  return `\non ${engineName}\n${lines.join("\n")}\n`;
}

function spanOf(labels: readonly string[], what: string): string {
  const [first = ""] = labels;
  if (labels.length <= 1) return first;
  return `${labels.length} ${what}: ${first} ... ${labels.at(-1) ?? ""}`;
}
