import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import {
  decodeAneHash,
  decodeE5Analytics,
  decodeE5Bundle,
  decodeE5Manifest,
  e5BundleListing,
  e5BundleToJson,
  e5ManifestListing,
} from "../../src/inspect/e5/index.ts";
import { InspectError } from "../../src/inspect/inspect-error.ts";
import { memorySource } from "../../src/util/byte-source.ts";
import { buildHwx, h13Convolution } from "./hwx-builder.ts";

type Value = string | number | readonly Value[] | { readonly table: readonly (Value | null)[] };

/** Writes a FlatBuffer front to back: every table has its vtable right before it. */
function flatBuffer(root: Value, trailer: readonly number[] = []): Uint8Array {
  const words: number[] = [];
  const bytes = words;
  const u16 = (value: number): number => bytes.push(value & 0xff, (value >>> 8) & 0xff);
  const u32 = (value: number): number =>
    bytes.push(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24);
  const patch = (at: number, target: number): void => {
    const distance = target - at;
    for (let index = 0; index < 4; index++) bytes[at + index] = (distance >>> (8 * index)) & 0xff;
  };
  const align = (): void => {
    while (bytes.length % 4 !== 0) bytes.push(0);
  };
  const write = (value: Exclude<Value, number>): number => {
    align();
    if (typeof value === "string") {
      const at = bytes.length;
      const text = new TextEncoder().encode(value);
      u32(text.byteLength);
      bytes.push(...text, 0);
      return at;
    }
    if ("table" in value) return writeTable(value.table);
    const at = bytes.length;
    u32(value.length);
    const slots = value.map(() => u32(0) - 4);
    value.forEach((item, index) => place(slots[index] ?? 0, item));
    return at;
  };
  const place = (at: number, value: Value): void => {
    if (typeof value === "number") {
      for (let index = 0; index < 4; index++) bytes[at + index] = (value >>> (8 * index)) & 0xff;
    } else patch(at, write(value));
  };
  const writeTable = (fields: readonly (Value | null)[]): number => {
    align();
    if ((4 + fields.length * 2) % 4 !== 0) u16(0);
    const vtable = bytes.length;
    const present = fields.filter((field) => field !== null);
    u16(4 + fields.length * 2);
    u16(4 + present.length * 4);
    let offset = 4;
    for (const field of fields) {
      u16(field === null ? 0 : offset);
      if (field !== null) offset += 4;
    }
    const table = bytes.length;
    u32(table - vtable);
    const slots = present.map(() => u32(0) - 4);
    present.forEach((field, index) => place(slots[index] ?? 0, field));
    return table;
  };
  u32(0);
  patch(0, write(typeof root === "number" ? [] : root));
  align();
  bytes.push(...trailer);
  return Uint8Array.from(bytes);
}

const SYMBOL_DESCRIPTION = [0xe5, 0xe4, 0x02, 0x00, 0x21, 0x60, 0, 0, 0, 0, 0, 0];

function manifestBytes(): Uint8Array {
  const pair = (key: string, value: string): Value => ({ table: [key, value] });
  return flatBuffer(
    {
      table: [
        ["main", "main__Op0_AneInference"],
        [pair("espressoc-version", "3525.1.1"), pair("on-device-compilation", "1")],
        [{ table: ["__build_info__", 7, null, 9] }],
        4,
      ],
    },
    SYMBOL_DESCRIPTION,
  );
}

const manifest = (): ReturnType<typeof decodeE5Manifest> =>
  decodeE5Manifest(memorySource(manifestBytes(), "H14C.e5"));

describe("an E5 manifest", () => {
  test("gives its four root fields their names", () => {
    expect(manifest()).toMatchObject({
      formatVersion: 4,
      symbolNames: ["main", "main__Op0_AneInference"],
      buildInfo: [
        { key: "espressoc-version", value: "3525.1.1" },
        { key: "on-device-compilation", value: "1" },
      ],
    });
  });

  test("names the chip behind the symbol description's magic word", () => {
    expect(manifest().symbolDescription).toMatchObject({ chipId: 0x6021, chip: "M2 Max" });
  });

  test("shows tables nobody has named as numbered fields, with bytes accounted", () => {
    const listing = e5ManifestListing(manifest());
    expect(listing).toMatch(
      /sections @0x[0-9a-f]+: 1 items\n {2}\[0\] @0x[0-9a-f]+: table\n {4}field 0 .*"__build_info__"/,
    );
    expect(listing).toMatch(/field 3 @0x[0-9a-f]+: 9 \(4 bytes\)/);
    const { coverage } = manifest();
    expect(coverage.reachedBytes + coverage.unreachedBytes).toBe(coverage.byteLength);
    expect(coverage.reachedBytes).toBeGreaterThan(coverage.byteLength * 0.8);
  });

  test("a root that leads nowhere is an error with offset and field", () => {
    const bytes = manifestBytes();
    new DataView(bytes.buffer).setUint32(0, 0x7ffffff0, true);
    const decode = (): unknown => decodeE5Manifest(memorySource(bytes, "x.e5"));
    expect(decode).toThrow(InspectError);
    expect(decode).toThrow(/FlatBuffer\.root at 0x0/);
  });

  test("any damage gives a manifest or an InspectError", () => {
    const original = manifestBytes();
    let state = 99;
    const random = (limit: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * limit);
    };
    for (let run = 0; run < 1500; run++) {
      const bytes = original.slice(
        0,
        run % 3 === 0 ? random(original.byteLength) : original.byteLength,
      );
      for (let count = random(5); count > 0 && bytes.byteLength > 0; count--) {
        bytes[random(bytes.byteLength)] = random(256);
      }
      try {
        e5ManifestListing(decodeE5Manifest(memorySource(bytes, "x.e5")));
      } catch (error) {
        if (!(error instanceof InspectError)) throw error;
      }
    }
  });
});

describe("model.anehash", () => {
  test("is a program hash and a weights hash", () => {
    const text = `${"a".repeat(64)}_${"b".repeat(64)}`;
    expect(text).toHaveLength(129);
    expect(decodeAneHash(new TextEncoder().encode(text), "model.anehash")).toEqual({
      program: "a".repeat(64),
      weights: "b".repeat(64),
    });
  });

  test("of any other form is refused", () => {
    expect(() => decodeAneHash(new TextEncoder().encode("ab_cd"), "x")).toThrow(/129 are expected/);
  });
});

const ANALYTICS = `program(1.3)
[buildInfo = dict<string, string>({{"coremlc-version", "3600.25.2"}})]
{
    func main<ios18>(tensor_buffer<fp16, shape=[1, 4], strides=[4, 1], interleave_factors=[1, 1]> x) [Launch_ane_ms = fp64(0x1p-3), Launch_bnns_ms = fp64(0x1.8p+1)] {
            tensor<fp16, [1, 4]> x_t = tensor_buffer_to_tensor<ios17>(input = x)[BackendSupport = list<string, 2>(["unsupported", "ane"]), SelectedBackend = string("ane"), milId = uint64(0)];
            tensor<fp16, [1, 4]> y = relu(x = x_t)[BackendSupport = list<string, 2>(["bnns", "ane"]), EstimatedRuntime = dict<string, fp64>({{"ane", 0.25}, {"bnns", 2}}), SelectedBackend = string("ane"), milId = uint64(1), name = string("y")];
        } -> (y);
}
`;

describe("an analytics text", () => {
  test("tells per operation which back ends could run it and which one does", () => {
    const { operations, costsMs, buildInfo } = decodeE5Analytics(
      memorySource(new TextEncoder().encode(ANALYTICS), "analytics.mil"),
    );
    expect(buildInfo).toEqual({ "coremlc-version": "3600.25.2" });
    expect(costsMs).toEqual({ Launch_ane_ms: 0.125, Launch_bnns_ms: 3 });
    expect(operations).toMatchObject([
      { op: "tensor_buffer_to_tensor", isMemoryOperation: true, supportedBackends: ["ane"] },
      {
        op: "relu",
        name: "y",
        selectedBackend: "ane",
        estimatedRuntime: { ane: 0.25, bnns: 2 },
        milId: 1,
      },
    ]);
  });

  test("that is no MIL is refused", () => {
    expect(() =>
      decodeE5Analytics(memorySource(new TextEncoder().encode("hello"), "x.mil")),
    ).toThrow(InspectError);
  });
});

describe("a bundle folder", () => {
  const folder = mkdtempSync(join(tmpdir(), "anecdote-e5-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const put = (path: string, bytes: Uint8Array | string): void => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), bytes);
  };

  test("shows manifest, hashes, program and analytics, and what of it is broken", () => {
    put("H14C.bundle/H14C.e5", manifestBytes());
    put("H14C.bundle/main/main_ane/model.anehash", `${"1".repeat(64)}_${"2".repeat(64)}`);
    put("H14C.bundle/main/main_ane/model.hwx", buildHwx(h13Convolution()));
    put("H14C.bundle/main/main_bnns/bnns_program.bnnsir", "x");
    put("H14C.bundle/analytics.mil", ANALYTICS);
    put("H13C.bundle/H13C.e5", "broken");
    const bundle = decodeE5Bundle(folder);
    expect(bundle.targets).toEqual(["H13C", "H14C"]);
    expect(bundle.files.map((file) => file.kind).sort()).toEqual(
      ["analytics", "anehash", "bnns", "manifest", "manifest", "program"].sort(),
    );
    expect(bundle.hashes[0]?.weights).toBe("2".repeat(64));
    expect(bundle.programs[0]?.program.tasks).toHaveLength(1);
    expect(bundle.problems.map((one) => one.path)).toEqual([join("H13C.bundle", "H13C.e5")]);
    const listing = e5BundleListing(bundle);
    expect(listing).toContain("conv 3x3");
    expect(listing).toContain("espressoc-version: 3525.1.1");
    expect(JSON.parse(JSON.stringify(e5BundleToJson(bundle)))).toMatchObject({
      format: "e5-bundle",
      programs: [{ program: { format: "hwx", tasks: [{ op: "conv" }] } }],
    });
  });

  test("without a manifest is an error that says what a bundle looks like", () => {
    const empty = mkdtempSync(join(tmpdir(), "anecdote-e5-empty-"));
    try {
      expect(() => decodeE5Bundle(empty)).toThrow(/no \.e5 manifest/);
    } finally {
      rmSync(empty, { recursive: true, force: true });
    }
  });
});
