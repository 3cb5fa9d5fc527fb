import type { Command } from "commander";
import type { Driver, Chip } from "../chip/chip.ts";
import { chipByName } from "../chip/chips.ts";
import { estimateFunction, estimateJson, trainingRuns } from "../chip/estimate.ts";
import type { Estimate, PlanEstimate } from "../chip/estimate.ts";
import { formatNumber } from "../chip/figure.ts";
import { formatEstimate } from "../chip/print.ts";
import { rooflineSvg } from "../measure/published/roofline.ts";
import { buildDecodePlan, bucketFor } from "../generate/decode-plan.ts";
import { withInputShapes } from "../mil/specialize.ts";
import type { ModelConfig } from "../model/config.ts";
import { modelOf } from "../model/model.ts";
import { applyRemedies, estimatePlacedPlan } from "../lower/index.ts";
import { TRAIN_OPTIONS, planOf, plannedModel, trainedModel } from "../train/index.ts";
import type { TrainConfig } from "../train/index.ts";
import { writeWholeFile } from "../util/atomic-file.ts";
import { addDriverOption, chosenDriver } from "./driver-option.ts";
import type { DriverFlags } from "./driver-option.ts";
import type { Exit } from "./exit.ts";
import { UsageError } from "./errors.ts";
import { fileKindOf } from "../files/file-kind.ts";
import {
  append,
  defaultFunctionOf,
  functionOf,
  openProgram,
  parseShapes,
  programWithNumbers,
  requireSizes,
} from "../files/open-program.ts";
import { addOptions, commandLineLayer } from "./options.ts";
import { resolveFromCommandLine } from "./train.ts";

interface EstimateFlags extends DriverFlags {
  readonly chip: string;
  readonly token?: boolean;
  readonly function?: string;
  readonly shape: readonly string[];
  readonly dim: readonly string[];
  readonly hostCopies?: boolean;
  readonly asWritten?: boolean;
  readonly svg?: string;
  readonly json?: boolean;
}

/** Settings of a training run that change what a step costs. */
const STEP_OPTIONS = {
  preset: TRAIN_OPTIONS.preset,
  model: TRAIN_OPTIONS.model,
  model_config: TRAIN_OPTIONS.model_config,
  vocab_size: TRAIN_OPTIONS.vocab_size,
  max_seq_length: TRAIN_OPTIONS.max_seq_length,
  batch_size: TRAIN_OPTIONS.batch_size,
  gradient_accumulation_steps: TRAIN_OPTIONS.gradient_accumulation_steps,
  recompute: TRAIN_OPTIONS.recompute,
} as const;

export function register(program: Command, _exit: Exit): void {
  const command = program
    .command("estimate")
    .description("predict time and energy on a chip: of a program, a training step or a token")
    .argument("[file]", "MIL text, .mlpackage, .mlmodel or .onnx; or give --preset or --model")
    .option("--chip <name>", "m1 to m6, m4-max, … (anecdote chips)", "m4")
    .option("--token", "one generated token instead of a training step")
    .option("--function <name>", "which function, where the file has several")
    .option("--shape <name=2x3>", "sizes of an input that the file leaves open", append, [])
    .option("--dim <name=4>", "a size that an .onnx file leaves open, by its name", append, [])
    .option("--host-copies", "count the copies of inputs and outputs of a file's function")
    .option("--as-written", "price a file's ops as they stand, without the engine's passes")
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
  anecdote estimate model.mlpackage --chip m1
  anecdote estimate model.mlpackage --chip m1 --as-written`,
    );
  addDriverOption(command);
  addOptions(command, STEP_OPTIONS);
  command.action((file: string | undefined, flags: EstimateFlags) => {
    const chip = chipByName(flags.chip);
    const driver = chosenDriver(flags);
    const settings = Object.keys(commandLineLayer(command, STEP_OPTIONS).values);
    if (file !== undefined && settings.length > 0) {
      throw new UsageError(
        "cli.estimate",
        `a file has no ${settings.join(", ")}: give a file, or settings of a model`,
      );
    }
    const shapesModel = ["preset", "model", "model_config"].some((key) => settings.includes(key));
    if (file === undefined && !shapesModel) {
      throw new UsageError("cli.estimate", "estimate needs a file, --preset NAME or --model DIR");
    }
    const { estimate, what, ofFile, published } =
      file === undefined
        ? estimateModel(resolveFromCommandLine(command, undefined).config, chip, driver, flags)
        : estimateFile(file, chip, driver, flags);
    if (flags.svg !== undefined) writeWholeFile(flags.svg, rooflineSvg(chip, estimate.ops));
    if (flags.json === true) {
      const report = {
        what,
        ...estimateJson(estimate),
        ...(ofFile !== undefined && fileJson(ofFile)),
        ...(published !== undefined && {
          as_published: {
            micro_batches_per_update: PUBLISHED_MICRO_BATCHES,
            ms: published.ms,
            overlapped_ms: published.overlappedMs,
          },
        }),
      };
      process.stdout.write(`${JSON.stringify(report)}\n`);
      return;
    }
    process.stdout.write(
      `${what}: predicted, not measured\n${formatEstimate(estimate)}` +
        (ofFile === undefined ? "" : describeFile(ofFile)) +
        (published === undefined ? "" : describePublished(published)),
    );
  });
}

/** What was estimated, with what stands beside it. */
interface Answer {
  readonly estimate: Estimate | PlanEstimate;
  readonly what: string;
  /** What was priced of a file. */
  readonly ofFile?: OfFile;
  /** A micro-batch of a training step as published trainers count it. */
  readonly published?: { readonly ms: number; readonly overlappedMs: number };
}

interface OfFile {
  readonly asWritten: Estimate;
  readonly rewritten:
    | { readonly place: "engine"; readonly estimate: Estimate }
    | { readonly place: "host"; readonly reason: string };
  /** Whether the function as written is what was priced. */
  readonly isAsWritten: boolean;
  /** Why numbers of weight files were not read. */
  readonly unread: string | undefined;
}

/** Micro-batches between two updates of the published trainers. */
const PUBLISHED_MICRO_BATCHES = 10;

function describeFile({ asWritten, rewritten, isAsWritten, unread }: OfFile): string {
  const note = unread === undefined ? "" : `weight files were not read: ${unread}\n`;
  if (rewritten.place === "host") {
    return `priced as written; \`run\` leaves it to the host: ${rewritten.reason}\n${note}`;
  }
  const other = isAsWritten
    ? `priced as written; as the passes rewrite it for the chip: ${formatNumber(rewritten.estimate.ms)} ms\n`
    : `priced as the passes rewrite it for the chip; as written: ${formatNumber(asWritten.ms)} ms\n`;
  return `${other}${note}`;
}

function fileJson({ asWritten, rewritten, isAsWritten, unread }: OfFile): object {
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

function describePublished({ ms, overlappedMs }: NonNullable<Answer["published"]>): string {
  return (
    `one micro-batch of ${PUBLISHED_MICRO_BATCHES} an update, as published trainers count: ` +
    `${formatNumber(ms)} ms; ${formatNumber(overlappedMs)} ms where the host works beside the engine\n`
  );
}

function estimateFile(path: string, chip: Chip, driver: Driver, flags: EstimateFlags): Answer {
  const sizes = parseShapes(flags.shape, flags.dim);
  const opened = openProgram(path, fileKindOf(path) === "onnx" ? sizes : {});
  try {
    const { program, unread } = programWithNumbers(opened);
    const open = functionOf(program, flags.function, defaultFunctionOf(opened));
    const fn = withInputShapes(open, sizes.shapes ?? new Map<string, readonly number[]>());
    requireSizes(fn);
    const options = { hostCopies: flags.hostCopies === true };
    const asWritten = estimateFunction(fn, chip, driver, options);
    const { placed } = applyRemedies(fn, chip, driver);
    const rewritten =
      placed.place === "host"
        ? placed
        : {
            place: placed.place,
            estimate: estimateFunction(placed.program.function, chip, driver, options),
          };
    const isAsWritten = rewritten.place === "host" || flags.asWritten === true;
    const estimate = isAsWritten ? asWritten : rewritten.estimate;
    return { estimate, what: path, ofFile: { asWritten, rewritten, isAsWritten, unread } };
  } finally {
    opened.close();
  }
}

function estimateModel(
  config: TrainConfig,
  chip: Chip,
  driver: Driver,
  flags: EstimateFlags,
): Answer {
  const model = plannedModel(config);
  const name = config.preset ?? config.model ?? config.model_config ?? model.family;
  if (flags.token === true) {
    const length = Math.min(config.max_seq_length, model.contextLength);
    const bucket = bucketFor(length, model.contextLength);
    const plan = buildDecodePlan({ model: modelOf(model), bucket, prefillRowCount: 1 });
    const estimate = estimatePlacedPlan(plan, chip, driver, { decode: 1 });
    return { estimate, what: `${name}, one token with a cache of ${bucket} positions` };
  }
  const { plan } = planOf(config, trainedModel(config, model));
  const microBatches = config.gradient_accumulation_steps;
  const estimate = estimatePlacedPlan(plan, chip, driver, trainingRuns(plan, microBatches));
  const tokens = config.batch_size * config.max_seq_length * microBatches;
  return {
    estimate,
    what: `${name}, one training step of ${tokens} tokens`,
    published: publishedCount(config, model, chip, driver),
  };
}

function publishedCount(
  config: TrainConfig,
  model: ModelConfig,
  chip: Chip,
  driver: Driver,
): NonNullable<Answer["published"]> {
  const { plan } = planOf(
    { ...config, gradient_accumulation_steps: PUBLISHED_MICRO_BATCHES },
    trainedModel(config, model),
  );
  const runs = trainingRuns(plan, PUBLISHED_MICRO_BATCHES);
  const { ms, overlappedMs } = estimatePlacedPlan(plan, chip, driver, runs);
  return { ms: ms / PUBLISHED_MICRO_BATCHES, overlappedMs: overlappedMs / PUBLISHED_MICRO_BATCHES };
}
