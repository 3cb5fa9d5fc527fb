import { NUMERICS } from "../../engine/sim/numerics.ts";
import { DRIVERS } from "../../chip/chip.ts";
import { choiceOption, inGroup, textOption, wholeOption } from "../../util/options.ts";

/** linear-only: products, and what is linear in their results, on the Neural Engine, all else on the host. */
export const PLACEMENTS = ["engine", "linear-only"] as const;

/** What computes, and what of a step it holds in memory. */
export const MACHINE_OPTIONS = inGroup("Machine", {
  engine: textOption("cpu, gpu, reference, sim:<chip>, ane, or auto", { placeholder: "NAME" }),
  threads: wholeOption("threads of the CPU engine; default: the machine's cores", 1, {
    maximum: 256,
  }),
  blas: textOption(
    "who multiplies large matrices on the CPU engine: auto (the system's library where it is known to be quicker), off, or a library",
    { placeholder: "PATH" },
  ),
  ane_driver: choiceOption("the way into the Neural Engine, for ane and sim:<chip>", DRIVERS, {
    aliases: ["driver"],
  }),
  numerics: choiceOption(
    "arithmetic of sim:<chip>: the engine's, or a faster approximation of it",
    NUMERICS,
  ),
  arithmetic: textOption(
    "rules of sim:<chip>'s arithmetic: 2026-11, 2026-08, or rule=variant of anecdote chips --arithmetic",
    { placeholder: "SET" },
  ),
  placement: choiceOption(
    "what of a step a Neural Engine computes: all that it can, or products alone, with norms, softmax, activations, rotary positions and the loss on the host",
    PLACEMENTS,
  ),
  recompute: choiceOption(
    "forward values the backward keeps: all, the cheapest choice in the budget, none",
    ["none", "auto", "full"],
  ),
  tap_bytes: wholeOption("byte budget of kept forward values, for --recompute auto", 0),
  head_chunk_rows: wholeOption("positions whose logits exist at once", 1),
});

export const MACHINE_DEFAULTS = {
  engine: "auto",
  placement: "engine",
  blas: "auto",
  recompute: "auto",
} as const;
