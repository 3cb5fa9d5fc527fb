import type { EngineDescription } from "../../engine/engine.ts";
import type { TrainerState } from "../../runs/state.ts";

/** What makes the bits of a run differ, when it is not as it was. */
const ENGINE_KEYS = ["name", "device", "runtime", "threads"] as const;
const CONFIG_KEYS = [
  "batch_size",
  "max_seq_length",
  "max_steps",
  "learning_rate",
  "seed",
  "gradient_accumulation_steps",
] as const;

/** What a resumed run does otherwise than the one that made the checkpoint, a sentence each. */
export function resumeNotices(
  state: TrainerState,
  engine: EngineDescription,
  config: Readonly<Record<(typeof CONFIG_KEYS)[number], number>>,
): readonly string[] {
  const notices: string[] = [];
  for (const key of ENGINE_KEYS) {
    if (state.engine[key] === engine[key]) continue;
    notices.push(
      `the checkpoint was made with ${key} "${state.engine[key]}", this is "${engine[key]}": the run goes on, but not bit for bit`,
    );
  }
  for (const key of CONFIG_KEYS) {
    const before = state.config[key];
    if (before === undefined || before === config[key]) continue;
    notices.push(`${key} was ${JSON.stringify(before)}, now it is ${config[key]}`);
  }
  return notices;
}
