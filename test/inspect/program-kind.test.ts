import { expect, test } from "vitest";
import { programKind } from "../../src/inspect/program-kind.ts";
import { memorySource } from "../../src/util/byte-source.ts";
import { buildHwx, h13Convolution } from "./hwx-builder.ts";

const text = new TextEncoder().encode("program(1.3)\n{}\n");

test.each<[string, Uint8Array, string | undefined]>([
  ["a.bin", buildHwx(h13Convolution()), "hwx"],
  ["broken.hwx", text, "hwx"],
  ["H16G.e5", Uint8Array.of(0x14, 0, 0, 0, 0, 0, 0, 0), "e5"],
  ["analytics.mil", text, "e5-analytics"],
  ["model.mil", text, undefined],
  ["lib.dylib", Uint8Array.of(0xcf, 0xfa, 0xed, 0xfe, 0, 0, 0, 0), undefined],
  ["empty", new Uint8Array(0), undefined],
])(
  "%s is told by its bytes, and by its name only where it has no magic word",
  (name, bytes, kind) => {
    expect(programKind(memorySource(bytes, name))).toBe(kind);
  },
);
