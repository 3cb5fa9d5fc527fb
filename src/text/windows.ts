import * as z from "zod";
import { Random } from "../util/random.ts";
import { TextError } from "./errors.ts";
import { permutation } from "./permutation.ts";
import { scanTokens } from "./token-view.ts";
import type { TokenView } from "./token-view.ts";
import { savedPosition, otherPosition } from "./saved-position.ts";

/**
 * random: windows anywhere, as nanoGPT draws them. epochs: non-overlapping windows, every one once an epoch, shuffled.
 * documents: windows that begin where a document begins, every one once an epoch, shuffled.
 */
export const SAMPLINGS = ["random", "epochs", "documents"] as const;

/** Ways to draw windows. */
export type Sampling = (typeof SAMPLINGS)[number];

const count = z.int().nonnegative();

/** Where a sampler stands: plain JSON. Restored, it gives the same windows as if it had never stopped. */
const samplerStateSchema = z.object({
  sampling: z.enum(SAMPLINGS),
  seed: z.number(),
  epoch: count,
  /** Windows given in this epoch. */
  position: count,
  random: z.tuple([count, count, count, count]).readonly(),
  /** What the state belongs to; another corpus or context length is refused. */
  tokenCount: count,
  contextLength: count,
});

/** Where a sampler stands; a checkpoint keeps it. */
export type SamplerState = Readonly<z.infer<typeof samplerStateSchema>>;

/** Gives out positions of windows: a window is `contextLength` inputs and, one further, as many targets. */
export interface WindowSampler {
  readonly windowsPerEpoch: number;
  readonly state: SamplerState;
  /** The first token of the next window. */
  next(): number;
}

/** How windows are drawn from tokens. */
export interface SamplerOptions {
  readonly sampling: Sampling;
  readonly seed: number;
  /** S, the inputs of a window. */
  readonly contextLength: number;
  /** The token that ends a document; `documents` needs it, or the one that begins them. */
  readonly endOfText?: number | undefined;
  /** The token that every document begins with, where there is one that does not end them as well. */
  readonly beginOfText?: number | undefined;
}

function checkLength(view: TokenView, contextLength: number): void {
  if (!Number.isInteger(contextLength) || contextLength < 1) {
    throw new TextError(
      "text.context",
      `the context length must be a whole number of tokens, found ${contextLength}`,
    );
  }
  if (view.tokenCount < contextLength + 1) {
    throw new TextError(
      "text.short",
      `${view.name} has ${view.tokenCount} tokens to train on, a context of ${contextLength} tokens needs ${contextLength + 1}`,
      {
        remedy:
          view.tokenCount < 3
            ? "Give more text."
            : `Give more text, or use --max-seq-length ${view.tokenCount - 1} or less.`,
      },
    );
  }
}

/**
 * Positions where windows aligned to documents begin: at each `mark`, the begin token or the end-of-text token before
 * each document (its first token is then a target too), and every `contextLength` tokens in a long one. The last window
 * ends inside the view.
 */
export function documentStarts(view: TokenView, mark: number, contextLength: number): Float64Array {
  const starts: number[] = [];
  let documentStart = 0;
  const last = view.tokenCount - contextLength - 1;
  const add = (end: number): void => {
    for (let at = documentStart; at < end && at <= last; at += contextLength) starts.push(at);
  };
  for (const { position, ids } of scanTokens(view)) {
    for (let at = ids.indexOf(mark); at >= 0; at = ids.indexOf(mark, at + 1)) {
      add(position + at);
      documentStart = position + at;
    }
  }
  add(view.tokenCount - 1);
  return Float64Array.from(starts);
}

interface Places {
  readonly count: number;
  at(index: number, epoch: number): number;
}

function places(view: TokenView, options: SamplerOptions): Places {
  const { contextLength, seed } = options;
  if (options.sampling === "documents") {
    const mark = options.beginOfText ?? options.endOfText;
    if (mark === undefined) {
      throw new TextError(
        "text.sampling",
        "windows aligned to documents need a tokenizer with an end-of-text token",
        {
          remedy: `Choose the sampling "epochs" or "random".`,
        },
      );
    }
    const starts = documentStarts(view, mark, contextLength);
    return { count: starts.length, at: (index) => starts[index] ?? 0 };
  }
  const usable = view.tokenCount - 1;
  const count = Math.floor(usable / contextLength);
  const spare = usable - count * contextLength + 1;
  // The grid is shifted a little every epoch, so that the tokens after the last window are seen as well.
  const shift = (epoch: number): number => new Random(seed * 4096 + epoch).below(spare);
  return { count, at: (index, epoch) => shift(epoch) + index * contextLength };
}

/** Reads a state. Throws `TextError` `text.resume` when it is none, or was saved over other data. */
function readState(
  saved: unknown,
  view: TokenView,
  options: SamplerOptions,
  windowCount: number,
): SamplerState {
  const { sampling, seed, contextLength } = options;
  const now = { sampling, seed, tokenCount: view.tokenCount, contextLength };
  const words = {
    names: { tokenCount: "a token count of", contextLength: "a context length of" },
    remedy:
      "Go on with the data, context length and sampling of the first run; or begin another run with its weights: train --model RUN --output-dir ANOTHER.",
  };
  const state = savedPosition(saved, samplerStateSchema, now, words);
  if (state.position <= windowCount) return state;
  throw otherPosition("position", state.position, `at most ${windowCount}`, words);
}

/**
 * A sampler over a view, fresh or where `saved` says. Throws `TextError` `text.short` when not one window fits and
 * `text.resume` when `saved` is no state or belongs to other data.
 */
export function windowSampler(
  view: TokenView,
  options: SamplerOptions,
  saved?: unknown,
): WindowSampler {
  const { sampling, seed, contextLength } = options;
  checkLength(view, contextLength);
  const grid = places(view, options);
  if (grid.count === 0) {
    throw new TextError(
      "text.short",
      `${view.name}: no document has ${contextLength + 1} tokens from its beginning to the end of the data`,
    );
  }
  const resume = saved === undefined ? undefined : readState(saved, view, options, grid.count);
  const random = new Random(resume?.random ?? seed);
  let epoch = resume?.epoch ?? 0;
  let position = resume?.position ?? 0;
  let order = permutation(grid.count, seed, epoch);
  return {
    windowsPerEpoch: grid.count,
    get state() {
      return {
        sampling,
        seed,
        epoch,
        position,
        random: random.state,
        tokenCount: view.tokenCount,
        contextLength,
      };
    },
    next() {
      if (position >= grid.count) {
        epoch++;
        position = 0;
        order = permutation(grid.count, seed, epoch);
      }
      const index = position++;
      return sampling === "random"
        ? random.below(view.tokenCount - contextLength)
        : grid.at(order(index), epoch);
    },
  };
}
