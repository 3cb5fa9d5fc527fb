import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tinyTraining } from "../helpers/cli.ts";
import { run } from "./in-process.ts";
import type { Printed } from "./in-process.ts";

const folder = mkdtempSync(join(tmpdir(), "anecdote-faults-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (...names: readonly string[]): string => join(folder, ...names);

/** Characters by number, with a begin and an end token; everything else is unknown. */
const LETTERS = [
  " ",
  ".",
  ...Array.from({ length: 26 }, (_, letter) => String.fromCodePoint(97 + letter)),
];
const VOCABULARY = ["<unk>", "<s>", "</s>", ...LETTERS];

function tokenizerJson({ begins = true } = {}): object {
  const special = (content: string) => ({
    ...{ id: VOCABULARY.indexOf(content), content, special: true, single_word: false },
    ...{ lstrip: false, rstrip: false, normalized: false },
  });
  return {
    added_tokens: ["<unk>", "<s>", "</s>"].map(special),
    normalizer: null,
    pre_tokenizer: null,
    post_processor: begins
      ? {
          type: "TemplateProcessing",
          single: [
            { SpecialToken: { id: "<s>", type_id: 0 } },
            { Sequence: { id: "A", type_id: 0 } },
          ],
          pair: [],
          special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
        }
      : null,
    decoder: { type: "Fuse" },
    model: {
      type: "BPE",
      unk_token: "<unk>",
      vocab: Object.fromEntries(VOCABULARY.map((token, id) => [token, id])),
      merges: [],
    },
  };
}

const TOKENIZER_CONFIG = { bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>" };

beforeAll(async () => {
  const begun = await run(...tinyTraining(folder, at("run"), ["--max-steps", "1"]));
  expect(begun.code, begun.stderr).toBe(0);
  cpSync(at("run", "checkpoint-1"), at("model"), { recursive: true });
  writeFileSync(at("model", "tokenizer.json"), JSON.stringify(tokenizerJson()));
  writeFileSync(at("model", "tokenizer_config.json"), JSON.stringify(TOKENIZER_CONFIG));
  writeFileSync(at("plain.txt"), "a cat sat by a warm stove. ".repeat(60));
  writeFileSync(at("odd.txt"), `${"a cat sat by a warm stove. ".repeat(60)}ÀÉÎ`);
});

let count = 0;
/** The model with something changed in its folder. */
function modelWith(change: (path: string) => void): string {
  const path = at(`model-${++count}`);
  cpSync(at("model"), path, { recursive: true });
  change(path);
  return path;
}

function changeJson(path: string, change: Readonly<Record<string, unknown>>): void {
  const json = JSON.parse(readFileSync(path, "utf8")) as object;
  writeFileSync(path, JSON.stringify({ ...json, ...change }));
}

/** What each of the three commands says of a model; train and eval read the data, generate the prompt. */
async function tellings(
  model: string,
  { data = at("plain.txt"), prompt = "a cat" } = {},
): Promise<Readonly<Record<"train" | "eval" | "generate", Printed>>> {
  return {
    train: await run(
      ...["train", "--model", model, "--data", data, "--output-dir", at(`out-${++count}`)],
      ...["--max-steps", "1", "--batch-size", "2", "--max-seq-length", "16", "--threads", "1"],
    ),
    eval: await run("eval", "--model", model, "--data", data, "--threads", "1"),
    generate: await run(
      ...["generate", "--model", model, "--prompt", prompt, "--max-tokens", "2"],
      ...["--temperature", "0", "--threads", "1"],
    ),
  };
}

/**
 * Each of the commands ends with an error that says this, once. Training shows its task before it reads the weights;
 * what is wrong with anything else is told before a word goes to standard output.
 */
async function expectRefused(model: string, what: RegExp, isInWeights = false): Promise<void> {
  for (const [name, { code, stdout, stderr }] of Object.entries(await tellings(model))) {
    expect(code, `${name}: ${stderr}`).not.toBe(0);
    if (!isInWeights || name !== "train") expect(stdout, name).toBe("");
    const lines = stderr.split("\n").filter((line) => what.test(line));
    expect(lines, `${name} says: ${stderr}`).toHaveLength(1);
  }
}

/** Training shows notes beside its other lines, the others on standard error. */
const linesWith = ({ stdout, stderr }: Printed, text: string): readonly string[] =>
  `${stdout}${stderr}`.split("\n").filter((line) => line.includes(text));

describe("a foreign model's faults are told in one clear line by train, eval and generate alike", () => {
  it("characters that the tokenizer does not know", async () => {
    const told = await tellings(at("model"), { data: at("odd.txt"), prompt: "a cÀt" });
    for (const [name, printed] of Object.entries(told)) {
      expect(printed.code, `${name}: ${printed.stderr}`).toBe(0);
      expect(linesWith(printed, "not in the tokenizer"), name).toHaveLength(1);
    }
    const known = await tellings(at("model"));
    for (const printed of Object.values(known))
      expect(linesWith(printed, "not in the tokenizer")).toEqual([]);
  });

  it("documents that follow each other with nothing between them", async () => {
    const rows = at("rows.jsonl");
    const texts = Array.from({ length: 60 }, () =>
      JSON.stringify({ text: "a cat sat by a stove." }),
    );
    writeFileSync(rows, texts.join("\n"));
    const model = modelWith((path) => {
      writeFileSync(join(path, "tokenizer.json"), JSON.stringify(tokenizerJson({ begins: false })));
      writeFileSync(
        join(path, "tokenizer_config.json"),
        JSON.stringify({ bos_token: null, eos_token: null, unk_token: "<unk>" }),
      );
    });
    const { train, eval: judged } = await tellings(model, { data: rows });
    for (const printed of [train, judged]) {
      expect(printed.code, printed.stderr).toBe(0);
      expect(linesWith(printed, "with nothing between them")).toHaveLength(1);
    }
  });

  it("more ids than the embedding has rows", async () => {
    const model = modelWith((path) => {
      const json = tokenizerJson() as { model: { vocab: Record<string, number> } };
      json.model.vocab["ß"] = 257;
      writeFileSync(join(path, "tokenizer.json"), JSON.stringify(json));
    });
    await expectRefused(model, /257.*258|258.*257/);
  });

  it.each([
    ["NaN", Number.NaN],
    ["an infinity", Number.POSITIVE_INFINITY],
  ])("weights that hold %s", async (_, number) => {
    const model = modelWith((path) => {
      const file = join(path, "model.safetensors");
      const bytes = readFileSync(file);
      // The last number of the file.
      bytes.writeFloatLE(number, bytes.length - 4);
      writeFileSync(file, bytes);
      // It was changed by somebody else, who left no checksum.
      for (const name of readdirSync(path))
        if (/checksum|state/.test(name)) rmSync(join(path, name), { recursive: true });
    });
    await expectRefused(model, /NaN|Infinity|infinite/, true);
  });

  it("a list as pad token; -1 is none", async () => {
    const list = modelWith((path) =>
      changeJson(join(path, "config.json"), { pad_token_id: [0, 2] }),
    );
    await expectRefused(list, /pad_token_id.*\[0,2\]/);
    const none = modelWith((path) => changeJson(join(path, "config.json"), { pad_token_id: -1 }));
    for (const [name, { code, stderr }] of Object.entries(await tellings(none)))
      expect(code, `${name}: ${stderr}`).toBe(0);
  });

  it("an empty prompt starts from the begin token, where there is one", async () => {
    const generate = (model: string, ...more: readonly string[]): Promise<Printed> =>
      run(
        ...["generate", "--model", model, "--prompt", "", "--max-tokens", "3"],
        ...["--temperature", "0", "--threads", "1", ...more],
      );
    const { code, stdout, stderr } = await generate(at("model"), "--json");
    expect(code, stderr).toBe(0);
    const line = JSON.parse(stdout.split("\n")[0] ?? "") as Readonly<Record<string, unknown>>;
    expect(line["prompt"]).toBe("");
    const bare = modelWith((path) => {
      writeFileSync(join(path, "tokenizer.json"), JSON.stringify(tokenizerJson({ begins: false })));
      writeFileSync(
        join(path, "tokenizer_config.json"),
        JSON.stringify({ bos_token: null, eos_token: null }),
      );
      changeJson(join(path, "config.json"), { bos_token_id: null, eos_token_id: null });
      rmSync(join(path, "generation_config.json"), { force: true });
    });
    const without = await generate(bare);
    expect(without.code).not.toBe(0);
    expect(without.stderr).toContain("this tokenizer has no token that begins a text");
    expect(without.stdout).toBe("");
  });

  it("nothing is printed to standard output before the arguments are known to be good", async () => {
    const bad: readonly (readonly string[])[] = [
      ["generate", "--model", at("model"), "--prompt", "a", "--max-tokens", "0.5"],
      ["generate", "--model", at("nowhere"), "--prompt", "a"],
      ["generate", "--model", at("model"), "--prompt", "a", "--top-p", "7"],
      ["eval", "--model", at("model"), "--data", at("nowhere.txt")],
      ["eval", "--model", at("model"), "--data", at("plain.txt"), "--batch-size", "none"],
      ["train", "--model", at("model"), "--data", at("plain.txt"), "--learning-rate", "fast"],
      ["train", "--model", at("model"), "--data", at("nowhere.txt"), "--output-dir", at("o")],
    ];
    for (const args of bad) {
      const { code, stdout, stderr } = await run(...args);
      expect(code, args.join(" ")).not.toBe(0);
      expect(stdout, args.join(" ")).toBe("");
      expect(stderr, args.join(" ")).not.toBe("");
    }
  });
});

describe("files that a model brings", () => {
  it("are kept through training, export and conversion of checkpoints", async () => {
    const template = "{% for m in messages %}{{ m.content }}{% endfor %}";
    const map = { bos_token: "<s>", eos_token: "</s>", extra: "kept" };
    const generation = {
      ...{ bos_token_id: 1, eos_token_id: [2, 0], pad_token_id: 0, temperature: 0.7, top_k: 5 },
      ...{ do_sample: true, max_new_tokens: 99, transformers_version: "4.0" },
    };
    const model = modelWith((path) => {
      writeFileSync(join(path, "chat_template.jinja"), template);
      writeFileSync(join(path, "special_tokens_map.json"), JSON.stringify(map));
      writeFileSync(join(path, "generation_config.json"), JSON.stringify(generation));
    });
    const trained = at("trained");
    const { code, stderr } = await run(
      ...["train", "--model", model, "--data", at("plain.txt"), "--output-dir", trained],
      ...["--max-steps", "1", "--batch-size", "2", "--max-seq-length", "16", "--threads", "1"],
    );
    expect(code, stderr).toBe(0);
    const exported = at("exported");
    const written = await run("export", "--model", trained, "--output", exported);
    expect(written.code, written.stderr).toBe(0);
    for (const path of [join(trained, "checkpoint-1"), exported]) {
      expect(readFileSync(join(path, "chat_template.jinja"), "utf8")).toBe(template);
      const found = (name: string): unknown =>
        JSON.parse(readFileSync(join(path, name), "utf8")) as unknown;
      expect(found("special_tokens_map.json")).toEqual(map);
      expect(found("generation_config.json")).toEqual(generation);
      expect(found("tokenizer_config.json")).toEqual({
        ...TOKENIZER_CONFIG,
        // Where readers in JavaScript look for it.
        ...(path === exported && { chat_template: template, add_bos_token: true }),
      });
    }
  });
});
