import { readModelConfig } from "../../model/index.ts";
import { resolveModelFolder } from "../../runs/model-path.ts";
import {
  chatTemplateSource,
  checkExamples,
  exampleFormOf,
  loadTokenizer,
  withChatTemplate,
} from "../../text/index.ts";
import type { CorpusPaths, DataCheck } from "../../text/index.ts";
import { EXAMPLE_DEFAULTS, fieldNames } from "../config/data-options.ts";
import { encoderOptions } from "../run/splits.ts";
import type { RowReading, EvaluateOptions } from "./evaluate.ts";

/** Longest rows where nobody says how long, as in a run. */
const LONGEST_DEFAULT_CONTEXT = 1024;
const SHOWN_EXAMPLES = 3;

/** What is checked, for which model. */
export interface CheckDataOptions extends Pick<EvaluateOptions, "textField" | "onNote"> {
  readonly data: CorpusPaths;
  /** A model folder, or a run's: its tokenizer and chat template are used. */
  readonly model: string;
  /** How rows are read; default: as `finetune` does. */
  readonly rows?: RowReading;
  /** Tokens of a row; default: the model's context, at most 1,024. */
  readonly sequenceLength?: number;
  /** A template in place of the model's, as `--chat-template` names it. */
  readonly chatTemplate?: string;
  /** Examples to show. Default 3. */
  readonly showCount?: number;
  /** Hears how far a file is read, in bytes. */
  readonly onProgress?: (path: string, byteCount: number, byteTotal: number) => void;
}

/** A check with what it was made for. */
export interface DataCheckReport extends DataCheck {
  /** S. */
  readonly sequenceLength: number;
  /** Text without rows is one stream to a run: nothing of it is cut or left out. */
  readonly isStream: boolean;
}

/**
 * What a model will see of data. Nothing is trained and nothing written. Throws `TextError` and `RunError` for data and
 * models that are not there; what is wrong in rows is part of the report.
 */
export function checkData(options: CheckDataOptions): DataCheckReport {
  const folder = resolveModelFolder(options.model, options.onNote);
  const own = loadTokenizer(folder);
  const { chatTemplate } = options;
  const described =
    chatTemplate === undefined ? own : withChatTemplate(own, chatTemplateSource(chatTemplate));
  const { contextLength } = readModelConfig(folder);
  const sequenceLength = options.sequenceLength ?? Math.min(contextLength, LONGEST_DEFAULT_CONTEXT);
  const settings = {
    ...EXAMPLE_DEFAULTS,
    data_format: "examples" as const,
    begin_tokens: "template" as const,
    ...options.rows,
    text_field: options.textField ?? "text",
  };
  const names = fieldNames(settings);
  const form = exampleFormOf(options.data, settings.data_format, names);
  const { onProgress } = options;
  const check = checkExamples(options.data, {
    ...encoderOptions(settings, described, folder),
    ...{ form: form ?? "text", names, contextLength: sequenceLength },
    showCount: options.showCount ?? SHOWN_EXAMPLES,
    ...(onProgress !== undefined && { onProgress }),
  });
  return { ...check, sequenceLength, isStream: form === undefined };
}
