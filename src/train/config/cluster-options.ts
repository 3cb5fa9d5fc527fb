import {
  choiceOption,
  flagOption,
  inGroup,
  numberOption,
  textOption,
  wholeOption,
} from "../../util/options.ts";

/** How numbers that are summed travel. */
export const WIRES = ["fp32", "fp16"] as const;
/** How the gradients of an update's micro-batches are added. */
export const SUM_ORDERS = ["serial", "tree"] as const;

/** What a run does where mpirun starts several processes. The other settings say what they do together. */
export const CLUSTER_OPTIONS = inGroup("Several machines", {
  pipeline_stages: wholeOption(
    "processes that hold one model together, a run of its blocks each; the others train on other batches",
    1,
    { aliases: ["pipeline_parallel_size", "pp_size"] },
  ),
  shard_optimizer: flagOption(
    "each process keeps and updates its part of the optimizer's state (ZeRO's first stage)",
    { aliases: ["zero", "shard_optimizer_states"] },
  ),
  wire: choiceOption(
    "how gradients travel: fp32, or fp16 with what rounding lost added the next time",
    WIRES,
  ),
  shares: textOption(
    "what each process (or pipeline) does of an update: even, proportions such as 3,1, or auto: by what the first updates took",
    { placeholder: "SHARES" },
  ),
  sum_order: choiceOption(
    "how micro-batches' gradients are added: one after the other, or in a tree whose bits do not depend on how many processes share them (costs memory)",
    SUM_ORDERS,
  ),
  check_steps: wholeOption("updates between comparisons of all processes' weights; 0 = never", 0),
  stall_seconds: numberOption(
    "seconds after which a process that does not answer is told of; 0 = never",
    { minimum: 0 },
  ),
});

export const CLUSTER_DEFAULTS = {
  pipeline_stages: 1,
  shard_optimizer: false,
  wire: "fp32",
  shares: "even",
  sum_order: "serial",
  check_steps: 100,
  stall_seconds: 60,
} as const;
