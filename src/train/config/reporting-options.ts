import { flagOption, numberOption, textOption } from "../../util/options.ts";

const REPORTING = { group: "Evaluation and saving" };

/** What a run tells and keeps on its way. */
export const REPORTING_OPTIONS = {
  output_dir: textOption("folder of the run: configuration, events, checkpoints", {
    ...REPORTING,
    placeholder: "DIR",
    aliases: ["out_dir"],
  }),
  logging_steps: numberOption("updates between reports of the loss", {
    ...REPORTING,
    integer: true,
    minimum: 1,
    aliases: ["steps_per_report", "log_interval", "log_every_n_steps"],
  }),
  eval_steps: numberOption("updates between evaluations; 0 = only at the end", {
    ...REPORTING,
    integer: true,
    minimum: 0,
    aliases: ["steps_per_eval", "eval_interval", "eval_every"],
  }),
  eval_batches: numberOption(
    "batches of an evaluation, -1 = the whole split; default: 20 during training, the whole at the end",
    {
      ...REPORTING,
      integer: true,
      minimum: -1,
      aliases: ["val_batches", "eval_iters"],
    },
  ),
  eval_on_start: flagOption("evaluate before the first step, too", REPORTING),
  patience: numberOption(
    "end where so many evaluations in a row are no better than the best; the best checkpoint is kept",
    { ...REPORTING, integer: true, minimum: 1, aliases: ["early_stopping_patience"] },
  ),
  keep_best: flagOption(
    "keep the checkpoint with the lowest eval_loss beside the newest ones, as adapters' runs do",
    { ...REPORTING, aliases: ["load_best_model_at_end"] },
  ),
  save_steps: numberOption("updates between checkpoints; 0 = only at the end", {
    ...REPORTING,
    integer: true,
    minimum: 0,
    aliases: ["save_every"],
  }),
  save_total_limit: numberOption("checkpoints kept; 0 = all", {
    ...REPORTING,
    integer: true,
    minimum: 0,
  }),
  sample_steps: numberOption("updates between samples of text; 0 = none", {
    ...REPORTING,
    integer: true,
    minimum: 0,
    aliases: ["sample_every"],
  }),
  report_to: textOption("also write numbers for tensorboard, csv, or both with a comma", {
    ...REPORTING,
    placeholder: "NAMES",
  }),
  sample_prompt: textOption("text that samples start from", REPORTING),
  sample_tokens: numberOption("most tokens of a sample", {
    ...REPORTING,
    integer: true,
    minimum: 1,
  }),
  sample_temperature: numberOption("temperature of samples", { ...REPORTING, minimum: 0 }),
  final_samples: numberOption("samples written when training is done", {
    ...REPORTING,
    integer: true,
    minimum: 0,
    maximum: 100,
  }),
  resume: flagOption("go on from the newest whole checkpoint of the output folder", {
    ...REPORTING,
    aliases: ["resume_from_checkpoint"],
  }),
} as const;

export const REPORTING_DEFAULTS = {
  output_dir: "runs/default",
  logging_steps: 10,
  eval_steps: 200,
  eval_on_start: false,
  save_steps: 500,
  save_total_limit: 2,
  sample_steps: 0,
  sample_tokens: 100,
  sample_temperature: 0.8,
  final_samples: 0,
  resume: false,
} as const;
