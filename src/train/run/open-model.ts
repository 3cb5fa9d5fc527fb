import type { FolderOptions } from "../../generate/from-folder.ts";
import { generateFromFolder } from "../../generate/from-folder.ts";
import type { GenerateOptions, GeneratedText } from "../../generate/writing.ts";
import { readModelConfig } from "../../model/index.ts";
import type { ModelConfig } from "../../model/index.ts";
import { hubModelNamed } from "../../hub/hub-model.ts";
import { fetchNamedModel, resolveModelFolder } from "../../runs/model-path.ts";
import { evaluateModel } from "../evaluate/evaluate.ts";
import type { EvaluateOptions, EvaluationReport } from "../evaluate/evaluate.ts";

/** How a model writes; all may be left out. */
export interface WriteOptions extends Partial<GenerateOptions>, FolderOptions {}

/** How a model is judged. */
export type JudgeOptions = Omit<EvaluateOptions, "model" | "data">;

/** Tokens that are written where nobody says how many. */
const DEFAULT_TOKEN_COUNT = 100;

/**
 * A model in Hugging Face's layout, or a run's newest whole checkpoint. Each call opens it and closes it again; for
 * many prompts in a row keep a `Generator` open (`withGenerator`).
 */
export class ModelHandle {
  readonly #folder: () => Promise<string>;

  /** `folder`: where the model stands, once it is there. */
  constructor(folder: () => Promise<string>) {
    this.#folder = folder;
  }

  /** Path of the folder with `config.json` and `model.safetensors`. */
  async folder(): Promise<string> {
    return await this.#folder();
  }

  /** The model's configuration. Throws `ModelError` for one that no family here has. */
  async config(): Promise<ModelConfig> {
    return readModelConfig(await this.#folder());
  }

  /**
   * Continues a prompt; an empty one begins a document. Without `temperature` the most likely token is taken.
   * Throws `GenerateError` for settings out of range, `ModelError` or `TextError` for what is wrong in the folder.
   */
  async generate(prompt = "", options: WriteOptions = {}): Promise<GeneratedText> {
    return await generateFromFolder(await this.#folder(), prompt, {
      ...options,
      maxTokens: options.maxTokens ?? DEFAULT_TOKEN_COUNT,
    });
  }

  /**
   * Loss in nats a token and perplexity on text, `.jsonl`, token ids or a folder of them, each token counted once.
   * Throws `TextError` for data that cannot be read.
   */
  async evaluate(
    data: EvaluateOptions["data"],
    options: JudgeOptions = {},
  ): Promise<EvaluationReport> {
    return await evaluateModel({ ...options, model: await this.#folder(), data });
  }
}

/**
 * The model of a folder or a file, of a run's best or newest whole checkpoint, or of a name on the Hub, which is fetched
 * when it is first used. Throws `RunError` where there is none. `onNote`
 * hears of damaged checkpoints that were passed over.
 */
export function openModel(path: string, onNote?: (message: string) => void): ModelHandle {
  if (hubModelNamed(path) !== undefined) {
    return new ModelHandle(async () => {
      await fetchNamedModel(path, onNote);
      return resolveModelFolder(path, onNote);
    });
  }
  const folder = resolveModelFolder(path, onNote);
  return new ModelHandle(() => Promise.resolve(folder));
}
