import { resolve } from "node:path";
import type { EngineDescription } from "../../engine/engine.ts";
import { TRAIN_DEFAULTS } from "../config/config.ts";
import type { TrainerState } from "../../runs/state.ts";

/** What makes the bits of a run differ, when it is not as it was. */
const ENGINE_KEYS = ["name", "device", "runtime", "threads"] as const;

/** Settings that change no bit of the weights, and those that are compared otherwise. */
const WITHOUT_EFFECT: ReadonlySet<string> = new Set([
  ...["output_dir", "resume", "preset", "logging_steps", "eval_steps", "eval_batches", "eval_data"],
  ...["save_steps", "save_total_limit", "sample_steps", "sample_prompt", "sample_tokens"],
  ...["sample_temperature", "final_samples", "eval_on_start", "patience", "keep_best"],
  // The engine tells of itself; data are compared by their content.
  ...["engine", "threads", "blas", "data", "text_field", "story_count", "epochs"],
  ...["prompt_field", "completion_field", "input_field", "messages_field", "data_format"],
  ...["chosen_field", "rejected_field"],
]);

const DEFAULTS: Readonly<Record<string, unknown>> = TRAIN_DEFAULTS;

/** What is known of a run when it goes on. */
export interface ResumedRun {
  readonly state: TrainerState;
  readonly engine: EngineDescription;
  /** Its settings now. */
  readonly config: { readonly output_dir: string };
  /** Of the training data, where they have one. */
  readonly dataDigest: string | undefined;
}

/** What a resumed run does otherwise than the one that made the checkpoint, a sentence each. */
export function resumeNotices({
  state,
  engine,
  config,
  dataDigest,
}: ResumedRun): readonly string[] {
  const notices: string[] = [];
  for (const key of ENGINE_KEYS) {
    if (state.engine[key] === engine[key]) continue;
    notices.push(
      `the checkpoint was made with ${key} "${state.engine[key]}", this is "${engine[key]}": the run goes on, but not bit for bit`,
    );
  }
  const settings: Readonly<Record<string, unknown>> = { ...config };
  for (const key of new Set([...Object.keys(state.config), ...Object.keys(settings)])) {
    if (WITHOUT_EFFECT.has(key)) continue;
    const before = state.config[key];
    const now = settings[key];
    // A version that did not know a setting says nothing of it.
    const isNew =
      before === undefined &&
      (!Object.hasOwn(state.config, "begin_tokens") || now === DEFAULTS[key]);
    if (isNew || isSame(before, now)) continue;
    notices.push(`${key} was ${shown(before)}, now it is ${shown(now)}, which holds from here on`);
  }
  if (state.data !== undefined && dataDigest !== undefined && state.data !== dataDigest) {
    notices.push(
      `the data are as long as those of the checkpoint, but other ones: the run goes on with them. To leave it as it is and train on other data, begin another run with its weights: --model ${config.output_dir} --output-dir ANOTHER`,
    );
  }
  return notices;
}

function isSame(before: unknown, now: unknown): boolean {
  if (typeof before === "string" && typeof now === "string") {
    return before === now || resolve(before) === resolve(now);
  }
  return JSON.stringify(before) === JSON.stringify(now);
}

function shown(value: unknown): string {
  return value === undefined ? "not given" : JSON.stringify(value);
}
