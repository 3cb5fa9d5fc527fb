import {
  mkdirSync,
  readdirSync,
  readFileSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  byteTokenizer,
  cachedTokens,
  characterTokenizer,
  END_OF_TEXT,
  findCorpusFiles,
  generateStories,
  joinTokens,
  memoryTokens,
  openDataset,
  openTokenFile,
  sliceTokens,
  TextError,
  trainBpe,
  trainingTexts,
} from "../../src/text/index.ts";
import type { OpenDatasetOptions, TokenView } from "../../src/text/index.ts";
import { readJsonlDocuments, readTextDocuments } from "../../src/text/text-reader.ts";
import { FileError } from "../../src/util/errors.ts";
import { memorySource } from "../../src/util/byte-source.ts";
import { temporaryFolder } from "./temporary-folder.ts";

const { tokenizer } = byteTokenizer();

function errorOf(action: () => unknown): TextError | FileError {
  try {
    action();
  } catch (error) {
    if (error instanceof TextError || error instanceof FileError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

function idsOf(view: TokenView): number[] {
  const ids = new Int32Array(view.tokenCount);
  view.read(0, ids);
  return Array.from(ids);
}

function file(name: string, content: string | Uint8Array): string {
  const path = join(temporaryFolder(), name);
  writeFileSync(path, content);
  return path;
}

function options(folder = temporaryFolder()): OpenDatasetOptions {
  return { tokenizer, cacheFolder: join(folder, "cache") };
}

function documentsOf(text: string): string[] {
  const documents: string[] = [];
  let pending = "";
  for (const piece of readTextDocuments(memorySource(Buffer.from(text)))) {
    pending += piece.text;
    if (!piece.endsDocument) continue;
    documents.push(pending);
    pending = "";
  }
  expect(pending).toBe("");
  return documents;
}

const MARK = END_OF_TEXT;

describe("a plain text file", () => {
  it("is one document, to the last line end", () => {
    expect(documentsOf("One.\n\nTwo.\n")).toEqual(["One.\n\nTwo.\n"]);
    expect(documentsOf("a < b <| c")).toEqual(["a < b <| c"]);
  });

  it("is cut into documents at marks, and line ends next to a mark belong to it", () => {
    expect(documentsOf(`One.\n${MARK}\nTwo.\r\n\r\n${MARK}Three.\n`)).toEqual([
      "One.",
      "Two.",
      "Three.",
    ]);
    expect(documentsOf(`${MARK}${MARK}\n\n${MARK}x`)).toEqual(["x"]);
  });

  it("is read the same however its bytes fall into chunks", () => {
    // 1 MiB chunks: marks, line ends and characters of several bytes lie across their borders.
    const part = fc.constantFrom(MARK, "\n", "\r\n", "é", "🦊", "<|", "<|endof", "word ");
    fc.assert(
      fc.property(fc.array(part, { maxLength: 30 }), fc.nat(40), (parts, shift) => {
        const text = parts.join("");
        const padding = "x".repeat((1 << 20) - shift);
        const [first, ...rest] = documentsOf(padding + text);
        const [expectedFirst, ...expectedRest] = documentsOf(`y${text}`);
        expect(rest).toEqual(expectedRest);
        expect(first?.slice(padding.length)).toBe(expectedFirst?.slice(1));
      }),
      { numRuns: 40 },
    );
  });

  it("loses its byte order mark", () => {
    expect(documentsOf("\uFEFFHello")).toEqual(["Hello"]);
  });

  it("becomes the ids of each document followed by the end-of-text token", () => {
    const path = file("corpus.txt", `ab\n${MARK}\nc`);
    const dataset = openDataset(path, { ...options(), validationFraction: 0 });
    expect(idsOf(dataset.train)).toEqual([97, 98, 256, 99, 256]);
    expect(dataset.files[0]).toMatchObject({ documentCount: 2, tokenCount: 5, cache: "made" });
    dataset.close();
  });

  it("gives the same ids in pieces as at once, over several chunks", () => {
    const text = [...generateStories({ seed: 5, count: 2500 })]
      .map((story) => story.text)
      .join("\n");
    expect(text.length).toBeGreaterThan(1.5 * 2 ** 20);
    const bpe = trainBpe([text.slice(0, 200_000)], { vocabularySize: 600 }).tokenizer;
    const folder = temporaryFolder();
    const { tokens } = cachedTokens(
      { path: file("a.txt", text), format: "text" },
      { tokenizer: bpe, cacheFolder: folder },
    );
    const ids = idsOf(tokens);
    expect(ids.pop()).toBe(bpe.special.endOfText);
    const atOnce = Array.from(bpe.encode(text));
    expect(ids.length).toBe(atOnce.length);
    expect(ids.findIndex((id, index) => id !== atOnce[index])).toBe(-1);
    tokens.close();
  });

  it("counts what the vocabulary cannot spell", () => {
    const characters = characterTokenizer(["abc"]).tokenizer;
    const dataset = openDataset(file("t.txt", "abxcy"), { ...options(), tokenizer: characters });
    expect(dataset.files[0]?.unknownCount).toBe(2);
    dataset.close();
  });
});

describe("a jsonl file", () => {
  const rows = (text: string, field = "text") =>
    [...readJsonlDocuments(memorySource(Buffer.from(text), "rows.jsonl"), field)].map(
      (piece) => piece.text,
    );

  it("has one document a row, blank rows left out", () => {
    expect(rows('{"text": "One."}\n\n{"id": 2, "text": "Two\\n🦊"}\r\n')).toEqual([
      "One.",
      "Two\n🦊",
    ]);
    expect(rows('{"body": "x"}', "body")).toEqual(["x"]);
  });

  it.each([
    [
      '{"text": "a"}\n{"txet": "b", "id": 1}',
      "text.jsonl.field",
      'row 2: no field "text"; it has "txet", "id". Did you mean "txet"?',
    ],
    [
      '{"text": "a"}\n\n{"text": 5}',
      "text.jsonl.field",
      'row 3: field "text" must be a string, found 5',
    ],
    ['{"text": null}', "text.jsonl.field", "must be a string, found null"],
    ['{"text": "a"', "text.jsonl.json", "row 1: not JSON"],
    ["[1, 2]", "text.jsonl.row", "row 1: expected an object"],
    ["{}", "text.jsonl.field", "it has no fields"],
  ])("names the row and the field of %s", (text, code, words) => {
    const error = errorOf(() => rows(text));
    expect(error.code).toBe(code);
    expect(error.message).toContain(`rows.jsonl, `);
    expect(error.message).toContain(words);
  });

  it("finds rows across chunk borders", () => {
    const long = "x".repeat(1 << 20);
    expect(
      rows(`${JSON.stringify({ text: long })}\n{"text": "b"}`).map((text) => text.length),
    ).toEqual([1 << 20, 1]);
  });
});

describe("what is no text", () => {
  it.each([
    ["an empty file", Buffer.alloc(0), "text.empty", "is empty"],
    ["a NUL byte", Buffer.from("abc\0def"), "text.binary", "NUL byte at offset 3"],
    [
      "bytes that are no UTF-8",
      Buffer.from([0x61, 0xc3, 0x28]),
      "text.binary",
      "byte 0x28 at offset 2",
    ],
    [
      "a character cut off at the end",
      Buffer.from([0x61, 0xf0, 0x9f]),
      "text.binary",
      "at offset 2",
    ],
    ["UTF-16", Buffer.from("\uFEFFabc", "utf16le"), "text.binary", "UTF-16"],
    ["gzip", Buffer.from([0x1f, 0x8b, 8, 0]), "text.binary", "gzip"],
    ["only marks", Buffer.from(`${MARK}\n${MARK}`), "text.empty", "has no text"],
  ])("%s is one clear error and leaves no cache behind", (_name, bytes, code, words) => {
    const folder = temporaryFolder();
    const path = file("corpus.txt", bytes);
    const error = errorOf(() => openDataset(path, options(folder)));
    expect(error.code).toBe(code);
    expect(error.message).toContain(words);
    expect(error.message).toContain(path);
    expect(readdirSync(folder).flatMap((name) => readdirSync(join(folder, name)))).toEqual([]);
  });

  it("places a bad byte far into the file", () => {
    const bytes = Buffer.alloc((1 << 20) + 10, "é");
    bytes[(1 << 20) + 5] = 0xff;
    const error = errorOf(() => [...readTextDocuments(memorySource(bytes, "far.txt"))]);
    expect(error.message).toMatch(/offset 104858[01]/);
  });

  it("a stretch without a place to cut it ends in an error, not in memory", () => {
    const unigram = trainBpe(["ab ab"], { vocabularySize: 258 }).tokenizer;
    const path = file("long.txt", "x".repeat((1 << 24) + 10));
    expect(errorOf(() => openDataset(path, { ...options(), tokenizer: unigram })).code).toBe(
      "text.document",
    );
  });
});

describe("the token cache", () => {
  const open = (path: string, folder: string) => {
    const { tokens, facts, state } = cachedTokens(
      { path, format: "text" },
      { tokenizer, cacheFolder: folder },
    );
    const ids = idsOf(tokens);
    tokens.close();
    return { ids, facts, state };
  };

  it("is made once and found again, also by a copy of the text elsewhere", () => {
    const folder = temporaryFolder();
    expect(open(file("a.txt", "hello"), folder).state).toBe("made");
    const again = open(file("b.txt", "hello"), folder);
    expect(again.state).toBe("found");
    expect(again.ids).toEqual([...Buffer.from("hello"), 256]);
  });

  it("is made anew when the text changes, even at the same size and time", () => {
    const folder = temporaryFolder();
    const path = file("a.txt", "hello");
    const time = new Date(1e12);
    utimesSync(path, time, time);
    open(path, folder);
    writeFileSync(path, "jelly");
    utimesSync(path, time, time);
    expect(open(path, folder)).toMatchObject({
      state: "made",
      ids: [...Buffer.from("jelly"), 256],
    });
  });

  it("is made anew for another tokenizer", () => {
    const folder = temporaryFolder();
    const path = file("a.txt", "hello");
    open(path, folder);
    const other = cachedTokens(
      { path, format: "text" },
      { tokenizer: characterTokenizer(["hello"]).tokenizer, cacheFolder: folder },
    );
    expect(other.state).toBe("made");
    other.tokens.close();
  });

  it.each([
    ["cut short", (path: string) => truncateSync(path, 4)],
    [
      "changed in one byte",
      (path: string) => writeFileSync(path, readFileSync(path).fill(1, 2, 3)),
    ],
    ["without its facts", (path: string) => writeFileSync(`${path}.json`, "")],
    [
      "with facts of an earlier version",
      (path: string) =>
        writeFileSync(
          `${path}.json`,
          readFileSync(`${path}.json`, "utf8").replace('"version": 1', '"version": 0'),
        ),
    ],
  ])("%s is remade, not believed", (_name, damage) => {
    const folder = temporaryFolder();
    const path = file("a.txt", "hello");
    const whole = open(path, folder);
    const name = readdirSync(folder).find((entry) => entry.endsWith(".bin")) ?? "";
    damage(join(folder, name));
    const again = open(path, folder);
    expect(again.state).toBe("remade");
    expect(again.ids).toEqual(whole.ids);
    expect(again.facts).toEqual(whole.facts);
  });
});

describe("a file of token ids", () => {
  const u16 = (...ids: number[]) => Buffer.from(Uint16Array.from(ids).buffer);
  const u32 = (...ids: number[]) => Buffer.from(Uint32Array.from(ids).buffer);
  const read = (path: string, vocabularySize: number, width?: 2 | 4) => {
    const tokens = openTokenFile(path, {
      vocabularySize,
      ...(width === undefined ? {} : { width }),
    });
    const ids = idsOf(tokens);
    tokens.close();
    return ids;
  };

  it("has ids of two bytes up to a vocabulary of 65,536 tokens and of four above", () => {
    expect(read(file("a.bin", u16(1, 2, 65535)), 65536)).toEqual([1, 2, 65535]);
    expect(read(file("a.bin", u32(1, 2, 65536)), 65537)).toEqual([1, 2, 65536]);
  });

  it("has the width an option, a sidecar or its extension names", () => {
    expect(read(file("a.bin", u32(1, 2)), 100, 4)).toEqual([1, 2]);
    expect(read(file("a.u32", u32(1, 2)), 100)).toEqual([1, 2]);
    const path = file("a.bin", u32(1, 2));
    writeFileSync(`${path}.json`, '{"dtype": "uint32"}');
    expect(read(path, 100)).toEqual([1, 2]);
    writeFileSync(`${path}.json`, '{"dtype": "float"}');
    expect(errorOf(() => read(path, 100)).code).toBe("text.tokens.width");
  });

  it("may begin with the header that llm.c writes", () => {
    const header = new Int32Array(256);
    header.set([20240520, 1, 3]);
    expect(
      read(file("a.bin", Buffer.concat([Buffer.from(header.buffer), u16(5, 6, 7)])), 50257),
    ).toEqual([5, 6, 7]);
    header.set([20240801, 7, 2]);
    expect(
      read(file("a.bin", Buffer.concat([Buffer.from(header.buffer), u32(5, 128_000)])), 128_256),
    ).toEqual([5, 128_000]);
  });

  it.each([
    [
      "an id the vocabulary does not have",
      u16(1, 2, 100, 3),
      "text.id",
      "token 2 has id 100, the vocabulary has 100",
    ],
    [
      "an odd byte count",
      Buffer.from([1, 0, 2]),
      "text.tokens.size",
      "3 bytes, which is no multiple of 2",
    ],
    ["no bytes", Buffer.alloc(0), "text.empty", "is empty"],
    [
      "ids of four bytes read as two",
      u32(...Array.from({ length: 20 }, (_, index) => index)),
      "text.tokens.width",
      "every second id is 0",
    ],
  ])("with %s is one clear error", (_name, bytes, code, words) => {
    const path = file("a.bin", bytes);
    const error = errorOf(() => read(path, 100));
    expect(error.code).toBe(code);
    expect(error.message).toContain(words);
    expect(error.message).toContain(path);
  });

  it("is read at any position, and beyond its end not at all", () => {
    const path = file("a.bin", u16(...Array.from({ length: 1000 }, (_, index) => index)));
    const tokens = openTokenFile(path, { vocabularySize: 1000 });
    const target = new Int32Array(3);
    tokens.read(997, target);
    expect(Array.from(target)).toEqual([997, 998, 999]);
    expect(errorOf(() => tokens.read(998, target)).code).toBe("text.range");
    expect(errorOf(() => tokens.read(-1, target)).code).toBe("text.range");
    tokens.close();
  });
});

describe("views of tokens", () => {
  it("joined and sliced give the ids of the whole", () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint16Array({ maxLength: 9 }), { minLength: 1, maxLength: 5 }),
        fc.nat(),
        fc.nat(),
        (parts, a, b) => {
          const all = parts.flatMap((part) => Array.from(part));
          const joined = joinTokens(
            parts.map((part) => memoryTokens(part)),
            "joined",
          );
          expect(idsOf(joined)).toEqual(all);
          const [start = 0, end = 0] = [a % (all.length + 1), b % (all.length + 1)].sort(
            (x, y) => x - y,
          );
          expect(idsOf(sliceTokens(joined, start, end))).toEqual(all.slice(start, end));
        },
      ),
    );
  });
});

describe("a folder of data", () => {
  const folderOf = (files: Record<string, string>): string => {
    const folder = temporaryFolder();
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
    return folder;
  };
  const namesIn = (folder: string) => {
    const found = findCorpusFiles(folder);
    const shorten = (files: readonly { readonly path: string }[]) =>
      files.map(({ path }) => path.slice(folder.length + 1));
    return [shorten(found.train), shorten(found.validation), shorten(found.test)];
  };

  it.each([["valid"], ["validation"], ["val"], ["dev"]])(
    "takes %s as the name of the validation split",
    (name) => {
      const folder = folderOf({
        "train.txt": "a",
        [`${name}.txt`]: "b",
        "test.txt": "c",
        "README.md": "x",
      });
      expect(namesIn(folder)).toEqual([["train.txt"], [`${name}.txt`], ["test.txt"]]);
    },
  );

  it("takes TinyStories' and numbered shards' names", () => {
    expect(
      namesIn(
        folderOf({ "TinyStoriesV2-GPT4-train.txt": "a", "TinyStoriesV2-GPT4-valid.txt": "b" }),
      ),
    ).toEqual([["TinyStoriesV2-GPT4-train.txt"], ["TinyStoriesV2-GPT4-valid.txt"], []]);
    expect(
      namesIn(folderOf({ "fineweb_train_000002.bin": "bb", "fineweb_train_000001.bin": "aa" }))[0],
    ).toEqual(["fineweb_train_000001.bin", "fineweb_train_000002.bin"]);
  });

  it("takes the only data file there is", () => {
    expect(namesIn(folderOf({ "input.txt": "a", "prepare.py": "", "README.md": "x" }))[0]).toEqual([
      "input.txt",
    ]);
  });

  it.each([
    [{ "train.txt": "a", "train.jsonl": "{}" }, "text.ambiguous", "train.txt"],
    [{ "a.txt": "a", "b.jsonl": "{}" }, "text.ambiguous", "a.txt, b.jsonl"],
    [{ "valid.txt": "a", "test.txt": "b" }, "text.folder", "test.txt, valid.txt"],
    [{}, "text.folder", "no file of text, rows or token ids"],
  ])("says what it misses in %j", (files, code, words) => {
    const error = errorOf(() => findCorpusFiles(folderOf(files)));
    expect(error.code).toBe(code);
    expect(error.message).toContain(words);
  });

  it("joins shards and keeps splits apart", () => {
    const folder = folderOf({
      "train-1.txt": "ab",
      "train-2.jsonl": "",
      "valid.jsonl": '{"text": "v"}',
    });
    writeFileSync(join(folder, "train-2.txt"), "c");
    writeFileSync(join(folder, "train-2.jsonl"), "");
    mkdirSync(join(folder, "train.txt"));
    expect(errorOf(() => openDataset(folder, options())).code).toBe("text.ambiguous");
    const clean = folderOf({
      "train-1.txt": "ab",
      "train-2.txt": "c",
      "valid.jsonl": '{"text": "v"}',
    });
    const dataset = openDataset(clean, options());
    expect(idsOf(dataset.train)).toEqual([97, 98, 256, 99, 256]);
    expect(dataset.validation && idsOf(dataset.validation)).toEqual([118, 256]);
    expect(dataset.test).toBeUndefined();
    dataset.close();
  });
});

describe("opening data", () => {
  it("sets the last tenth of the tokens aside when there is no validation file", () => {
    const text = "0123456789".repeat(100).slice(1);
    const dataset = openDataset(file("t.txt", text), options());
    expect(dataset.train.tokenCount).toBe(900);
    expect(dataset.validation?.tokenCount).toBe(100);
    expect([
      ...idsOf(dataset.train),
      ...(dataset.validation ? idsOf(dataset.validation) : []),
    ]).toEqual([...Buffer.from(text), 256]);
    dataset.close();
  });

  it("takes token ids with a vocabulary size alone, and text only with a tokenizer", () => {
    const path = file("train.bin", Buffer.from(Uint16Array.of(1, 2, 3).buffer));
    const dataset = openDataset(path, {
      cacheFolder: "",
      vocabularySize: 10,
      validationFraction: 0,
    });
    expect(idsOf(dataset.train)).toEqual([1, 2, 3]);
    dataset.close();
    expect(errorOf(() => openDataset(path, { cacheFolder: "" })).code).toBe("text.vocabulary");
    expect(errorOf(() => openDataset(file("t.txt", "a"), { cacheFolder: "" })).code).toBe(
      "text.tokenizer.missing",
    );
  });

  it.each([
    ["nowhere.txt", "text.missing"],
    ["data.parquet", "text.parquet"],
    ["data.json", "text.format"],
  ])("refuses %s with code %s", (name, code) => {
    const path = join(temporaryFolder(), name);
    if (code !== "text.missing") writeFileSync(path, "x");
    expect(errorOf(() => openDataset(path, options())).code).toBe(code);
  });

  it("refuses a validation fraction that leaves nothing", () => {
    expect(
      errorOf(() => openDataset(file("t.txt", "abc"), { ...options(), validationFraction: 1 }))
        .code,
    ).toBe("text.fraction");
  });

  it("gives the texts of training files for a tokenizer, up to a limit", () => {
    const path = file(
      "t.txt",
      Array.from({ length: 50 }, (_, index) => `story ${index}`).join(MARK),
    );
    expect([...trainingTexts(path)]).toHaveLength(50);
    expect([...trainingTexts(path, { byteLimit: 15 })]).toEqual(["story 0", "story 1", "story 2"]);
  });
});
