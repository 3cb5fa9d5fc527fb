import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { targetOf } from "../../src/inspect/hwx/chips.ts";
import {
  decodeHwx,
  diffHwx,
  extractWeights,
  graphToMermaid,
  graphToSvg,
  hwxDiffText,
  hwxGraph,
  hwxListing,
  hwxToJson,
  locateWeights,
  type HwxFile,
} from "../../src/inspect/hwx/index.ts";
import { fieldMask, registerMap } from "../../src/inspect/hwx/map/families.ts";
import { parseRows } from "../../src/inspect/hwx/map/read-rows.ts";
import { FAMILIES } from "../../src/inspect/hwx/map/types.ts";
import { memorySource } from "../../src/util/byte-source.ts";
import {
  blockRecord,
  buildHwx,
  denseRecord,
  h13Convolution,
  h13Task,
  scatterRecord,
  wordStream,
  type HwxPlan,
} from "./hwx-builder.ts";

const decode = (plan: HwxPlan): HwxFile => decodeHwx(memorySource(buildHwx(plan), "test.hwx"));

function onlyTask(file: HwxFile): HwxFile["tasks"][number] {
  const [task] = file.tasks;
  if (task === undefined || file.tasks.length !== 1) throw new Error(`${file.tasks.length} tasks`);
  return task;
}

function accountedWords(file: HwxFile): number {
  return file.stream.reduce((sum, part) => sum + part.wordCount, 0);
}

/** The smallest matrix product of version 11: two cores, both operands inputs, most registers left alone. */
function h14Product(): HwxPlan {
  const records = [
    scatterRecord(
      new Map([
        [0x1900, 0x40],
        [0x1918, 0xe21],
        [0x191c, 0xe21],
      ]),
    ),
    scatterRecord(
      new Map([
        [0x0, 0x00010002],
        [0xc, 3],
        [0x10, 2],
        [0x14, 0x00010002],
        [0x38, 0x00080001],
      ]),
    ),
    denseRecord(0x1118, [0xc0, 0x40, 0xc0, 0xc0]),
    denseRecord(0x1150, [0x01002031]),
    scatterRecord(
      new Map([
        [0xd00, 0x82],
        [0xd04, 0x101c00],
        [0xd10, 0x3c00],
      ]),
    ),
    denseRecord(0x1520, [0x01302031]),
    denseRecord(0x1908, [0, 0], 8),
    denseRecord(0x1110, [0, 0], 10),
    denseRecord(0x1508, [0, 0], 12),
  ];
  return {
    subtype: 5,
    text: wordStream([records], 8),
    buffers: [
      { name: "A", direction: "input", byteLength: 128, shape: [1, 1, 2, 3] },
      { name: "B", direction: "input", byteLength: 192, shape: [1, 1, 3, 2] },
      { name: "C", direction: "output", byteLength: 128, shape: [1, 1, 2, 2] },
    ],
  };
}

/** A two-input addition, then its result multiplied: two tasks in a list, scratch memory between them. */
function h13Chain(): HwxPlan {
  const task = (
    peConfig: number,
    bases: { sourceBase: number; resultBase: number },
    next?: number,
  ): number[] =>
    h13Task({
      ...bases,
      source2Base: 6,
      ...(next === undefined ? {} : { nextPointer: next, nextWords: 10 + 17 + 5 + 16 }),
      records: [
        blockRecord(
          0x0,
          [
            0x00010001, 1, 0x2a, 64, 64, 0x00010001, 1, 0x5000a021, 0x2041, 0x10001, 1, 4, 0, 0x33,
            0, 0,
          ],
        ),
        blockRecord(0x8800, [peConfig, 0x3c000000, 0x3c000000, 0x3f800000]),
        blockRecord(
          0x13800,
          [0x33881, 0x33880, 0, 64, 64, 4096, 0, 0, 64, 64, 4096, 0, 0, 0, 0x01002031].slice(0, 15),
        ),
      ],
    });
  const first = task(0x80000, { sourceBase: 5, resultBase: 3 }, 0x100);
  const second = task(0x80004, { sourceBase: 3, resultBase: 4 });
  return {
    subtype: 4,
    text: [...first, ...Array.from({ length: 64 - first.length }, () => 0), ...second],
    firstTaskWords: first.length,
    taskCount: 2,
    buffers: [
      { name: "scratch", direction: "scratch", byteLength: 4096 },
      { name: "out", direction: "output", byteLength: 4096, shape: [1, 64, 1, 1] },
      { name: "x", direction: "input", byteLength: 4096, shape: [1, 64, 1, 1] },
      { name: "y", direction: "input", byteLength: 4096, shape: [1, 64, 1, 1] },
    ],
    bases: [3, 4, 5, 6],
  };
}

describe("a program for H13", () => {
  test("tells a convolution with its kernel, channels, padding, activation and weights", () => {
    const { meaning } = onlyTask(decode(h13Convolution()));
    expect(meaning.op).toBe("conv");
    expect(meaning.kernel).toMatchObject({
      width: 3,
      height: 3,
      strideX: 1,
      padLeft: 1,
      padTop: 1,
      groups: 1,
    });
    expect(meaning.input).toEqual({ width: 16, height: 8, depth: 1, channels: 32 });
    expect(meaning.output).toEqual({ width: 16, height: 8, depth: 1, channels: 64 });
    expect(meaning.activation).toBe("relu");
    expect(meaning.weights).toBe("fp16");
    expect(meaning.coreCount).toBe(2);
    expect(meaning.assumed).toEqual([]);
  });

  test("counts multiply-accumulates and DRAM bytes with rows of 64 bytes", () => {
    const { meaning } = onlyTask(decode(h13Convolution()));
    expect(meaning.multiplyAccumulates).toBe(3 * 3 * 32 * 64 * 16 * 8);
    // 32 and 64 channels of 8 rows of 64 bytes, and the weights of both cores.
    expect(meaning.dramBytes).toBe(32 * 8 * 64 + 64 * 8 * 64 + 3 * 3 * 32 * 64 * 2);
  });

  test("places every operand in the buffer its base index names", () => {
    const { meaning } = onlyTask(decode(h13Convolution()));
    const places = meaning.operands.map(({ name, place }) =>
      place.where === "dram" ? `${name}: ${place.role} ${place.name}` : `${name}: ${place.where}`,
    );
    expect(places).toEqual([
      "source: input image",
      "kernel: weights __TEXT,__const",
      "result: output result",
    ]);
  });

  test("follows the task list through padding and keeps scratch memory between tasks", () => {
    const file = decode(h13Chain());
    expect(file.tasks.map(({ meaning }) => `${meaning.op} ${meaning.detail}`)).toEqual([
      "elementwise add",
      "elementwise mul",
    ]);
    expect(file.tasks[1]?.meaning.operands[0]?.place).toMatchObject({
      where: "dram",
      role: "scratch",
    });
    expect(file.warnings).toEqual([]);
  });

  test("reads surfaces, compiler, regions and symbols of the container", () => {
    const file = decode(h13Convolution());
    expect(file.surfaces.map(({ name, role, shape }) => [name, role, shape.c])).toEqual([
      ["result", "output", 64],
      ["image", "input", 32],
    ]);
    expect(file.compiler).toContain("v9.9.9");
    expect(file.regions.map(({ name }) => name)).toEqual(["result", "image"]);
    expect(file.symbols).toHaveLength(2);
    expect(file.programs[0]).toMatchObject({ name: "net", taskCount: 1, engineMask: 0xffff });
  });
});

describe("a program for H14", () => {
  test("tells a matrix product by its kernel coming from an input", () => {
    const { meaning } = onlyTask(decode(h14Product()));
    expect(meaning.op).toBe("matmul");
    expect(meaning.multiplyAccumulates).toBe(12);
    expect(meaning.operands.map(({ place }) => (place.where === "dram" ? place.name : ""))).toEqual(
      ["B", "A", "C"],
    );
  });

  test("shows unwritten registers as defaults, never as zero", () => {
    const file = decode(h14Product());
    const listing = hwxListing(file, { registers: true });
    expect(listing).toMatch(/registers at their defaults[\s\S]*Common: .*ConvCfg/);
    expect(listing).not.toMatch(/Common\.ConvCfg {2}Kw=0/);
    expect(onlyTask(file).meaning.assumed).toContain("kernel 1x1");
    const json = JSON.parse(JSON.stringify(hwxToJson(file)));
    expect(json.tasks[0].registers.Common.ConvCfg).toBeUndefined();
    expect(json.tasks[0].defaults.Common).toContain("ConvCfg");
  });

  test("keeps the base index of an address packet with its value", () => {
    const task = onlyTask(decode(h14Product()));
    expect(
      task.writes
        .filter((write) => write.base !== undefined)
        .map(({ address, base }) => [address, base]),
    ).toEqual([
      [0x1908, 8],
      [0x190c, 8],
      [0x1110, 10],
      [0x1114, 10],
      [0x1508, 12],
      [0x150c, 12],
    ]);
  });
});

describe("every generation", () => {
  test.each([
    [0, 7],
    [1, 7],
    [2, 7],
    [3, 7],
  ])("subtype %i: records by byte address behind %i header words", (subtype, headerWords) => {
    const text = [
      ...Array.from({ length: headerWords - 1 }, () => 0),
      0xed0,
      ...blockRecord(0x0, [0x00040003, 0x22, 8, 16, 0x00040003, 0x50050041, 0x10001, 4, 0]),
      ...blockRecord(0x8800, [0, 0x0001000c]),
    ];
    const file = decode({ subtype, text });
    expect(file.target.chip).toBe(targetOf(subtype).chip);
    expect(onlyTask(file).meaning).toMatchObject({
      op: "activation",
      activation: "relu",
      input: { width: 3, height: 4, channels: 8 },
      output: { channels: 16 },
    });
    expect(accountedWords(file)).toBe(text.length);
  });

  test.each([7, 9, 10, 11])("subtype %i: one word a dimension, nine header words", (subtype) => {
    const mac = subtype === 11 ? 0x4908 : 0x4904;
    const records = [denseRecord(0x4, [5, 6, 7, 1, 5, 6, 9, 1]), denseRecord(mac, [0x0002000c])];
    const file = decode({ subtype, text: wordStream([records, records], 9), taskCount: 2 });
    expect(file.tasks).toHaveLength(2);
    expect(file.tasks[0]?.meaning).toMatchObject({
      op: "activation",
      activation: "lut",
      input: { width: 5, height: 6, channels: 7 },
      output: { channels: 9 },
    });
  });

  test("subtype 6 uses the H15 addresses", () => {
    const records = [denseRecord(0x0, [0x00020004]), denseRecord(0x4500, [0x00080004])];
    expect(onlyTask(decode({ subtype: 6, text: wordStream([records], 8) })).meaning).toMatchObject({
      op: "elementwise",
      detail: "mul",
      input: { width: 4, height: 2, channels: null },
    });
  });

  test("an unknown subtype is read with a borrowed map and says so", () => {
    const records = [denseRecord(0x4, [5])];
    const file = decode({ subtype: 99, text: wordStream([records], 9) });
    expect(file.warnings.join("\n")).toContain("no register map for subtype 99");
    expect(hwxListing(file)).toContain("(borrowed)");
  });

  test.each(FAMILIES)(
    "%s: no two registers share an address, no field leaves its word",
    (family) => {
      const map = registerMap(family);
      const places = map.blocks.flatMap((block) =>
        block.rows.flatMap((row) =>
          Array.from({ length: row.count ?? 1 }, (_, index) => row.at + index * (row.stride ?? 4)),
        ),
      );
      expect(new Set(places).size).toBe(places.length);
      for (const place of map.byAddress.values()) {
        expect(place.address % 4).toBe(0);
        for (const field of place.fields) {
          expect(field.low).toBeLessThanOrEqual(field.high);
          expect(field.high).toBeLessThan(32);
          expect(fieldMask(field)).toBeGreaterThan(0);
        }
      }
    },
  );
});

describe("accounting", () => {
  test("every word of a stream is a header, a record, a value, padding or a prefix", () => {
    for (const plan of [h13Convolution(), h13Chain(), h14Product()]) {
      const file = decode(plan);
      expect(accountedWords(file)).toBe(plan.text.length);
      expect(file.stream.some((part) => part.kind === "unclaimed")).toBe(false);
      for (const { coverage } of file.tasks) {
        expect(coverage.headerWords + coverage.recordWords + coverage.writtenWords).toBe(
          coverage.wordCount,
        );
        expect(coverage.namedWords + coverage.unknownWords).toBe(coverage.writtenWords);
      }
      expect(file.layout.reduce((sum, part) => sum + part.byteLength, 0)).toBe(file.byteLength);
      expect(file.layout.every((part) => part.accounted)).toBe(true);
    }
  });

  test("any records survive the stream, word for word", () => {
    const value = fc.nat(0xffffffff);
    const dense = fc
      .tuple(
        fc.nat(0x7f00),
        fc.array(value, { minLength: 1, maxLength: 64 }),
        fc.option(fc.nat(127), { nil: undefined }),
      )
      .map(([word, values, base]) => ({
        words: denseRecord(word * 4, values, base),
        values,
        at: word * 4,
        base,
      }));
    fc.assert(
      fc.property(fc.array(dense, { minLength: 1, maxLength: 8 }), (records) => {
        const task = onlyTask(
          decode({ subtype: 5, text: wordStream([records.map((one) => one.words)], 8) }),
        );
        const expected = records.flatMap(({ values, at, base }) =>
          values.map((one, index) => ({ address: at + index * 4, value: one, base })),
        );
        expect(
          task.writes.map((write) => ({
            address: write.address,
            value: write.value,
            base: write.base,
          })),
        ).toEqual(expected);
      }),
      { numRuns: 60 },
    );
  });

  test("a register outside the map is shown raw with its address", () => {
    const text = h13Task({
      records: [blockRecord(0x3fff0, [0xdeadbeef]), blockRecord(0x13840, [0x100])],
    });
    const file = decode({ subtype: 4, text });
    expect(hwxListing(file, { registers: true })).toMatch(
      /0xdeadbeef\s+0x3fff0\s+- outside every block {2}raw 0xdeadbeef/,
    );
    expect(onlyTask(file).coverage.unknownWords).toBe(2);
  });

  test("bits that no field covers are shown raw beside the named ones", () => {
    const text = h13Task({ records: [blockRecord(0xc808, [0xabcd3c00])] });
    expect(hwxListing(decode({ subtype: 4, text }), { registers: true })).toContain(
      "NE.MatrixVectorBias  Bias=15360 (1 fp16) unknown bits 0xabcd0000",
    );
  });
});

describe("weights", () => {
  const folder = mkdtempSync(join(tmpdir(), "anecdote-weights-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("are located by registers and by symbols at the same places", () => {
    const tiles = locateWeights(decode(h13Convolution()));
    const places = (from: string): number[][] =>
      tiles
        .filter((tile) => tile.from === from)
        .map((tile) => [tile.core ?? -1, tile.fileOffset, tile.byteLength]);
    expect(places("registers")).toHaveLength(2);
    expect(places("symbol")).toEqual(places("registers"));
  });

  test("are extracted as they lie in the file, with a list", () => {
    const bytes = buildHwx(h13Convolution());
    const source = memorySource(bytes, "test.hwx");
    const { files } = extractWeights(decodeHwx(source), source, folder);
    const tile = files.find((file) => file.name === "task0.core1");
    if (tile === undefined) throw new Error("no tile of core 1");
    expect([...readFileSync(join(folder, tile.file))]).toEqual([
      ...bytes.subarray(tile.fileOffset, tile.fileOffset + tile.byteLength),
    ]);
    const list = JSON.parse(readFileSync(join(folder, "weights.json"), "utf8"));
    expect(list.tiles).toHaveLength(files.length);
    expect(existsSync(join(folder, "__TEXT.__const.bin"))).toBe(true);
  });
});

describe("a container of the Linux driver", () => {
  function build(payloadAt: number): Uint8Array {
    const plan = h13Convolution();
    const taskBytes = plan.text.length * 4;
    const weights = plan.weights ?? new Uint8Array(0);
    const kernelAt = Math.ceil(taskBytes / 64) * 64;
    const size = kernelAt + weights.byteLength;
    const bytes = new Uint8Array(payloadAt + size);
    const view = new DataView(bytes.buffer);
    const u64 = (at: number, value: number): void => view.setBigUint64(at, BigInt(value), true);
    u64(0, size);
    view.setUint32(8, taskBytes, true);
    view.setUint32(12, 1, true);
    u64(16, taskBytes);
    u64(24, weights.byteLength);
    view.setUint32(32, 1, true);
    view.setUint32(36, 1, true);
    for (const [index, tiles] of [
      [0, 1],
      [4, 2],
      [5, 1],
    ] as const)
      view.setUint32(0x28 + index * 4, tiles, true);
    [1, 64, 8, 16, 512, 64].forEach((value, slot) => u64(0xa8 + 4 * 48 + slot * 8, value));
    [1, 32, 8, 16, 512, 64].forEach((value, slot) => u64(0xa8 + 5 * 48 + slot * 8, value));
    plan.text.forEach((word, index) => view.setUint32(payloadAt + index * 4, word, true));
    bytes.set(weights, payloadAt + kernelAt);
    return bytes;
  }

  test.each([0x1000, 0x800])("is read with its payload at %i", (payloadAt) => {
    const file = decodeHwx(memorySource(build(payloadAt), "test.ane"));
    expect(file.format).toBe("ane");
    expect(onlyTask(file).meaning.op).toBe("conv");
    expect(file.surfaces.map(({ name, role }) => `${role} ${name}`)).toEqual([
      "output channel 4",
      "input channel 5",
    ]);
    expect(locateWeights(file).find((tile) => tile.from === "registers")?.fileOffset).toBe(
      payloadAt + Math.ceil((h13Convolution().text.length * 4) / 64) * 64,
    );
    expect(file.layout.every((part) => part.accounted)).toBe(true);
  });

  test("that is cut short or lies about its sizes is an error with its field", () => {
    const bytes = build(0x1000);
    const thrown = (damaged: Uint8Array): unknown => {
      try {
        return decodeHwx(memorySource(damaged, "test.ane"));
      } catch (error) {
        return error;
      }
    };
    expect(thrown(bytes.slice(0, 9000))).toMatchObject({ field: "ane header.size", offset: 0 });
    expect(thrown(bytes.slice(0, 100))).toMatchObject({ code: "inspect.range" });
    const lying = bytes.slice();
    new DataView(lying.buffer).setUint32(24, 0x7fffffff, true);
    expect(thrown(lying)).toMatchObject({ field: "ane header.krn_size", offset: 24 });
    const longTask = bytes.slice();
    new DataView(longTask.buffer).setUint32(8, 0x7ffffffc, true);
    expect(thrown(longTask)).toMatchObject({ field: "ane header.td_size", offset: 8 });
  });
});

describe("what a program is shown as", () => {
  test("a listing names operation, operands and shares", () => {
    const listing = hwxListing(decode(h13Convolution()), { taskTime: () => 12.5 });
    expect(listing).toContain("conv 3x3 pad 1x1, relu");
    expect(listing).toContain("12.5 us predicted without dispatch");
    expect(listing).toMatch(/written words: \d+\.\d % named/);
    expect(listing).toMatch(/all registers of the map: .* named, .* default, .* unknown/);
  });

  test("JSON has format, chip, op and registers with units and sources", () => {
    const json = JSON.parse(JSON.stringify(hwxToJson(decode(h13Convolution()))));
    expect(json).toMatchObject({ format: "hwx", chip: "H13", tasks: [{ op: "conv" }] });
    expect(json.tasks[0].registers.TileDMASrc.Src1PlaneStride).toMatchObject({
      value: 512,
      source: "sample",
      fields: { Stride: { raw: 8, value: 512, unit: "bytes" } },
    });
    expect(json.tasks[0].registers.Common.ChCfg.fields.InFmt).toMatchObject({
      raw: 2,
      code: "fp16",
    });
  });

  test("a graph leads from inputs through tasks and scratch memory to outputs", () => {
    const graph = hwxGraph(decode(h13Chain()));
    const ways = graph.edges.map((edge) => `${edge.from}>${edge.to}`);
    expect(ways).toEqual(["b5>t0", "b6>t0", "t0>s3_0", "s3_0>t1", "b6>t1", "t1>b4"]);
    expect(graphToMermaid(graph)).toMatch(/^flowchart TD\n/);
    const svg = graphToSvg(graph);
    expect(svg.match(/<g>/g)).toHaveLength(graph.nodes.length);
    expect(svg).toMatch(/^<svg [\s\S]*<\/svg>\n$/);
  });

  test("a graph tells how many tasks it leaves out", () => {
    expect(graphToMermaid(hwxGraph(decode(h13Chain()), { taskLimit: 1 }))).toContain(
      "1 more tasks",
    );
  });
});

describe("a comparison", () => {
  test("of a program with itself finds nothing", () => {
    const diff = diffHwx(decode(h13Chain()), decode(h13Chain()));
    expect(diff).toMatchObject({ file: [], tasks: [], equalTasks: 2 });
    expect(hwxDiffText(diff)).toContain("no difference");
  });

  test("tells a changed operation by meaning and by register", () => {
    const changed = h13Chain();
    const text = [...changed.text];
    text[text.lastIndexOf(0x80004)] = 0x80008;
    const diff = diffHwx(decode(h13Chain()), decode({ ...changed, text }));
    expect(diff.tasks[0]?.meaning).toEqual([
      { name: "operation", a: "elementwise mul", b: "elementwise max" },
    ]);
    expect(diff.tasks[0]?.registers).toEqual([
      { name: "PE.Cfg.OpMode", a: "1 (mul)", b: "2 (max)" },
    ]);
    expect(diff.equalTasks).toBe(1);
  });

  test("across chips puts meaning first and does not call a default different from zero", () => {
    const diff = diffHwx(decode(h13Convolution()), decode(h14Product()));
    expect(diff.file.map((one) => one.name)).toContain("chip");
    const fields = diff.tasks[0]?.registers ?? [];
    expect(fields.find((one) => one.name === "Common.ConvCfg.Kw")).toMatchObject({
      a: "3",
      b: null,
    });
    expect(hwxDiffText(diff)).toContain("only a writes");
  });
});

describe("the table of registers", () => {
  test("derives a family from another: what is kept becomes inferred, rows at the same place are replaced", () => {
    const families = parseRows(
      [
        ...[
          "family h16",
          "block L2 0x100 3",
          "  0x100 A sample En:0",
          "  0x104 B[1*2/8] documented",
        ],
        ...["block PE 0x200 1", "  0x200 C sample Mode:0-3"],
        ...[
          "family h17 from h16",
          "block L2 0x100 2",
          "  drop 0x104 0x108",
          "  0x100 D documented",
        ],
      ].join("\n"),
    );
    expect(families.get("h16")?.[0]?.rows[1]).toEqual({
      ...{ at: 0x104, name: "B", fields: "", source: "documented" },
      ...{ first: 1, count: 2, stride: 8 },
    });
    expect(families.get("h17")).toEqual([
      {
        ...{ block: "L2", base: 0x100, wordCount: 2 },
        rows: [{ at: 0x100, name: "D", fields: "", source: "documented" }],
      },
      {
        ...{ block: "PE", base: 0x200, wordCount: 1 },
        rows: [{ at: 0x200, name: "C", fields: "Mode:0-3", source: "inferred" }],
      },
    ]);
  });

  test("refuses a line that is no row, by its number", () => {
    expect(() => parseRows("family h16\nblock L2 0x100 3\n  0x100 A guessed En:0")).toThrow(
      /line 3: "0x100 A guessed En:0" is no row/,
    );
    expect(() => parseRows("family h99")).toThrow(/line 1/);
    expect(() => parseRows("  0x100 A sample En:0")).toThrow(/line 1/);
  });
});
