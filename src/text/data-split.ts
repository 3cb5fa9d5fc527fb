import type { Batch, Batches } from "./batch.ts";
import { evaluationBatches, WindowBatches } from "./batches.ts";
import type { DocumentMarks } from "./document-frame.ts";
import { ExampleBatches, exampleEvaluationBatches } from "./examples/example-batches.ts";
import type { ExampleSet } from "./examples/example-set.ts";
import { PairBatches, pairEvaluationBatches } from "./examples/pair-batches.ts";
import type { TokenView } from "./token-view.ts";
import type { Sampling } from "./windows.ts";
import type { ExampleRowOptions } from "./examples/example-batches.ts";
import type { PairRowOptions } from "./examples/pair-batches.ts";

/** Batches that know how many rows they have until they begin again. */
export interface EpochBatches extends Batches {
  readonly rowsPerEpoch: number;
}

/** A part of the data, cut into rows the way a run asks for, whatever the rows are cut from. */
export interface DataSplit {
  readonly name: string;
  /** Of all of it. */
  readonly tokenCount: number;
  /** Whether batches come with a packing. */
  readonly isPacked: boolean;
  /** `resume`: a state of such batches over the same data. */
  batches(
    options: { readonly batchSize: number; readonly seed: number },
    resume?: unknown,
  ): EpochBatches;
  /** All of it once, or so many batches. */
  evaluation(options: {
    readonly batchSize: number;
    readonly batchLimit?: number | undefined;
  }): Iterable<Batch>;
}

/** How windows are cut from tokens. */
export interface WindowSplitOptions {
  /** S. */
  readonly contextLength: number;
  readonly sampling: Sampling;
  readonly marks: DocumentMarks;
}

/** Tokens in windows; an evaluation goes by documents where windows begin with them. */
export function windowSplit(
  view: TokenView,
  { contextLength, sampling, marks }: WindowSplitOptions,
): DataSplit {
  return {
    name: view.name,
    tokenCount: view.tokenCount,
    isPacked: false,
    batches: (options, resume) =>
      new WindowBatches(view, { ...options, sampling, contextLength, ...marks }, resume),
    evaluation: (options) =>
      evaluationBatches(view, {
        ...{ ...options, contextLength },
        ...(sampling === "documents" && marks),
      }),
  };
}

/** Examples, each in a row of its own or packed. */
export function exampleSplit(
  set: ExampleSet,
  rows: Omit<ExampleRowOptions, "batchSize">,
): DataSplit {
  return {
    name: set.name,
    tokenCount: set.tokenCount,
    isPacked: rows.isPacked,
    batches: (options, resume) => new ExampleBatches(set, { ...rows, ...options }, resume),
    evaluation: (options) => exampleEvaluationBatches(set, { ...rows, ...options }),
  };
}

/** Pairs of answers, each answer in a row of its own; batches count pairs. */
export function pairSplit(set: ExampleSet, rows: Omit<PairRowOptions, "batchSize">): DataSplit {
  return {
    name: set.name,
    tokenCount: set.tokenCount,
    isPacked: false,
    batches: (options, resume) => new PairBatches(set, { ...rows, ...options }, resume),
    evaluation: (options) => pairEvaluationBatches(set, { ...rows, ...options }),
  };
}
