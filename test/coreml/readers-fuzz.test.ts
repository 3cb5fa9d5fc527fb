import { describe, expect, it } from "vitest";
import {
  BlobBuilder,
  BlobFile,
  buildModel,
  CoreMlError,
  parseModel,
  serializeModel,
} from "../../src/coreml/index.ts";
import { parseManifest } from "../../src/coreml/package.ts";
import { MilError } from "../../src/mil/errors.ts";
import { parseProgram, printProgram } from "../../src/mil/text/index.ts";
import { memorySource } from "../../src/util/byte-source.ts";
import { Random } from "../../src/util/random.ts";
import { deepMessage, Mutator, nastyTexts, TEXT_SEEDS } from "../../bench/reader-mutator.mjs";

// A short run of bench/fuzz-readers.mjs, which does 200,000 inputs and watches time and memory as well.

function refused(read: () => void): boolean {
  try {
    read();
    return false;
  } catch (error) {
    if (error instanceof MilError || error instanceof CoreMlError) return true;
    throw error;
  }
}

function modelSeeds(): Buffer[] {
  return TEXT_SEEDS.slice(0, 3).map((text) =>
    Buffer.from(
      serializeModel(
        buildModel(parseProgram(text.replace("tensor<bool, []> p", "tensor<int32, []> p"))),
      ),
    ),
  );
}

describe("readers of damaged files", () => {
  it("read text or refuse it, and what they read they print so that it reads the same", () => {
    const mutator = new Mutator(new Random(11));
    let read = 0;
    for (let i = 0; i < 600; i++) {
      const bytes =
        i % 4 === 0
          ? mutator.bytes(TEXT_SEEDS.map((text) => Buffer.from(text)))
          : mutator.text(TEXT_SEEDS);
      const wasRefused = refused(() => {
        const printed = printProgram(parseProgram(bytes));
        expect(printProgram(parseProgram(printed))).toBe(printed);
      });
      if (!wasRefused) read++;
    }
    expect(read).toBeGreaterThan(20);
    for (const text of nastyTexts()) refused(() => parseProgram(text));
  });

  it("read models or refuse them, and write again what they read", () => {
    const mutator = new Mutator(new Random(12));
    const seeds = modelSeeds();
    let read = 0;
    for (let i = 0; i < 600; i++) {
      const bytes = i % 4 === 0 ? mutator.bytes(seeds) : mutator.message(seeds);
      const wasRefused = refused(() => {
        const { model, program } = parseModel(bytes);
        const written = serializeModel(buildModel(program, { original: model }));
        expect(parseModel(written).program).toBeDefined();
      });
      if (!wasRefused) read++;
    }
    expect(read).toBeGreaterThan(50);
    expect(refused(() => parseModel(deepMessage(10_000)))).toBe(true);
  });

  it("read weight files and manifests or refuse them", () => {
    const mutator = new Mutator(new Random(13));
    const blobs = new BlobBuilder();
    blobs.addNumbers("fp16", Float32Array.of(1, 2, 3));
    blobs.addNumbers("uint3", Uint8Array.of(1, 2, 3));
    const chunks: Buffer[] = [];
    blobs.produce((bytes) => chunks.push(Buffer.from(bytes)));
    const seeds = [Buffer.concat(chunks)];
    for (let i = 0; i < 600; i++) {
      refused(() => {
        const file = new BlobFile(memorySource(mutator.bytes(seeds), "weight.bin"));
        for (const record of file.records()) file.readNumbers(record);
      });
    }
    const manifest = Buffer.from(
      '{"fileFormatVersion":"1.0.0","itemInfoEntries":{"__proto__":{"path":"a"}},"rootModelIdentifier":"a"}',
    );
    for (let i = 0; i < 300; i++) refused(() => void parseManifest(mutator.bytes([manifest])));
  });
});
