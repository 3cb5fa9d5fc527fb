import { flagOption, inGroup, numberOption, textOption, wholeOption } from "../../util/options.ts";

/** What a run tells and keeps on its way. */
export const REPORTING_OPTIONS = inGroup("Evaluation and saving", {
  output_dir: textOption("folder of the run: configuration, events, checkpoints", {
    placeholder: "DIR",
    aliases: ["out_dir"],
  }),
  logging_steps: wholeOption("updates between reports of the loss", 1, {
    aliases: ["steps_per_report", "log_interval", "log_every_n_steps"],
  }),
  eval_steps: wholeOption("updates between evaluations; 0 = only at the end", 0, {
    aliases: ["steps_per_eval", "eval_interval", "eval_every"],
  }),
  eval_batches: wholeOption(
    "batches of an evaluation, -1 = the whole split; default: 20 during training, the whole at the end",
    -1,
    { aliases: ["val_batches", "eval_iters"] },
  ),
  eval_on_start: flagOption("evaluate before the first step, too"),
  patience: wholeOption(
    "end where so many evaluations in a row are no better than the best; the best checkpoint is kept",
    1,
    { aliases: ["early_stopping_patience"] },
  ),
  keep_best: flagOption(
    "keep the checkpoint with the lowest eval_loss beside the newest ones, as adapters' runs do",
    { aliases: ["load_best_model_at_end"] },
  ),
  save_steps: wholeOption("updates between checkpoints; 0 = only at the end", 0, {
    aliases: ["save_every"],
  }),
  save_total_limit: wholeOption("checkpoints kept; 0 = all", 0),
  sample_steps: wholeOption("updates between samples of text; 0 = none", 0, {
    aliases: ["sample_every"],
  }),
  report_to: textOption("also write numbers for tensorboard, csv, or both with a comma", {
    placeholder: "NAMES",
  }),
  sample_prompt: textOption("text that samples start from"),
  sample_tokens: wholeOption("most tokens of a sample", 1),
  sample_temperature: numberOption("temperature of samples", { minimum: 0 }),
  final_samples: wholeOption("samples written when training is done", 0, { maximum: 100 }),
  resume: flagOption("go on from the newest whole checkpoint of the output folder", {
    aliases: ["resume_from_checkpoint"],
  }),
});

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
