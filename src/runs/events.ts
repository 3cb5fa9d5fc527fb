import * as z from "zod";
import { DRIVERS } from "../chip/chip.ts";
import { FAMILY_NAMES } from "../model/index.ts";

/** Of what `start` says; absent there in version 1, which had neither sequence numbers nor rewinds. */
export const EVENTS_VERSION = 2;

/** What a run may be asked for while it goes on (`run-control.ts`). */
export const COMMANDS = ["pause", "resume", "save", "stop"] as const;
export type RunCommand = (typeof COMMANDS)[number];

/** What every event has. */
const told = {
  /** Seconds since 1970 with milliseconds. */
  t: z.number(),
  /**
   * Its number in the run's stream: grows by one from event to event, whatever processes write them and wherever a
   * resumed run goes back to. Absent in events of version 1, whose number is that of their line.
   */
  sequence: z.int().positive().optional(),
};
const step = z.number().int().nonnegative();

const predicted = z.object({
  chip: z.string(),
  /** Absent in events of earlier versions, which meant e5rt. */
  driver: z.enum(DRIVERS).optional(),
  step_ms: z.number(),
  step_joules: z.number(),
  tokens_per_second: z.number(),
  watts: z.number(),
  joules_per_token: z.number(),
});

/**
 * What a power meter read over updates, evaluation, samples and checkpoints left out. A number that it does not
 * read is absent, never estimated; joules and watts without a rail's name are of CPU, GPU and Neural Engine together.
 */
const metered = {
  power_meter: z.string().optional(),
  /** Energy of the meter's readings, and the time they cover: up to one reading more or less than the updates. */
  energy_joules: z.number().optional(),
  energy_seconds: z.number().optional(),
  ane_joules: z.number().optional(),
  cpu_joules: z.number().optional(),
  gpu_joules: z.number().optional(),
  watts: z.number().optional(),
  ane_watts: z.number().optional(),
  /** Mean power times the time of an update, and of a token. */
  joules_per_step: z.number().optional(),
  joules_per_token: z.number().optional(),
};

/** Of a Neural Engine that is there. */
const engine = {
  /** Share of the time that it was busy. */
  engine_share: z.number().optional(),
  /** Of its programs, over the time of the updates. */
  tflops: z.number().optional(),
  /** Over the power of its rail. */
  tflops_per_watt: z.number().optional(),
};

/** Of runs on pairs of answers: means over the pairs; a reward is beta times the log-probability against the reference's. */
const rewards = {
  chosen_reward: z.number().optional(),
  rejected_reward: z.number().optional(),
  /** The first less the second. */
  reward_margin: z.number().optional(),
  /** Share of pairs of which the better answer has the larger reward. */
  reward_accuracy: z.number().optional(),
};

/** Events of a kind: when and at which step, and what is told of it. */
function event<Kind extends string, Content extends z.ZodRawShape>(kind: Kind, content: Content) {
  return z.object({ kind: z.literal(kind), ...told, step, ...content });
}

/**
 * One line of events.ndjson and, under `--json`, of standard output. Names are those of mlx-lm's and
 * Hugging Face's reports; `step` counts optimizer updates.
 */
export const trainEventSchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("start"),
    ...told,
    /** Of the stream: `EVENTS_VERSION`. */
    version: z.int().positive().optional(),
    step,
    max_steps: step,
    run: z.string(),
    /** Of the model; this and what follows up to `context_length` is absent in events of earlier versions. */
    preset: z.string().optional(),
    /** Nobody chose it. */
    preset_by_default: z.boolean().optional(),
    /** Instead of a preset: the folder whose weights the run begins with, or the config.json. */
    model: z.string().optional(),
    family: z.enum(FAMILY_NAMES).optional(),
    layers: z.number().int().optional(),
    channels: z.number().int().optional(),
    /** Tokens that the model has room for. */
    vocabulary: z.number().int().optional(),
    /** "bpe", "char", "byte", or where it was read from; absent where the data are random token ids. */
    tokenizer: z.string().optional(),
    /** Tokens of a window. */
    context_length: z.number().int().optional(),
    engine: z.string(),
    device: z.string(),
    runtime: z.string(),
    threads: z.number().int(),
    /** How products of samples add: product and sum rounded once, or each. */
    row_sums: z.enum(["fused", "separate"]).optional(),
    /** Where a Neural Engine's settings come from. */
    profile: z.string().optional(),
    parameters: z.number().int(),
    tokens_per_step: z.number().int(),
    train_tokens: z.number(),
    eval_tokens: z.number(),
    /** Of the plan's buffers. */
    plan_bytes: z.number(),
  }),
  event("step", {
    /** Mean nats a token, or a pair of answers, over the steps since the last such event. */
    train_loss: z.number(),
    learning_rate: z.number(),
    gradient_norm: z.number(),
    /** Where the engine computes in fp16: what the loss was multiplied with. */
    loss_scale: z.number().optional(),
    tokens_per_second: z.number(),
    iterations_per_second: z.number(),
    trained_tokens: z.number(),
    eta_seconds: z.number(),
    ...rewards,
    ...engine,
    ...metered,
    /** What the cost model says of an update, where the engine is a simulated one. */
    predicted: predicted.optional(),
  }),
  event("eval", {
    eval_loss: z.number(),
    /** Absent where the loss is of pairs of answers. */
    perplexity: z.number().optional(),
    ...rewards,
    eval_tokens: z.number(),
    elapsed_seconds: z.number(),
    /** Of the run so far, by `eval_loss`; told where a run keeps its best checkpoint. */
    best: z.boolean().optional(),
  }),
  event("sample", { prompt: z.string(), text: z.string() }),
  event("save", {
    checkpoint: z.string(),
    byte_length: z.number(),
    elapsed_seconds: z.number(),
    /** Of them, those in which training waited; told where it went on while the checkpoint was written. */
    waited_seconds: z.number().optional(),
  }),
  /** A power meter began, or there is none: why. */
  event("power", {
    meter: z.string().nullable(),
    reason: z.string().optional(),
  }),
  event("notice", {
    message: z.string(),
    /** The process ended by an error, which this is. */
    failure: z.literal(true).optional(),
  }),
  /** Somebody outside the process asked for this, and it is done: the run waits, goes on, or is saved. */
  event("control", {
    command: z.enum(COMMANDS).exclude(["stop"]),
  }),
  /** What goes on between other events, at most once a second: a phase of the preparation, or a step's loss. */
  event("progress", {
    /** "compiling block: 1 of 3", "step 12/100  loss 4.1234". */
    text: z.string(),
    /** Of the update alone, while it trains. */
    loss: z.number().optional(),
  }),
  /** Where the time of the steps went in this process so far: soon after its first report, then ever more rarely. */
  event("timings", {
    /** A dispatch, or several that the engine runs as one, summed over its runs. */
    dispatches: z.array(
      z.object({
        section: z.string(),
        label: z.string(),
        /** Indices of these dispatches in the plan's section; absent in events of earlier versions. */
        places: z.array(z.int().nonnegative()).optional(),
        runs: z.int().nonnegative(),
        elapsed_ms: z.number(),
      }),
    ),
  }),
  event("memory", {
    /** Of buffers with memory of their own, of what transient buffers share, and of values inside programs. */
    persistent_bytes: z.number(),
    transient_bytes: z.number(),
    runtime_bytes: z.number(),
    /** Of the whole process: now, and at most so far. */
    resident_bytes: z.number(),
    peak_bytes: z.number(),
  }),
  /**
   * The run goes on from `step`: what the stream told of later steps holds no longer and is told again, and so are the
   * run's end, its interruption, and events of a kind beyond the number in `kept`, of that step itself.
   */
  event("rewind", {
    kept: z.record(z.string(), z.int().nonnegative()).optional(),
    /** The run begins anew: nothing of what came before holds. */
    anew: z.literal(true).optional(),
  }),
  event("interrupted", {
    /** Absent where nothing was saved: the run was stopped before its first step. */
    checkpoint: z.string().optional(),
    /** "compile_budget": the process may compile no more programs, and a new one goes on. Absent: it was stopped. */
    reason: z.literal("compile_budget").optional(),
    /** With a reason: what is still due after this step (evaluations, samples). */
    left: z.number().int().optional(),
  }),
  event("end", {
    train_loss: z.number().nullable(),
    eval_loss: z.number().nullable(),
    elapsed_seconds: z.number(),
    tokens_per_second: z.number(),
    peak_memory_bytes: z.number(),
    /** Milliseconds of an update here, evaluation, samples and checkpoints left out. */
    step_ms: z.number().optional(),
    /** Of several processes, at this one: what it sent, while how long something was exchanged, and it waited for that. */
    sent_bytes: z.number().optional(),
    exchange_seconds: z.number().optional(),
    waited_seconds: z.number().optional(),
    /** What the cost model says of an update on a Neural Engine, where the run had none. */
    predicted: predicted.optional(),
    ...engine,
    ...metered,
    /** Where the best checkpoint is kept: its step and loss. */
    best_step: step.optional(),
    best_eval_loss: z.number().optional(),
    /** It ended before its last step, because evaluations became no better. */
    stopped_early: z.literal(true).optional(),
    /**
     * The best checkpoint where one is kept, else the last one: a model folder, or an adapter's beside the model it was
     * trained on.
     */
    model: z.string().optional(),
    adapter: z.string().optional(),
  }),
]);

/** Something that happened in a run, told apart by `kind` (docs/events.md). */
export type TrainEvent = z.infer<typeof trainEventSchema>;
/** Kinds of events. */
export type TrainEventKind = TrainEvent["kind"];

/** An event as it stands in a run's stream. */
export type NumberedEvent = TrainEvent & { readonly sequence: number };

export type RewindEvent = Extract<TrainEvent, { readonly kind: "rewind" }>;

/** An event without its time and number, which the recorder adds. */
export type UntimedEvent = TrainEvent extends infer Event
  ? Event extends { t: number }
    ? Omit<Event, "t" | "sequence">
    : never
  : never;

/** Events that still hold after a rewind. */
export function afterRewind<Event extends TrainEvent>(
  events: readonly Event[],
  { step: to, kept = {}, anew }: RewindEvent,
): Event[] {
  if (anew === true) return [];
  const counts = new Map<string, number>();
  return events.filter(({ kind, step: at }) => {
    if (at !== to) return at < to;
    const count = (counts.get(kind) ?? 0) + 1;
    counts.set(kind, count);
    return kind !== "end" && kind !== "interrupted" && count <= (kept[kind] ?? Infinity);
  });
}
