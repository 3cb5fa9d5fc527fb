import { existsSync } from "node:fs";
import type { Command } from "commander";
import { describeCalibration, readCalibration } from "../chip/calibration.ts";
import { chipByName } from "../chip/chips.ts";
import { paced, PAUSES } from "../chip/cost/pauses.ts";
import { estimateJson } from "../chip/estimate.ts";
import type { Estimate } from "../chip/estimate.ts";
import { formatNumber } from "../chip/figure.ts";
import { formatEstimate } from "../chip/print.ts";
import type { FileEstimate } from "../files/estimate-file.ts";
import { append } from "./append.ts";
import { baseJson } from "./base-choice.ts";
import { describeModel } from "../model/describe.ts";
import { parameterCount } from "../model/index.ts";
import {
  PRESETS,
  SIZE_KEYS,
  TRAIN_DEFAULTS,
  TRAIN_OPTIONS,
  describeBase,
  describePlacements,
  placementsJson,
  readTrainLayer,
} from "../train/index.ts";
import { formatUpdateTypes, updateTypesJson } from "../plan/update-types.ts";
import { writeWholeFile } from "../util/atomic-file.ts";
import { addDriverOption, namedDriver } from "./driver-option.ts";
import type { Answer, EstimateFlags } from "./estimate-answer.ts";
import type { Exit } from "./exit.ts";
import { flagName } from "../util/options.ts";
import { UsageError } from "./errors.ts";
import { addOptions, commandLineLayer } from "./options.ts";
import { resolveFromCommandLine } from "./train.ts";
import { printable } from "../util/printable.ts";
import { printJson } from "./terminal.ts";

/** Settings of what of a model is trained. */
const METHOD_KEYS = [
  ...["method", "lora_rank", "target_modules", "trained_layers"],
  ...["base_bits", "base_group_size"],
] as const;

/** Settings of a training run that change what a step costs. */
const STEP_OPTIONS = {
  preset: TRAIN_OPTIONS.preset,
  model: TRAIN_OPTIONS.model,
  model_config: TRAIN_OPTIONS.model_config,
  family: TRAIN_OPTIONS.family,
  layers: TRAIN_OPTIONS.layers,
  hidden_size: TRAIN_OPTIONS.hidden_size,
  heads: TRAIN_OPTIONS.heads,
  kv_heads: TRAIN_OPTIONS.kv_heads,
  ffn_size: TRAIN_OPTIONS.ffn_size,
  vocab_size: TRAIN_OPTIONS.vocab_size,
  max_seq_length: TRAIN_OPTIONS.max_seq_length,
  batch_size: TRAIN_OPTIONS.batch_size,
  gradient_accumulation_steps: TRAIN_OPTIONS.gradient_accumulation_steps,
  moment_dtype: TRAIN_OPTIONS.moment_dtype,
  recompute: TRAIN_OPTIONS.recompute,
  placement: TRAIN_OPTIONS.placement,
  method: TRAIN_OPTIONS.method,
  lora_rank: TRAIN_OPTIONS.lora_rank,
  target_modules: TRAIN_OPTIONS.target_modules,
  trained_layers: TRAIN_OPTIONS.trained_layers,
  base_bits: TRAIN_OPTIONS.base_bits,
  base_group_size: TRAIN_OPTIONS.base_group_size,
} as const;

export function register(program: Command, _exit: Exit): void {
  const command = program
    .command("estimate")
    .argument("[file]", "MIL text, .mlpackage, .mlmodel or .onnx; or give --preset or --model")
    .option("--chip <name>", "m1 to m6, m4-max, … (anecdote chips)", "m4")
    .option("--token", "one generated token instead of a training step")
    .option("--function <name>", "which function, where the file has several")
    .option("--shape <name=2x3>", "sizes of an input that the file leaves open", append, [])
    .option("--dim <name=4>", "a size that an .onnx file leaves open, by its name", append, [])
    .option("--host-copies", "count the copies of inputs and outputs of a file's function")
    .option("--as-written", "price a file's ops as they stand, without the engine's passes")
    .option(
      "--calibrated [report]",
      "by the figures of a Mac: a report of anecdote doctor --report, or what doctor saved here",
    )
    .option(
      "--every <seconds>",
      "also what it takes when begun so often: pauses cost clock and power-on",
    )
    .option("--low-power", "also the energy in Low Power Mode")
    .option("--svg <file>", "write the chip's roofline with the ops on it")
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      `
The numbers are predictions of a model whose accuracy is measured (npm run bench:cost-model).

A file's function is priced as it would run: as the passes rewrite it for the chip (anecdote check
tells what they do), with constant weights as 1x1 convolutions; so are a model's plans. Its price as
written stands below. A function that would stay on the host is priced as written, and says so.

Examples:
  anecdote estimate --preset stories110M --chip m4 --max-seq-length 256
  anecdote estimate --preset stories110M --method lora --lora-rank 8
  anecdote estimate model.mlpackage --chip m1
  anecdote estimate model.mlpackage --chip m1 --as-written
  anecdote estimate --preset stories15M --chip m4 --calibrated doctor.json`,
    );
  addDriverOption(command);
  addOptions(command, STEP_OPTIONS, TRAIN_DEFAULTS);
  command.action(async (file: string | undefined, flags: EstimateFlags) => {
    const everyMs = flags.every === undefined ? undefined : 1e3 * seconds(flags.every);
    const calibrated = await calibratedBy(flags);
    const target = {
      chip: flags.chip,
      driver: namedDriver(flags),
      ...(calibrated !== undefined && { calibrated }),
    };
    const settings = Object.keys(readTrainLayer(commandLineLayer(command, STEP_OPTIONS)).values);
    if (file !== undefined && settings.length > 0) {
      throw new UsageError(
        "cli.estimate",
        `a file has no ${settings.join(", ")}: give a file, or settings of a model`,
      );
    }
    const shapesModel = ["preset", "model", "model_config", ...SIZE_KEYS].some((key) =>
      settings.includes(key),
    );
    if (file !== undefined && PRESETS.has(file) && !existsSync(file)) {
      throw new UsageError("cli.estimate", `${file} is no file, but a preset: --preset ${file}`);
    }
    if (file === undefined && !shapesModel) {
      throw new UsageError("cli.estimate", "estimate needs a file, --preset NAME or --model DIR");
    }
    const methodKey = settings.find((key) => METHOD_KEYS.some((name) => name === key));
    if (flags.token === true && methodKey !== undefined) {
      throw new UsageError(
        "cli.estimate",
        `${flagName(methodKey)} says what a step trains; a token has no step: leave out one of it and --token`,
      );
    }
    const { estimate, what, model, ofFile, published, longRun, update, base, placements } =
      file === undefined
        ? (await import("./estimate-model.ts")).estimateModel(
            resolveFromCommandLine(command, undefined).config,
            target,
            flags,
          )
        : (await import("./estimate-file.ts")).estimateOfFile(file, target, flags);
    if (flags.svg !== undefined) {
      const { rooflineSvg } = await import("../measure/published/roofline.ts");
      writeWholeFile(flags.svg, rooflineSvg(chipByName(flags.chip), estimate.ops));
    }
    if (flags.json === true) {
      const report = {
        what,
        ...(model !== undefined && { parameters: parameterCount(model.parameters.weights) }),
        ...estimateJson(estimate),
        ...(calibrated !== undefined && { calibrated: readCalibration(calibrated) }),
        ...(everyMs !== undefined && { paced: paced(estimate.ms, estimate.joules, everyMs) }),
        ...(flags.lowPower === true && {
          low_power: { joules: estimate.joules * PAUSES.lowPowerShare.value },
        }),
        ...(ofFile !== undefined && fileJson(ofFile)),
        ...(published !== undefined && {
          as_published: {
            micro_batches_per_update: published.microBatches,
            ms: published.ms,
            overlapped_ms: published.overlappedMs,
          },
        }),
        ...(update !== undefined && { update: updateTypesJson(update) }),
        ...(longRun !== undefined && {
          in_run_of: {
            updates: longRun.updateCount,
            engine_programs: longRun.programCount,
            compile_ms: longRun.ms,
          },
        }),
        ...(base !== undefined && { base_weights: baseJson(base) }),
        ...(placements !== undefined && { placement: placementsJson(placements) }),
      };
      printJson(report);
      return;
    }
    process.stdout.write(
      `${printable(what)}: predicted, not measured\n` +
        (calibrated === undefined ? "" : describeCalibration(readCalibration(calibrated))) +
        (model === undefined ? "" : `${describeModel(model)}\n`) +
        printable(formatEstimate(estimate)) +
        (everyMs === undefined ? "" : describePaced(estimate, everyMs)) +
        (flags.lowPower === true
          ? `in Low Power Mode ${formatNumber(estimate.joules * PAUSES.lowPowerShare.value * 1e3)} mJ: ${PAUSES.lowPowerShare.source}; nobody published what it does to the time\n`
          : "") +
        (ofFile === undefined ? "" : describeFile(ofFile)) +
        (published === undefined ? "" : describePublished(published)) +
        (update === undefined ? "" : describeUpdate(update)) +
        (longRun === undefined ? "" : describeLongRun(longRun)) +
        (base === undefined ? "" : `${describeBase(base)}\n`) +
        (placements === undefined ? "" : `${describePlacements(placements)}\n`),
    );
  });
}

function seconds(text: string): number {
  const value = Number(text);
  if (value > 0 && value <= 86_400) return value;
  throw new UsageError("cli.estimate.every", `--every takes seconds up to 86400, not "${text}"`);
}

function describePaced(estimate: Estimate, everyMs: number): string {
  const { ms, addedMs, pauseMs, watts, coldMs, lowClock } = paced(
    estimate.ms,
    estimate.joules,
    everyMs,
  );
  return (
    `begun every ${formatNumber(everyMs / 1e3)} s: ${formatNumber(ms)} ms each, ${formatNumber(addedMs)} of it after a pause of ` +
    `${formatNumber(pauseMs)} ms; ${formatNumber(watts)} W on average, none in the pauses (measured on M6 alone)\n` +
    (lowClock === undefined
      ? ""
      : `if the clock stays low, as one study saw with such pauses: ${formatNumber(lowClock.ms)} ms and ${formatNumber(lowClock.joules * 1e3)} mJ each\n`) +
    `the first one, with the engine switched off: ${formatNumber(coldMs)} ms\n`
  );
}

/** The report that was named, or the one that doctor saved for the chip. */
async function calibratedBy({ calibrated, chip }: EstimateFlags): Promise<string | undefined> {
  if (calibrated === undefined || calibrated === false) return undefined;
  if (typeof calibrated === "string") return calibrated;
  const { savedReportPath } = await import("../measure/self-test/report.ts");
  const path = savedReportPath(chipByName(chip).id);
  if (existsSync(path)) return path;
  throw new UsageError(
    "cli.estimate.calibrated",
    `there is no report of ${chip} here (${path}); on that Mac: anecdote doctor, or give a report's path`,
  );
}

function describeFile({ asWritten, rewritten, isAsWritten, unread }: FileEstimate): string {
  const note = unread === undefined ? "" : `weight files were not read: ${printable(unread)}\n`;
  if (rewritten.place === "host") {
    return `priced as written; \`run\` leaves it to the host: ${printable(rewritten.reason)}\n${note}`;
  }
  const other = isAsWritten
    ? `priced as written; as the passes rewrite it for the chip: ${formatNumber(rewritten.estimate.ms)} ms\n`
    : `priced as the passes rewrite it for the chip; as written: ${formatNumber(asWritten.ms)} ms\n`;
  return `${other}${note}`;
}

function fileJson({ asWritten, rewritten, isAsWritten, unread }: FileEstimate): object {
  return {
    priced: isAsWritten ? "as_written" : "rewritten",
    as_written: { ms: asWritten.ms, joules: asWritten.joules },
    rewritten:
      rewritten.place === "host"
        ? rewritten
        : { place: "engine", ms: rewritten.estimate.ms, joules: rewritten.estimate.joules },
    ...(unread !== undefined && { weights_not_read: unread }),
  };
}

function describePublished({
  microBatches,
  ms,
  overlappedMs,
}: NonNullable<Answer["published"]>): string {
  return (
    `one micro-batch of ${microBatches} an update, as published trainers count: ` +
    `${formatNumber(ms)} ms; ${formatNumber(overlappedMs)} ms where the host works beside the engine\n`
  );
}

function describeUpdate(update: NonNullable<Answer["update"]>): string {
  const option =
    update.moments === "bf16" ? "" : "; --moment-dtype bf16 moves 8 bytes a number less";
  return `counted in the update of this step: ${formatUpdateTypes(update)}${option}\n`;
}

function describeLongRun({
  updateCount,
  programCount,
  ms,
}: NonNullable<Answer["longRun"]>): string {
  return (
    `neighbouring dispatches joined where ${updateCount.toLocaleString("en")} updates pay for it: ` +
    `${programCount} programs, about ${formatNumber(ms / 1e3)} s to compile at a start (a guess: docs/cost-model.md)\n`
  );
}
