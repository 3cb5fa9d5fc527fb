import { existsSync } from "node:fs";
import { readSmallFile } from "../util/byte-source.ts";
import { didYouMean } from "../util/nearest.ts";
import { TextError } from "./errors.ts";

const TEMPLATE_BYTES = 1 << 20;

/**
 * Templates for models that have none. plain: headings in ordinary text, for any tokenizer with an end token. chatml:
 * the form of many instruction models; it wants their special tokens to be worth anything.
 */
export const CHAT_TEMPLATES = {
  plain:
    "{% for message in messages %}### {{ message['role'] | capitalize }}\n{{ message['content'] }}{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}### Assistant{{ '\\n' }}{% endif %}",
  chatml:
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant{{ '\\n' }}{% endif %}",
} as const satisfies Readonly<Record<string, string>>;

/** The template that a setting means: one of `CHAT_TEMPLATES`, or a file. Throws `TextError` where it is neither. */
export function chatTemplateSource(name: string): string {
  const preset = new Map<string, string>(Object.entries(CHAT_TEMPLATES)).get(name);
  if (preset !== undefined) return preset;
  if (existsSync(name)) return Buffer.from(readSmallFile(name, TEMPLATE_BYTES)).toString("utf8");
  throw new TextError(
    "text.chat.file",
    `there is no chat template ${name}.${didYouMean(name, Object.keys(CHAT_TEMPLATES))}`,
    { remedy: "Give plain, chatml, or the path of a .jinja file." },
  );
}
