import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { byteTokenizer, openDataset, TextError, trainingDigest } from "../../src/text/index.ts";
import type { CorpusPaths } from "../../src/text/index.ts";
import { jsonDamage } from "../../src/text/json-damage.ts";
import { temporaryFolder } from "./temporary-folder.ts";

const { tokenizer } = byteTokenizer();

function folderOf(files: Readonly<Record<string, string | Uint8Array>>): string {
  const folder = temporaryFolder();
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  return folder;
}

function textOf(paths: CorpusPaths): string {
  const dataset = openDataset(paths, {
    ...{ tokenizer, cacheFolder: temporaryFolder(), validationFraction: 0 },
  });
  const ids = new Int32Array(dataset.train.tokenCount);
  dataset.train.read(0, ids);
  dataset.close();
  return tokenizer.decode(ids).replaceAll("<|endoftext|>", "|");
}

describe("data", () => {
  it("are several files, patterns, and files packed with gzip", () => {
    const folder = folderOf({
      ...{ "a.txt": "one", "b.txt": "two", "c.md": "three" },
      "d.jsonl.gz": gzipSync('{"text": "four"}\n'),
    });
    expect(textOf([join(folder, "b.txt"), join(folder, "a.txt")])).toBe("two|one|");
    expect(textOf(join(folder, "*.txt"))).toBe("one|two|");
    expect(textOf(join(folder, "{a,c}.*"))).toBe("one|three|");
    expect(textOf(join(folder, "d.jsonl.gz"))).toBe("four|");
    expect(() => textOf(join(folder, "*.csv"))).toThrow(/no file fits the pattern/);
  });

  it("are all files of a folder, in order of their names, where none is named after a split", () => {
    const folder = folderOf({ "b.txt": "two", "a.txt": "one", "c.txt.gz": gzipSync("three") });
    expect(textOf(folder)).toBe("one|two|three|");
    writeFileSync(join(folder, "valid.txt"), "other");
    expect(textOf(folder)).toBe("one|two|three|");
    writeFileSync(join(folder, "train.txt"), "this");
    expect(textOf(folder)).toBe("this|");
    const mixed = folderOf({ "a.txt": "one", "b.jsonl": '{"text": "two"}\n' });
    expect(() => textOf(mixed)).toThrow(/train data in several formats: a.txt, b.jsonl/);
    expect(() => textOf(folderOf({ "valid.txt": "x" }))).toThrow(/no training data.*valid.txt/);
    expect(() => textOf(folderOf({}))).toThrow(/no training data: it holds no file of text/);
  });

  it("are columns of csv, with quotes, line ends and separators in fields", () => {
    const folder = folderOf({
      "a.csv": 'id,text\r\n1,"one, ""1""\nend"\r\n2,two\r\n',
      "b.tsv": "text\tid\none, two\t1\n",
      "c.csv": "id,body\n1,x\n",
      "d.csv": "id,text\n1\n",
    });
    expect(textOf(join(folder, "a.csv"))).toBe('one, "1"\nend|two|');
    expect(textOf(join(folder, "b.tsv"))).toBe("one, two|");
    expect(() => textOf(join(folder, "c.csv"))).toThrow(
      /no column "text"; it has "(?:id", "body|body", "id)"/,
    );
    expect(() => textOf(join(folder, "d.csv"))).toThrow(/row 2: 1 fields/);
  });

  it("are rows of a json array, or of the one array in an object", () => {
    const folder = folderOf({
      "a.json": '["one", {"text": "two"}]',
      "b.json": '{"version": 1, "rows": [{"text": "three"}]}',
      "c.json": '[{"text": "x"},]',
    });
    expect(textOf(join(folder, "a.json"))).toBe("one|two|");
    expect(textOf(join(folder, "b.json"))).toBe("three|");
    expect(() => textOf(join(folder, "c.json"))).toThrow(/byte 15: a comma before \]/);
  });

  it("of the same length are told apart by what is in them", () => {
    const digestOf = (content: string): string => {
      const folder = folderOf({ "a.txt": content });
      const dataset = openDataset(join(folder, "a.txt"), {
        ...{ tokenizer, cacheFolder: join(folder, "cache") },
      });
      const digest = trainingDigest(dataset);
      dataset.close();
      return digest;
    };
    expect(digestOf("hello")).toBe(digestOf("hello"));
    expect(digestOf("hello")).not.toBe(digestOf("jelly"));
  });
});

describe("a damaged row", () => {
  it.each([
    ['{"a": NaN}', 6, /NaN is not JSON/],
    ['{"a": 1,}', 7, /comma before \}/],
    ["{'a': 1}", 1, /double quotes/],
    ['{"a": 1', 7, /ends in the middle/],
    ['{"a" 1}', 5, /colon is missing/],
    ['{"a": "x', 6, /does not end/],
    ['{"a": "\u0007"}', 7, /control character 0x07/],
    ['{"a": "\\x"}', 7, /is no escape/],
    ['{"a": 1} 2', 9, /something follows/],
    ['{"a": True}', 6, /True is not JSON/],
  ])("%s is told with the place and the reason", (text, index, reason) => {
    expect(() => void JSON.parse(text)).toThrow(SyntaxError);
    const damage = jsonDamage(text);
    expect(damage?.index).toBe(index);
    expect(damage?.reason).toMatch(reason);
  });

  it("stops the data set with its file, row and byte", () => {
    const folder = folderOf({ "a.jsonl": '{"text": "é"}\n{"text": "é",}\n' });
    expect(() => textOf(join(folder, "a.jsonl"))).toThrow(TextError);
    expect(() => textOf(join(folder, "a.jsonl"))).toThrow(/row 2: not JSON, byte 14: a comma/);
  });
});
