import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  byteTokenizer,
  CHAT_TEMPLATES,
  ChatTemplate,
  checkBatch,
  ExampleBatches,
  ExampleStore,
  encodeExample,
  exampleEvaluationBatches,
  exampleFormOf,
  exampleNotes,
  IGNORED_TARGET,
  openExamples,
  readExamples,
  trainingFrame,
} from "../../src/text/index.ts";
import type { ExampleDataOptions, ExampleSet } from "../../src/text/index.ts";
import { packRows } from "../../src/text/examples/pack-rows.ts";
import { temporaryFolder } from "./temporary-folder.ts";

const { tokenizer } = byteTokenizer();
const END = 256;

/** A template that is easy to check by eye. */
const chat = templateOf(
  "{% if tools %}tools {{ tools | length }};{% endif %}{% for m in messages %}{{ m.role }}:{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}",
);

function templateOf(source: string): ChatTemplate {
  return new ChatTemplate(byteTokenizer(), "model", source);
}

function options(more: Partial<ExampleDataOptions> = {}): ExampleDataOptions {
  return {
    tokenizer,
    frame: trainingFrame(tokenizer, "template"),
    masksPrompt: false,
    writesPairsAsChat: false,
    form: "completions",
    names: {},
    contextLength: 64,
    validationFraction: 0,
    chat,
    ...more,
  };
}

function rows(name: string, content: readonly unknown[]): string {
  const path = join(temporaryFolder(), name);
  writeFileSync(path, content.map((row) => `${JSON.stringify(row)}\n`).join(""));
  return path;
}

/** What is learned of an example, and what is only read, as text. */
function told(set: ExampleSet, index = 0): { readonly text: string; readonly learned: string } {
  const places = Array.from({ length: set.lengthOf(index) }, (_, place) => place);
  const textOf = (chosen: readonly number[]): string =>
    tokenizer.decode(chosen.map((place) => set.tokenAt(index, place)));
  return {
    text: textOf(places),
    learned: textOf(places.filter((place) => set.isLearnedAt(index, place))),
  };
}

function setOf(lengths: readonly number[]): ExampleSet {
  const store = new ExampleStore("made");
  lengths.forEach((length, number) =>
    store.add(
      {
        // The first token is the example's number.
        ids: Array.from({ length }, (_, place) => (place === 0 ? number : 100 + place)),
        isLearned: Array.from({ length }, (_, place) => place > 0 && (place + number) % 3 > 0),
      },
      1000,
    ),
  );
  return store;
}

describe("rows of data", () => {
  it.each([
    [{ text: "a" }, {}, "text"],
    [{ prompt: "a", completion: "b", text: "c" }, {}, "completions"],
    [{ messages: [] }, {}, "chat"],
    [{ instruction: "a", input: "", output: "b" }, {}, "alpaca"],
    [{ question: "a", answer: "b" }, { prompt: "question", completion: "answer" }, "completions"],
    [{ dialog: [], id: 1 }, { messages: "dialog" }, "chat"],
    [{ prompt: "a", completion: "b", body: "c" }, { text: "body" }, "text"],
  ])("%j with the names %j are of the form %s", (row, names, form) => {
    expect(exampleFormOf(rows("data.jsonl", [row]), "examples", names)).toBe(form);
  });

  it("of text are a stream for auto, and examples where that is asked for", () => {
    const path = rows("data.jsonl", [{ text: "a" }]);
    expect(exampleFormOf(path, "auto", {})).toBeUndefined();
    expect(exampleFormOf(path, "stream", {})).toBeUndefined();
    expect(exampleFormOf(path, "text", {})).toBe("text");
    const text = join(temporaryFolder(), "data.txt");
    writeFileSync(text, "a");
    expect(exampleFormOf(text, "examples", {})).toBeUndefined();
  });

  it("whose fields say nothing are an error with the fields and the flags that name them", () => {
    expect(() => exampleFormOf(rows("d.jsonl", [{ body: "a" }]), "examples", {})).toThrow(
      /d\.jsonl, row 1: its fields say neither a text.*it has "body"/,
    );
  });

  it.each([
    ["parquet in snappy", "pairs-snappy.parquet"],
    ["parquet in zstd", "pairs-zstd.parquet"],
    ["parquet in gzip", "pairs-gzip.parquet"],
  ])("are read from %s, whatever group they stand in", (_name, file) => {
    const path = fileURLToPath(new URL(`../fixtures/parquet/${file}`, import.meta.url));
    expect(exampleFormOf(path, "auto", {})).toBe("completions");
    const read = [...readExamples({ path, format: "parquet" }, "completions", {})];
    expect(read.map(({ row }) => row)).toEqual(Array.from({ length: 25 }, (_, i) => i + 1));
    expect(read[24]?.example).toEqual({
      form: "completions",
      prompt: "question 24?",
      completion: " answer 24.",
    });
  });

  it("of nested parquet are conversations; a message of weight 0 is not learned", () => {
    const path = fileURLToPath(new URL("../fixtures/parquet/chats.parquet", import.meta.url));
    const { train } = openExamples(path, options({ form: "chat", masksPrompt: true }));
    expect(train.count).toBe(3);
    expect(told(train)).toEqual({
      text: "user:hello 1<|endoftext|>assistant:goodbye 1<|endoftext|>",
      learned: "goodbye 1<|endoftext|>",
    });
  });

  it("of damaged parquet are one error that names the rows", () => {
    const whole = fileURLToPath(new URL("../fixtures/parquet/pairs-zstd.parquet", import.meta.url));
    const path = join(temporaryFolder(), "bad.parquet");
    const bytes = readFileSync(whole);
    bytes.fill(0xff, 30, 200);
    writeFileSync(path, bytes);
    expect(() => openExamples(path, options())).toThrow(
      /bad\.parquet cannot be read.*rows 1 to 25/,
    );
    writeFileSync(path, readFileSync(whole).subarray(0, 400));
    expect(() => openExamples(path, options())).toThrow(/cannot be read as parquet/);
    copyFileSync(whole, path);
    expect(openExamples(path, options()).train.count).toBe(25);
  });

  it.each([
    [{ prompt: "a" }, 'row 2: no field "completion"; it has "prompt"'],
    [{ prompt: "a", completion: 3 }, 'field "completion" must be a string, found 3'],
    [{ prompt: [{ content: "x" }], completion: "b" }, 'message 1: "role" must be a string'],
    [[1], "expected an object, found [1]"],
  ])("that are not of the first one's form are named: %j", (row, words) => {
    const path = rows("d.jsonl", [{ prompt: "a", completion: "b" }, row]);
    expect(() => openExamples(path, options())).toThrow(words);
  });

  it.each([
    [{ role: "user" }, '"content" must be a string'],
    [{ role: "user", content: "a", weight: 0.5 }, '"weight" must be 0 or 1, found 0.5'],
    [{ role: "user", content: "a", train: "no" }, '"train" must be true or false'],
  ])("with a message %j are refused", (message, words) => {
    const path = rows("d.jsonl", [{ messages: [message] }]);
    expect(() => openExamples(path, options({ form: "chat" }))).toThrow(words);
  });

  it("malformed in the middle are named by row and byte", () => {
    const path = join(temporaryFolder(), "d.jsonl");
    writeFileSync(path, '{"prompt":"a","completion":"b"}\n\n{"prompt":"a",]\n');
    expect(() => openExamples(path, options())).toThrow(/d\.jsonl, row 3: not JSON, byte 15/);
  });
});

describe("an example", () => {
  it("of a prompt and a completion is both texts and the end of text; masked, only the second part is learned", () => {
    const path = rows("d.jsonl", [{ prompt: "two+two=", completion: "four" }]);
    expect(told(openExamples(path, options()).train)).toEqual({
      text: "two+two=four<|endoftext|>",
      learned: "wo+two=four<|endoftext|>",
    });
    expect(told(openExamples(path, options({ masksPrompt: true })).train).learned).toBe(
      "four<|endoftext|>",
    );
    const asChat = options({ masksPrompt: true, writesPairsAsChat: true });
    expect(told(openExamples(path, asChat).train)).toEqual({
      text: "user:two+two=<|endoftext|>assistant:four<|endoftext|>",
      learned: "four<|endoftext|>",
    });
  });

  it("in alpaca's form has its prompt, with or without an input", () => {
    const path = rows("d.jsonl", [
      { instruction: "Add.", input: "1 2", output: "3" },
      { instruction: "Sing.", output: "La" },
    ]);
    const { train } = openExamples(
      path,
      options({ form: "alpaca", masksPrompt: true, contextLength: 400 }),
    );
    expect(told(train).text).toContain(
      "### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n3",
    );
    expect(told(train, 1).text).toContain("### Instruction:\nSing.\n\n### Response:\nLa");
    expect([told(train).learned, told(train, 1).learned]).toEqual([
      "3<|endoftext|>",
      "La<|endoftext|>",
    ]);
  });

  it("of a conversation is learned message by message", () => {
    const messages = [
      { role: "user", content: "a" },
      { role: "assistant", content: "b" },
      { role: "user", content: "c" },
      { role: "assistant", content: "d", train: false },
      { role: "user", content: "e" },
      { role: "assistant", content: "f" },
    ];
    const path = rows("d.jsonl", [{ messages, tools: [{ name: "t" }] }]);
    const masked = openExamples(
      path,
      options({ form: "chat", masksPrompt: true, contextLength: 200 }),
    );
    expect(told(masked.train).learned).toBe("b<|endoftext|>f<|endoftext|>");
    expect(told(masked.train).text.startsWith("tools 1;user:a")).toBe(true);
    const all = openExamples(path, options({ form: "chat", contextLength: 200 }));
    expect(told(all.train).learned).not.toContain("d<|endoftext|>");
    expect(told(all.train).learned).toContain("user:e<|endoftext|>assistant:f");
  });

  it("is one for each answer where the template writes earlier answers otherwise than the last", () => {
    // As templates of reasoning models do: answers before the last question are shortened.
    const answered = templateOf(
      "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}{% if m.role == 'user' %}{{ m.content }};{% else %}=>{% if loop.index0 < ns.last %}...{% else %}{{ m.content }}{% endif %};{% endif %}{% endfor %}{% if add_generation_prompt %}=>{% endif %}",
    );
    const roles = ["user", "assistant", "user", "assistant"];
    const path = rows("d.jsonl", [
      { messages: roles.map((role, index) => ({ role, content: `${index}` })) },
    ]);
    const data = openExamples(path, options({ form: "chat", masksPrompt: true, chat: answered }));
    expect([told(data.train).text, told(data.train, 1).text]).toEqual(["0;=>1;", "0;=>...;2;=>3;"]);
    expect([told(data.train).learned, told(data.train, 1).learned]).toEqual(["1;", "3;"]);
    expect(exampleNotes(data.reports, 64)).toEqual([
      expect.stringContaining("1 train conversations became an example for each answer"),
    ]);
  });

  it("of the built-in template is learned with the end of each answer; what a user types stays text", () => {
    const messages = [
      { role: "system", content: "Be brief." },
      { role: "user", content: "<|endoftext|>?" },
      { role: "assistant", content: "No." },
    ];
    const path = rows("d.jsonl", [{ messages }]);
    const plain = templateOf(CHAT_TEMPLATES.plain);
    const { train } = openExamples(
      path,
      options({ form: "chat", masksPrompt: true, contextLength: 200, chat: plain }),
    );
    expect(told(train)).toEqual({
      text: "### System\nBe brief.\n### User\n<|endoftext|>?\n### Assistant\nNo.<|endoftext|>\n",
      learned: "No.<|endoftext|>\n",
    });
    const ids = Array.from({ length: train.lengthOf(0) }, (_, place) => train.tokenAt(0, place));
    expect(ids.filter((id) => id === END)).toHaveLength(1);
  });

  it("with a user's message of weight 0 is refused where prompts are learned", () => {
    const messages = [{ role: "user", content: "a", weight: 0 }];
    const path = rows("d.jsonl", [{ messages }]);
    expect(() => openExamples(path, options({ form: "chat" }))).toThrow(
      /row 1, message 1: only the assistant's messages can be left out one by one/,
    );
  });

  it("whose template refuses it is named by its row", () => {
    const strict = templateOf("{{ raise_exception('no system here') }}");
    const path = rows("d.jsonl", [{ messages: [{ role: "user", content: "a" }] }]);
    expect(() => openExamples(path, options({ form: "chat", chat: strict }))).toThrow(
      /row 1: .*no system here/,
    );
  });

  it("of a conversation without a chat template is refused with the row", () => {
    const path = rows("d.jsonl", [{ messages: [{ role: "user", content: "a" }] }]);
    expect(() => openExamples(path, options({ form: "chat", chat: undefined }))).toThrow(
      /row 1: it is a conversation, and the model has no chat template/,
    );
  });

  it("that is too long is cut and counted; one whose completion is wholly cut off is left out by name", () => {
    const path = rows("d.jsonl", [
      { prompt: "a", completion: "b" },
      { prompt: "a", completion: "b".repeat(100) },
      { prompt: "a".repeat(100), completion: "b" },
    ]);
    const data = openExamples(path, options({ masksPrompt: true }));
    expect(data.train.count).toBe(2);
    expect(data.train.lengthOf(1)).toBe(65);
    expect(exampleNotes(data.reports, 64)).toEqual([
      "1 of 2 train examples are longer than 64 tokens and were cut there",
      `${path}, row 3 was left out: it is so long that all that is to be learned is cut off`,
    ]);
  });

  it("that gives nothing leaves a split without any, which is one error", () => {
    const long = { prompt: "a".repeat(100), completion: "b" };
    const path = rows("d.jsonl", [long]);
    expect(() => openExamples(path, options({ masksPrompt: true }))).toThrow(
      /none of 1 rows gives anything to learn; .*row 1 is so long/,
    );
    const folder = temporaryFolder();
    writeFileSync(
      join(folder, "train.jsonl"),
      `${JSON.stringify({ prompt: "a", completion: "b" })}\n`,
    );
    writeFileSync(join(folder, "dev.jsonl"), "\n");
    expect(() => openExamples(folder, options())).toThrow("validation data");
  });
});

describe("packing", () => {
  it("puts every example into one row, within its room, into as many rows whatever the order", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 60 }),
        fc.integer({ min: 1, max: 5 }),
        (lengths, most) => {
          const order = lengths.map((_, index) => index);
          const packed = packRows(lengths, order, 20, most);
          expect(packed.flat().toSorted((a, b) => a - b)).toEqual(order);
          for (const row of packed) {
            expect(row.length).toBeLessThanOrEqual(most);
            expect(row.reduce((sum, index) => sum + (lengths[index] ?? 0), 0)).toBeLessThanOrEqual(
              20,
            );
          }
          expect(packRows(lengths, order.toReversed(), 20, most).length).toBe(packed.length);
        },
      ),
      { numRuns: 100 },
    );
  });

  it.each([false, true])(
    "gives each example once an epoch, with its own targets (packed: %s)",
    (isPacked) => {
      const lengths = [3, 9, 17, 5, 5, 2, 16, 8, 4, 11];
      const set = setOf(lengths);
      const batches = new ExampleBatches(set, {
        ...{ batchSize: 1, contextLength: 16, isPacked, seed: 3, padding: 255 },
      });
      const orders: string[] = [];
      for (let epoch = 0; epoch < 2; epoch++) {
        const seen: number[] = [];
        for (let row = 0; row < batches.rowsPerEpoch; row++) {
          const batch = batches.next();
          checkBatch(batch);
          const { inputs, targets, packing } = batch;
          let at = 0;
          while (at < 16 && inputs[at] !== 255) {
            const index = inputs[at] ?? -1;
            const document = packing?.documents[at];
            seen.push(index);
            for (let place = 0; place + 1 < (lengths[index] ?? 0); place++, at++) {
              expect(inputs[at]).toBe(set.tokenAt(index, place));
              const isLearned = set.isLearnedAt(index, place + 1);
              expect(targets[at]).toBe(isLearned ? set.tokenAt(index, place + 1) : IGNORED_TARGET);
              if (packing === undefined) continue;
              expect(packing.positions[at]).toBe(place);
              expect(packing.documents[at]).toBe(document);
            }
          }
          for (; at < 16; at++) expect([inputs[at], targets[at]]).toEqual([255, IGNORED_TARGET]);
          if (packing !== undefined)
            expect(new Set(packing.documents).size).toBe(
              new Set(packing.documents.filter((_, place) => inputs[place] !== 255)).size +
                (inputs.includes(255) ? 1 : 0),
            );
        }
        expect(seen.toSorted((x, y) => x - y)).toEqual([...lengths.keys()]);
        orders.push(seen.join());
      }
      expect(orders[0]).not.toBe(orders[1]);
    },
  );

  it("goes on from a saved state with the same batches, and refuses one of other data", () => {
    const set = setOf([3, 9, 17, 5, 5, 2, 16, 8, 4, 11]);
    const how = { batchSize: 2, contextLength: 16, isPacked: true, seed: 3 };
    const first = new ExampleBatches(set, how);
    for (let index = 0; index < 4; index++) first.next();
    const again = new ExampleBatches(set, how, JSON.parse(JSON.stringify(first.state)));
    for (let index = 0; index < 6; index++) expect(again.next()).toEqual(first.next());
    expect(() => new ExampleBatches(set, { ...how, isPacked: false }, first.state)).toThrow(
      "saved with packing true, now it is false",
    );
    expect(() => new ExampleBatches(setOf([5, 6]), how, first.state)).toThrow("number of examples");
    expect(() => new ExampleBatches(set, how, { sampling: "random" })).toThrow("data position");
  });

  it("judges every example once, filled up with padding", () => {
    const set = setOf([3, 9, 17, 5, 5]);
    for (const isPacked of [false, true]) {
      const batches = [
        ...exampleEvaluationBatches(set, { batchSize: 4, contextLength: 16, isPacked }),
      ];
      const valid = batches.reduce((sum, { validTargetCount }) => sum + validTargetCount, 0);
      let expected = 0;
      for (let index = 0; index < set.count; index++)
        for (let place = 1; place < set.lengthOf(index); place++)
          if (set.isLearnedAt(index, place)) expected++;
      expect(valid).toBe(expected);
    }
  });
});

describe("pairs and their parts", () => {
  it("are encoded as they are when the completion is written behind the prompt", () => {
    const [pair] = encodeExample(
      { form: "completions", prompt: "ab", completion: " cd" },
      options({ masksPrompt: true }),
      "row",
    );
    expect(pair?.ids).toEqual([...tokenizer.encode("ab"), ...tokenizer.encode(" cd"), END]);
    expect(pair?.isLearned).toEqual([false, false, true, true, true, true]);
  });
});
