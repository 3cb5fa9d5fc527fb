import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { serveModel } from "../../src/server/serve-model.ts";
import type { ServeOptions, ServedModel } from "../../src/server/serve-model.ts";
import { tinyModelFolder } from "../helpers/model-folder.ts";

/** A conversation as ChatML, with tools as Hermes and Qwen teach them. */
export const CHATML = `{%- if tools %}<tools>
{%- for tool in tools %}{{ tool | tojson }}{%- endfor %}</tools> Answer with <tool_call>{"name": , "arguments": }</tool_call>
{%- endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}
{%- for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{%- endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}`;

export interface TinyServer {
  readonly folder: string;
  readonly served: ServedModel;
  readonly client: OpenAI;
  /** POSTs what no type of the client allows. */
  post(path: string, body: unknown, key?: string): Promise<Response>;
  close(): Promise<void>;
}

/** A tiny model called "tiny" behind a server with the key "secret", on a thread of the CPU engine. */
export async function tinyServer({
  contextLength = 128,
  template,
  texts = {},
  prepare = () => undefined,
}: {
  readonly contextLength?: number;
  readonly template?: string;
  readonly texts?: Partial<ServeOptions["texts"]>;
  /** Adds to the folder before it is served. */
  readonly prepare?: (folder: string) => void;
} = {}): Promise<TinyServer> {
  const folder = mkdtempSync(join(tmpdir(), "anecdote-test-"));
  tinyModelFolder(folder, { contextLength });
  if (template !== undefined) writeFileSync(join(folder, "chat_template.jinja"), template);
  prepare(folder);
  const served = await serveModel({
    modelName: "tiny",
    texts: {
      ...{ folder, adapters: [], engine: "cpu", threads: 1 },
      ...{ maximumTexts: 4, maximumWaiting: 4, prefixCacheBytes: 1 << 20 },
      ...texts,
    },
    address: { port: 0 },
    access: { apiKey: "secret" },
  });
  const client = new OpenAI({
    baseURL: `${served.server.url}/v1`,
    apiKey: "secret",
    maxRetries: 0,
  });
  return {
    ...{ folder, served, client },
    post: async (path, body, key = "secret") =>
      fetch(`${served.server.url}${path}`, {
        method: "POST",
        headers: { "Content-Type": "application/json", Authorization: `Bearer ${key}` },
        body: JSON.stringify(body),
      }),
    async close() {
      await served.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
