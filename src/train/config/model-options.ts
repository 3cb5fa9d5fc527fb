import { FAMILY_NAMES } from "../../model/config.ts";
import { choiceOption, flagOption, inGroup, textOption, wholeOption } from "../../util/options.ts";

/** As in `config.json`. */
const LARGEST_SIZE = 1 << 24;

/** Which model is trained: one that is there, or the shape of a new one. */
export const MODEL_OPTIONS = inGroup("Model", {
  preset: textOption("a named model with settings that work (anecdote train --list-presets)", {
    placeholder: "NAME",
  }),
  model: textOption(
    "start from the weights, configuration and tokenizer of this model or run folder",
    { placeholder: "DIR", aliases: ["model_name_or_path", "init_from"] },
  ),
  resize_embeddings: flagOption(
    "add rows to the model's embedding for tokens of its tokenizer that have none, the mean of the others; the model is written into the run's folder",
  ),
  model_config: textOption("a Hugging Face config.json: the shape of a new model", {
    placeholder: "FILE",
  }),
  family: choiceOption("family of a new model; default: llama, or the preset's", FAMILY_NAMES),
  layers: wholeOption("layers of a new model, or of the preset changed; other sizes follow", 1, {
    maximum: 10_000,
    aliases: ["num_hidden_layers", "num_layers", "n_layer", "n_layers", "depth"],
  }),
  hidden_size: wholeOption("channels of the hidden state; default: 64 a layer", 2, {
    maximum: LARGEST_SIZE,
    aliases: ["n_embd", "hidden_dim", "d_model", "channels"],
  }),
  heads: wholeOption("attention heads; default: of about 64 channels each", 1, {
    maximum: LARGEST_SIZE,
    aliases: ["num_attention_heads", "num_heads", "n_head", "n_heads"],
  }),
  kv_heads: wholeOption("heads of keys and values; default: as many as --heads", 1, {
    maximum: LARGEST_SIZE,
    aliases: ["num_key_value_heads", "num_kv_heads", "n_kv_heads"],
  }),
  ffn_size: wholeOption(
    "channels of the feed-forward part; default: 4 (gpt2) or 8/3 times --hidden-size",
    1,
    { maximum: LARGEST_SIZE, aliases: ["intermediate_size", "n_inner", "ffn_dim", "d_ff"] },
  ),
});

export const MODEL_DEFAULTS = {
  resize_embeddings: false,
} as const;
