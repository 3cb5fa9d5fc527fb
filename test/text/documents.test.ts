import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  beginningWithEnd,
  byteTokenizer,
  evaluationBatches,
  judgingFrame,
  marksOf,
  memoryTokens,
  openDataset,
  startTokens,
  trainingFrame,
  windowSampler,
} from "../../src/text/index.ts";
import type { DocumentFrame, Tokenizer, TokenView } from "../../src/text/index.ts";
import { checkTokenizerJson } from "../../src/text/tokenizer-json.ts";
import { runTokenizer } from "../../src/text/tokenizer-runner.ts";
import { temporaryFolder } from "./temporary-folder.ts";

const NAMES = ["<unk>", "<s>", "</s>", "a", "b", "c"];

function tokenizerOf(
  template: { readonly before?: readonly string[]; readonly after?: readonly string[] },
  config: object = {},
  special: readonly string[] = ["<s>", "</s>"],
): Tokenizer {
  const { before = [], after = [] } = template;
  const part = (token: string) => ({ SpecialToken: { id: token, type_id: 0 } });
  const json = {
    model: {
      type: "BPE",
      vocab: Object.fromEntries(NAMES.map((token, id) => [token, id])),
      merges: [],
      unk_token: "<unk>",
    },
    added_tokens: special.map((content) => ({
      id: NAMES.indexOf(content),
      content,
      special: true,
    })),
    post_processor: {
      type: "TemplateProcessing",
      single: [...before.map(part), { Sequence: { id: "A", type_id: 0 } }, ...after.map(part)],
      pair: [],
      special_tokens: Object.fromEntries(
        [...before, ...after].map((token) => [
          token,
          { id: token, ids: [NAMES.indexOf(token)], tokens: [token] },
        ]),
      ),
    },
  };
  return runTokenizer(checkTokenizerJson(json, "test"), { ...config }, "test");
}

function idsOf(view: TokenView): number[] {
  const ids = new Int32Array(view.tokenCount);
  view.read(0, ids);
  return Array.from(ids);
}

function dataOf(tokenizer: Tokenizer, frame: DocumentFrame, text = "ab<|endoftext|>c"): number[] {
  const folder = temporaryFolder();
  const path = join(folder, "data.txt");
  writeFileSync(path, text);
  const dataset = openDataset(path, {
    ...{ tokenizer, frame },
    cacheFolder: join(folder, "cache"),
    validationFraction: 0,
  });
  const ids = idsOf(dataset.train);
  dataset.close();
  return ids;
}

describe("documents in training", () => {
  it("begin with what the template says and end with the end-of-text token", () => {
    const llama = tokenizerOf({ before: ["<s>"] });
    expect(dataOf(llama, trainingFrame(llama, "template"))).toEqual([1, 3, 4, 2, 1, 5, 2]);
  });

  it("are not ended twice", () => {
    const t5 = tokenizerOf({ after: ["</s>"] });
    expect(dataOf(t5, trainingFrame(t5, "template"))).toEqual([3, 4, 2, 5, 2]);
  });

  it("have no invented begin token, and none in runs that had none", () => {
    const bare = tokenizerOf({});
    expect(dataOf(bare, trainingFrame(bare, "template"))).toEqual([3, 4, 2, 5, 2]);
    const llama = tokenizerOf({ before: ["<s>"] });
    expect(dataOf(llama, trainingFrame(llama, "none"))).toEqual([3, 4, 2, 5, 2]);
  });

  it("share a token that both begins and ends them", () => {
    const both = tokenizerOf({ before: ["</s>"] });
    expect(dataOf(both, trainingFrame(both, "template"))).toEqual([2, 3, 4, 2, 5, 2]);
  });

  it("are windows from their begin tokens on", () => {
    const llama = tokenizerOf({ before: ["<s>"] });
    const marks = marksOf(trainingFrame(llama, "template"));
    const view = memoryTokens(Int32Array.of(1, 3, 4, 2, 1, 5, 3, 2, 1, 4, 4, 2));
    const sampler = windowSampler(view, {
      ...marks,
      sampling: "documents",
      seed: 1,
      contextLength: 4,
    });
    const starts = Array.from({ length: sampler.windowsPerEpoch }, () => sampler.next());
    expect(starts.sort((a, b) => a - b)).toEqual([0, 4]);
  });
});

describe("documents that a model is judged on", () => {
  it("have what the template says and nothing else", () => {
    const llama = tokenizerOf({ before: ["<s>"] });
    expect(dataOf(llama, judgingFrame(llama))).toEqual([1, 3, 4, 1, 5]);
  });

  it("are joined by the end-of-text token where the template is silent", () => {
    const gpt2 = tokenizerOf({});
    expect(dataOf(gpt2, judgingFrame(gpt2))).toEqual([3, 4, 2, 5]);
  });

  it("are rows of their own, from begin token to end", () => {
    const llama = tokenizerOf({ before: ["<s>"] });
    const view = memoryTokens(Int32Array.of(1, 3, 4, 1, 5, 3));
    const [batch] = evaluationBatches(view, {
      ...marksOf(judgingFrame(llama)),
      batchSize: 2,
      contextLength: 4,
    });
    expect(Array.from(batch?.inputs ?? [])).toEqual([1, 3, 0, 0, 1, 5, 0, 0]);
    expect(Array.from(batch?.targets ?? [])).toEqual([3, 4, -100, -100, 5, 3, -100, -100]);
  });
});

describe("a text to be continued begins", () => {
  const llama = tokenizerOf({ before: ["<s>"] });
  const bare = tokenizerOf({});

  it("as documents began in training", () => {
    expect(startTokens(llama, false)).toEqual([1]);
    expect(startTokens(bare, false)).toEqual([]);
    const none = { beginTokens: "none", byDocument: false } as const;
    expect(startTokens(llama, false, none)).toEqual([]);
    expect(startTokens(bare, false, { ...none, byDocument: true })).toEqual([2]);
    const made = beginningWithEnd(byteTokenizer()).tokenizer;
    expect(startTokens(made, false, { beginTokens: "template", byDocument: true })).toEqual([256]);
  });

  it("with the begin token where it is empty", () => {
    expect(startTokens(bare, true)).toEqual([1]);
    expect(startTokens(tokenizerOf({}, { bos_token: null }), true)).toEqual([2]);
  });
});

describe("roles of tokens", () => {
  it("come from the configuration: null means none", () => {
    const { special } = tokenizerOf({}, { bos_token: null, eos_token: "</s>" });
    expect(special).toMatchObject({ beginOfText: undefined, endOfText: 2 });
  });

  it("never come from ordinary pieces that look like special tokens", () => {
    const { special } = tokenizerOf({}, {}, []);
    expect(special).toMatchObject({ beginOfText: undefined, endOfText: undefined });
  });
});

describe("a continuation", () => {
  it("keeps its first space", () => {
    const pieces = ["<unk>", "▁A", "▁dog", "▁ran"];
    const json = {
      model: {
        type: "BPE",
        vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
        merges: [],
      },
      decoder: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
    };
    const tokenizer = runTokenizer(checkTokenizerJson(json, "test"), {}, "test");
    const stream = tokenizer.streamDecoder({ context: [1, 2] });
    expect(stream.push(3) + stream.end()).toBe(" ran");
    const fresh = tokenizer.streamDecoder();
    expect(fresh.push(3) + fresh.end()).toBe("ran");
  });
});
