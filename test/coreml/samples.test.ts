import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { afterAll, describe, expect, test } from "vitest";
import { BlobFile } from "../../src/coreml/blob-file.ts";
import { encodeElements } from "../../src/coreml/element-bytes.ts";
import { ModelSchema } from "../../src/coreml/generated/model_pb.ts";
import { buildModel, loadWeights, openModel, savePackage } from "../../src/coreml/index.ts";
import { parseProgram, printProgram } from "../../src/mil/text/index.ts";
import { memorySource } from "../../src/util/byte-source.ts";

// Files that other tools wrote. They are not part of the project; where they are absent, these tests are skipped.
const samples = resolve(import.meta.dirname, "../../../shared/samples");
const list = (folder: string, ending: string): string[] =>
  existsSync(join(samples, folder))
    ? readdirSync(join(samples, folder)).filter((name) => name.endsWith(ending))
    : [];
const texts = list("mil", ".mil");
const packages = list("mlpackage", ".mlpackage");
const blobs = list("blob", ".bin");

const scratch = mkdtempSync(join(tmpdir(), "anecdote-coreml-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** Entries of maps have no order: sorts them, all the way down. */
function sortMaps(message: unknown): void {
  if (Array.isArray(message)) {
    if (message.every((item) => typeof item === "object" && item !== null && "key" in item)) {
      message.sort((a: { key: string }, b: { key: string }) => (a.key < b.key ? -1 : 1));
    }
    for (const item of message) sortMaps(item);
  } else if (typeof message === "object" && message !== null && !ArrayBuffer.isView(message)) {
    for (const part of Object.values(message)) sortMaps(part);
  }
}

function canonical(bytes: Uint8Array): string {
  const message = fromBinary(ModelSchema, bytes);
  sortMaps(message);
  return Buffer.from(toBinary(ModelSchema, message)).toString("hex");
}

describe.skipIf(texts.length === 0)(
  "MIL texts printed by Apple's compiler (skipped: no samples)",
  () => {
    test.each(texts)("%s is printed with the same bytes", (name) => {
      const text = readFileSync(join(samples, "mil", name), "utf8");
      const program = parseProgram(text, { fileName: name });
      expect(printProgram(program)).toBe(text);
      for (const version of ["1.0", "1.3"]) {
        expect(parseProgram(printProgram(program, { version }))).toEqual({ ...program, version });
      }
    });
  },
);

describe.skipIf(packages.length === 0)("Core ML packages (skipped: no samples)", () => {
  test.each(packages)("%s is rewritten as an equal message with equal weights", (name) => {
    const opened = openModel(join(samples, "mlpackage", name));
    const path = join(scratch, name);
    savePackage(path, opened.program, { weights: opened.weights, original: opened.model });
    const again = openModel(path);
    const original = opened.model;
    if (original === undefined || again.model === undefined) throw new Error("no model");
    const references = { conventional: false, original } as const;
    // Without conventions the message is the one that was read, whatever the weights' offsets are.
    expect(canonical(toBinary(ModelSchema, buildModel(opened.program, references)))).toBe(
      canonical(toBinary(ModelSchema, original)),
    );
    expect(loadWeights(again.program, again.weights).functions).toEqual(
      loadWeights(opened.program, opened.weights).functions,
    );
    const text = printProgram(opened.program);
    expect(parseProgram(text).functions).toEqual(opened.program.functions);
    opened.close();
    again.close();
  });
});

describe.skipIf(blobs.length === 0)("Weight files (skipped: no samples)", () => {
  interface Expected {
    readonly offset: number;
    readonly values: readonly number[];
    readonly size: number;
  }
  const manifest = (): Record<string, Expected> =>
    JSON.parse(readFileSync(join(samples, "blob", "manifest.json"), "utf8"));

  test.each(blobs)("%s holds the values its manifest lists", (name) => {
    const expected = manifest()[name];
    if (expected === undefined) throw new Error(`the manifest does not list ${name}`);
    const file = new BlobFile(memorySource(readFileSync(join(samples, "blob", name)), name));
    const record = file.record(expected.offset);
    const numbers = file.readNumbers(record);
    const shown =
      record.dataType === "fp16"
        ? Array.from(new Uint16Array(encodeElements("fp16", numbers).buffer))
        : Array.from(numbers, Number);
    expect(shown).toEqual(expected.values);
  });
});
