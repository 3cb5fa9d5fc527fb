import { createEngine, engineOptions } from "../../engine/create.ts";
import { openModel } from "../../model/index.ts";
import type { AdapterSource } from "../../model/index.ts";
import { optimize } from "../../passes/pipeline.ts";
import {
  dataNotes,
  evaluationBatches,
  judgingFrame,
  keepStandardInput,
  STANDARD_INPUT,
  loadTokenizer,
  marksOf,
  openDataset,
  trainingFrame,
} from "../../text/index.ts";
import type { CorpusPaths, DocumentMarks, Tokenizer, TokenView } from "../../text/index.ts";
import { requireRows } from "../../runs/model-fit.ts";
import { trainedBeginnings } from "../../runs/trained-beginnings.ts";
import { setImmediate } from "node:timers/promises";
import { tmpdir } from "node:os";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { EngineSettings } from "../../engine/create.ts";
import { weightViews } from "../../engine/weight-views.ts";
import { resolveModelFolder } from "../../runs/model-path.ts";
import { buildEvaluationPlan } from "../step/step-plan.ts";
import { evaluateBatches } from "../step/trainer.ts";

/** What is judged, on what, and how. */
export interface EvaluateOptions extends EngineSettings {
  /** A model folder, or a run's. */
  readonly model: string;
  /** Adapters beside the model, each by its weight. */
  readonly adapters?: readonly AdapterSource[];
  /**
   * Text, jsonl, token ids or a folder of them, all of which is judged (a folder's validation split, if it has one); or
   * tokens of the model's tokenizer, such as the part that a run held out.
   */
  readonly data: CorpusPaths | TokenView;
  /** Field of `.jsonl` rows that holds the text; default: text. */
  readonly textField?: string;
  readonly batchSize?: number;
  /** Tokens of context; default: the model's, at most 1,024. */
  readonly sequenceLength?: number;
  /** Judge each document with nothing but itself as context, as stories are trained; default: windows anywhere. */
  readonly byDocument?: boolean;
  /** Where documents begin in tokens that are given as such. */
  readonly marks?: DocumentMarks;
  readonly engine?: string;
  readonly onProgress?: (tokenCount: number, tokenTotal: number) => void;
  /** Aborting ends it between two batches: it rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Told what a user should know, such as a damaged checkpoint that was passed over. */
  readonly onNote?: (message: string) => void;
}

/** What a model costs on data. */
export interface EvaluationReport {
  /** Mean nats a token. */
  readonly loss: number;
  readonly perplexity: number;
  readonly tokens: number;
}

/** Judges a model on data in non-overlapping windows, each token counted once. */
export async function evaluateModel(options: EvaluateOptions): Promise<EvaluationReport> {
  const folder = resolveModelFolder(options.model, (message) => options.onNote?.(message));
  const { model, load } = openModel(folder, options.adapters);
  const { config } = model;
  const { tokenizer } = loadTokenizer(folder);
  requireRows(tokenizer.vocabularySize, config.vocabularySize);
  const sequenceLength = options.sequenceLength ?? Math.min(config.contextLength, 1024);
  const batchSize = options.batchSize ?? Math.max(1, Math.floor(2048 / sequenceLength));
  const { tokens, marks, close } = openTokens(options, tokenizer, folder);
  try {
    const engine = await createEngine(options.engine ?? "auto", engineOptions(options));
    try {
      const loaded = await engine.load(
        buildEvaluationPlan({ model, batchSize, sequenceLength, optimize: (fn) => optimize(fn) }),
      );
      load(weightViews((name) => loaded.view(name)));
      const result = await evaluateBatches(
        loaded,
        evaluationBatches(tokens, {
          batchSize,
          contextLength: sequenceLength,
          ...marks,
        }),
        async (tokenCount) => {
          options.onProgress?.(tokenCount, tokens.tokenCount - 1);
          // A runtime that blocks the thread lets nobody abort otherwise.
          await setImmediate();
          options.signal?.throwIfAborted();
          return false;
        },
      );
      await loaded.close();
      return { loss: result.loss, perplexity: Math.exp(result.loss), tokens: result.tokenCount };
    } finally {
      await engine.close();
    }
  } finally {
    close();
  }
}

function isTokens(data: CorpusPaths | TokenView): data is TokenView {
  return typeof data === "object" && "tokenCount" in data;
}

/** Documents stand as in training; those for a model from elsewhere as its tokenizer's template says. */
function openTokens(
  { data, textField = "text", byDocument = false, marks = {}, onNote }: EvaluateOptions,
  tokenizer: Tokenizer,
  folder: string,
): { readonly tokens: TokenView; readonly marks: DocumentMarks; readonly close: () => void } {
  if (isTokens(data)) {
    return { tokens: data, marks: byDocument ? marks : {}, close: () => undefined };
  }
  const trained = trainedBeginnings(folder);
  const frame =
    trained === undefined ? judgingFrame(tokenizer) : trainingFrame(tokenizer, trained.beginTokens);
  const cacheFolder = mkdtempSync(join(tmpdir(), "anecdote-eval-"));
  const paths =
    data === STANDARD_INPUT ? keepStandardInput(join(cacheFolder, "standard-input.txt")) : data;
  const dataset = openDataset(paths, {
    ...{ tokenizer, cacheFolder, textField, frame },
    validationFraction: 0,
  });
  for (const note of dataNotes(dataset, frame)) onNote?.(note);
  return {
    tokens: dataset.validation ?? dataset.train,
    marks: byDocument ? marksOf(frame) : {},
    close: () => {
      dataset.close();
      rmSync(cacheFolder, { recursive: true, force: true });
    },
  };
}
