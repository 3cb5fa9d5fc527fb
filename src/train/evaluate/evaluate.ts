import { createEngine, engineOptions } from "../../engine/create.ts";
import { openModel } from "../../model/index.ts";
import type { AdapterSource } from "../../model/index.ts";
import { optimize } from "../../passes/pipeline.ts";
import {
  dataNotes,
  judgingFrame,
  keepStandardInput,
  STANDARD_INPUT,
  loadTokenizer,
  marksOf,
  openDataset,
  trainingFrame,
  windowSplit,
  withTemplateOf,
} from "../../text/index.ts";
import type { CorpusPaths, DataSplit, DescribedTokenizer } from "../../text/index.ts";
import { requireRows } from "../../runs/model-fit.ts";
import { trainedBeginnings } from "../../runs/trained-beginnings.ts";
import { setImmediate } from "node:timers/promises";
import { tmpdir } from "node:os";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { EngineSettings } from "../../engine/create.ts";
import { weightViews } from "../../engine/weight-views.ts";
import { fetchNamedModel, resolveModelFolder } from "../../runs/model-path.ts";
import { EXAMPLE_DEFAULTS } from "../config/data-options.ts";
import { encoderOptions, exampleSplits, formOf } from "../run/splits.ts";
import type { DataSettings } from "../config/part-settings.ts";
import { buildEvaluationPlan } from "../step/step-plan.ts";
import { evaluateBatches } from "../step/trainer.ts";

/** Settings of how rows are read, by their names; all may be left out. */
export type RowReading = Partial<
  Omit<DataSettings, "text_field" | "max_seq_length" | "begin_tokens" | "sampling" | "packing">
>;

/** What is judged, on what, and how. */
export interface EvaluateOptions extends EngineSettings {
  /** A model folder, or a run's. */
  readonly model: string;
  /** Adapters beside the model, each by its weight. */
  readonly adapters?: readonly AdapterSource[];
  /**
   * Text, jsonl, token ids or a folder of them, all of which is judged (a folder's validation split, if it has one); or
   * what a run held out.
   */
  readonly data: CorpusPaths | DataSplit;
  /** Field of `.jsonl` rows that holds the text; default: text. */
  readonly textField?: string;
  /** How rows are read; default: as a run's data are. */
  readonly rows?: RowReading;
  readonly batchSize?: number;
  /** Tokens of context; default: the model's, at most 1,024. */
  readonly sequenceLength?: number;
  /** Judge each document with nothing but itself as context, as stories are trained; default: windows anywhere. */
  readonly byDocument?: boolean;
  readonly engine?: string;
  /** Hears how many tokens are judged. */
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
  await fetchNamedModel(options.model, (message) => options.onNote?.(message));
  const folder = resolveModelFolder(options.model, (message) => options.onNote?.(message));
  const { model, load } = openModel(folder, options.adapters);
  const { config } = model;
  const { described } = withTemplateOf(
    loadTokenizer(folder),
    (options.adapters ?? []).map((adapter) => adapter.folder),
  );
  const { tokenizer } = described;
  requireRows(tokenizer.vocabularySize, config.vocabularySize);
  const sequenceLength = options.sequenceLength ?? Math.min(config.contextLength, 1024);
  const batchSize = options.batchSize ?? Math.max(1, Math.floor(2048 / sequenceLength));
  const { split, close } = openSplit(options, described, folder, sequenceLength);
  try {
    const engine = await createEngine(options.engine ?? "auto", engineOptions(options));
    try {
      const { isPacked } = split;
      const loaded = await engine.load(
        buildEvaluationPlan({
          ...{ model, batchSize, sequenceLength, isPacked, optimize: (fn) => optimize(fn) },
        }),
      );
      load(weightViews((name) => loaded.view(name)));
      const result = await evaluateBatches(
        loaded,
        split.evaluation({ batchSize }),
        async (tokenCount) => {
          options.onProgress?.(tokenCount, split.tokenCount - 1);
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

function isSplit(data: CorpusPaths | DataSplit): data is DataSplit {
  return typeof data === "object" && "evaluation" in data;
}

/** Documents stand as in training; those for a model from elsewhere as its tokenizer's template says. */
function openSplit(
  { data, textField = "text", byDocument = false, rows = {}, onNote }: EvaluateOptions,
  described: DescribedTokenizer,
  folder: string,
  contextLength: number,
): { readonly split: DataSplit; readonly close: () => void } {
  if (isSplit(data)) return { split: data, close: () => undefined };
  const { tokenizer } = described;
  const trained = trainedBeginnings(folder);
  const cacheFolder = mkdtempSync(join(tmpdir(), "anecdote-eval-"));
  const remove = (): void => rmSync(cacheFolder, { recursive: true, force: true });
  try {
    const paths =
      data === STANDARD_INPUT ? keepStandardInput(join(cacheFolder, "standard-input.txt")) : data;
    const settings: DataSettings = {
      ...{ ...EXAMPLE_DEFAULTS, ...rows, text_field: textField, max_seq_length: contextLength },
      ...{ begin_tokens: trained?.beginTokens ?? "template", sampling: "epochs" },
    };
    const form = formOf(paths, settings);
    if (form !== undefined) {
      const { train, validation, notes } = exampleSplits(
        ...[paths, form, settings, encoderOptions(settings, described, folder)],
        { validationFraction: 0, onProgress: () => undefined },
      );
      for (const note of notes) onNote?.(note);
      return { split: validation ?? train, close: remove };
    }
    const frame =
      trained === undefined
        ? judgingFrame(tokenizer)
        : trainingFrame(tokenizer, trained.beginTokens);
    const dataset = openDataset(paths, {
      ...{ tokenizer, cacheFolder, textField, frame },
      validationFraction: 0,
    });
    for (const note of dataNotes(dataset, frame)) onNote?.(note);
    return {
      split: windowSplit(dataset.validation ?? dataset.train, {
        contextLength,
        sampling: byDocument ? "documents" : "epochs",
        marks: marksOf(frame),
      }),
      close: () => {
        dataset.close();
        remove();
      },
    };
  } catch (error) {
    remove();
    throw error;
  }
}
