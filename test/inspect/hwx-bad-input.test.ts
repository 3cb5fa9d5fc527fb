import { describe, expect, test } from "vitest";
import { decodeHwx } from "../../src/inspect/hwx/index.ts";
import { hwxListing, hwxToJson } from "../../src/inspect/hwx/index.ts";
import { InspectError } from "../../src/inspect/inspect-error.ts";
import { memorySource, type ByteSource } from "../../src/util/byte-source.ts";
import { blockRecord, buildHwx, h13Convolution, h13Task, wordStream } from "./hwx-builder.ts";

function thrownBy(bytes: Uint8Array): InspectError {
  try {
    decodeHwx(memorySource(bytes, "bad.hwx"));
  } catch (error) {
    if (error instanceof InspectError) return error;
    throw error;
  }
  throw new Error("the file was accepted");
}

function patched(offset: number, ...values: readonly number[]): Uint8Array {
  const bytes = buildHwx(h13Convolution());
  const view = new DataView(bytes.buffer);
  values.forEach((value, index) => view.setUint32(offset + index * 4, value, true));
  return bytes;
}

/** Offset of the first load command of a kind, in the convolution's file. */
function commandAt(kind: number, flavor?: number): number {
  const bytes = buildHwx(h13Convolution());
  const view = new DataView(bytes.buffer);
  for (let at = 32; ; at += view.getUint32(at + 4, true)) {
    const isFlavor = flavor === undefined || view.getUint32(at + 8, true) === flavor;
    if (view.getUint32(at, true) === kind && isFlavor) return at;
  }
}

const segmentAt = commandAt(0x19);
const symbolsAt = commandAt(0x02);
const threadAt = commandAt(0x04, 1);
const TEXT_AT = 0x4000;

describe("a file that is no engine program", () => {
  test.each([
    ["an empty file", new Uint8Array(0), /0 bytes/],
    ["three bytes", new Uint8Array(3), /3 bytes/],
    ["text", new TextEncoder().encode("program(1.0)\n{}\n".repeat(200)), /begins with 0xbeefface/],
    [
      "a 64-bit Mach-O",
      Uint8Array.of(0xcf, 0xfa, 0xed, 0xfe, ...new Uint8Array(96)),
      /a 64-bit Mach-O/,
    ],
    [
      "a universal Mach-O",
      Uint8Array.of(0xca, 0xfe, 0xba, 0xbe, ...new Uint8Array(96)),
      /a universal Mach-O/,
    ],
  ])("%s: one error that names the magic word", (_, bytes, message) => {
    const error = thrownBy(bytes);
    expect(error.message).toMatch(message);
    expect(error).toMatchObject({ offset: 0, field: "header.magic" });
  });

  test("a processor type other than the engine's is told as such", () => {
    expect(thrownBy(patched(4, 0x0100000c))).toMatchObject({ offset: 4, field: "header.cputype" });
  });
});

describe("tables that lie", () => {
  test.each<[string, Uint8Array, number, RegExp]>([
    ["more commands than bytes", patched(16, 0xffffffff), 16, /ncmds/],
    ["commands of 2 GB", patched(20, 0x7fffffff), 20, /sizeofcmds/],
    ["a command of no size", patched(36, 0), 36, /cmdsize/],
    ["a command larger than all", patched(36, 0x7ffffff0), 36, /cmdsize/],
    [
      "a segment behind the end",
      patched(segmentAt + 40, 0x7fffff00, 0),
      segmentAt + 40,
      /__TEXT\.fileoff/,
    ],
    ["a segment of 2^60 bytes", patched(segmentAt + 48, 0, 0x10000000), segmentAt + 48, /filesize/],
    ["a million sections", patched(segmentAt + 64, 1_000_000), segmentAt + 64, /nsects/],
    [
      "a section behind the end",
      patched(segmentAt + 72 + 48, 0x7ffffff0),
      segmentAt + 72 + 48,
      /offset/,
    ],
    [
      "relocations behind the end",
      patched(segmentAt + 72 + 56, 0x7ffffff0, 9),
      segmentAt + 72 + 56,
      /nreloc/,
    ],
    ["a billion symbols", patched(symbolsAt + 12, 1_000_000_000), symbolsAt + 8, /symoff/],
    ["names behind the end", patched(symbolsAt + 16, 0x7ffffff0), symbolsAt + 16, /stroff/],
    [
      "a text address elsewhere",
      patched(threadAt + 0x810, 0x40000000),
      threadAt + 0x810,
      /text address/,
    ],
    [
      "a first task of 2^32 words",
      patched(threadAt + 0x818, 0xfffffffe),
      threadAt + 0x818,
      /first task words/,
    ],
    [
      "a first task of two words",
      patched(threadAt + 0x818, 1),
      threadAt + 0x818,
      /first task words/,
    ],
  ])("%s: an error with offset and field", (_, bytes, offset, field) => {
    const error = thrownBy(bytes);
    expect(error.offset).toBe(offset);
    expect(error.field).toMatch(field);
    expect(error.message).toContain(`0x${offset.toString(16)}`);
  });

  test("2 GB claimed in a file of 100 bytes reads and allocates next to nothing", () => {
    const bytes = patched(20, 0x7fffffff).slice(0, 100);
    const inner = memorySource(bytes, "bad.hwx");
    let largest = 0;
    const source: ByteSource = {
      ...inner,
      read(offset, length) {
        largest = Math.max(largest, length);
        return inner.read(offset, length);
      },
    };
    expect(() => decodeHwx(source)).toThrow(InspectError);
    expect(largest).toBeLessThanOrEqual(100);
  });
});

describe("task streams that lie", () => {
  test("a record longer than its task", () => {
    const lastRecordAt = TEXT_AT + (h13Convolution().text.length - 8) * 4;
    const error = thrownBy(patched(lastRecordAt, 0xfc017800));
    expect(error.offset).toBe(lastRecordAt);
    expect(error.field).toContain("record");
  });

  test("a task list that goes in a circle", () => {
    const text = h13Task({ nextPointer: 0x100, nextWords: 12, records: [blockRecord(0, [1])] });
    const back = h13Task({ nextPointer: 0x100, nextWords: 12, records: [blockRecord(0, [1])] });
    const words = [...text, ...Array.from({ length: 64 - text.length }, () => 0), ...back];
    const error = thrownBy(
      buildHwx({ subtype: 4, text: words, firstTaskWords: text.length, taskCount: 2 }),
    );
    expect(error.message).toContain("comes back to");
    expect(error.field).toContain("NextPointer");
  });

  test("a next task behind the text, and one inside its predecessor", () => {
    const make = (nextPointer: number): Uint8Array => {
      const text = h13Task({ nextPointer, nextWords: 12, records: [blockRecord(0, [1, 2, 3])] });
      return buildHwx({ subtype: 4, text, firstTaskWords: text.length, taskCount: 2 });
    };
    expect(thrownBy(make(0x100000)).message).toContain("lies outside the text");
    expect(thrownBy(make(6)).message).toContain("multiple of 4");
    expect(thrownBy(make(8))).toBeInstanceOf(InspectError);
  });

  test("a task of a stated size that runs past the text", () => {
    const text = wordStream([[[0x1, 5]]], 8);
    text[4] = 0x7ff0000;
    const error = thrownBy(buildHwx({ subtype: 5, text }));
    expect(error.field).toBe("task 0.size");
    expect(error.offset).toBe(TEXT_AT + 16);
  });

  test("a scatter record that runs past its task", () => {
    const text = wordStream([[[0xffff8000, 1, 2]]], 8);
    expect(thrownBy(buildHwx({ subtype: 5, text })).field).toContain("record");
  });

  test("a container without a task stream", () => {
    const bytes = patched(segmentAt + 72, 0x72662d2d);
    expect(thrownBy(bytes).message).toContain("no section __text");
  });
});

describe("damage of any kind", () => {
  test("every truncation ends in one clear error", () => {
    const bytes = buildHwx(h13Convolution());
    for (let length = 0; length < bytes.byteLength; length += length < 0x1200 ? 7 : 1021) {
      expect(thrownBy(bytes.slice(0, length)).field).not.toBe("");
    }
  });

  test("mutated programs decode, list and print, or fail with an InspectError", () => {
    const plans = [
      buildHwx(h13Convolution()),
      buildHwx({
        subtype: 5,
        text: wordStream(
          [
            [
              [0x657, 64],
              [0x80300640, 1, 2, 3],
            ],
          ],
          8,
        ),
      }),
    ];
    let state = 12345;
    const random = (limit: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * limit);
    };
    let failed = 0;
    for (let run = 0; run < 1500; run++) {
      const bytes = (plans[run % plans.length] ?? new Uint8Array(0)).slice();
      for (let count = random(6) + 1; count > 0; count--) {
        const limit = random(2) === 0 ? 0x1200 : TEXT_AT + 0x300;
        bytes[random(limit)] = random(256);
      }
      try {
        const file = decodeHwx(memorySource(bytes, "mutated.hwx"));
        if (run % 10 === 0) {
          hwxListing(file, { registers: true });
          JSON.stringify(hwxToJson(file, { registers: true }));
        }
      } catch (error) {
        if (!(error instanceof InspectError)) throw error;
        failed++;
      }
    }
    expect(failed).toBeGreaterThan(50);
  });
});
