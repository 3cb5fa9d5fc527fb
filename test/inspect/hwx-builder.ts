/** Assembles small engine programs for tests: a container of Apple's shape around task words made here. */

export const VM_BASE = 0x30000000;
const PAGE = 0x4000;

export interface BuiltBuffer {
  readonly name: string;
  readonly direction: "input" | "output" | "scratch";
  readonly byteLength: number;
  /** N, C, H, W. */
  readonly shape?: readonly [number, number, number, number];
}

export interface HwxPlan {
  readonly subtype: number;
  /** The words of the text section. */
  readonly text: readonly number[];
  /** Words of the first task; only versions 4 to 7 need it. */
  readonly firstTaskWords?: number;
  readonly taskCount?: number;
  readonly weights?: Uint8Array;
  readonly buffers?: readonly BuiltBuffer[];
  /** Base index of each buffer, in order; from 4 on by default (8, 10, … for subtype 5 and above). */
  readonly bases?: readonly number[];
  /** Symbols that mark weight tiles: offset inside the weights. */
  readonly tileOffsets?: readonly number[];
  readonly compiler?: string;
}

class Writer {
  readonly #bytes: number[] = [];

  get length(): number {
    return this.#bytes.length;
  }

  u32(...values: readonly number[]): this {
    for (const value of values) {
      for (let shift = 0; shift < 32; shift += 8) this.#bytes.push((value >>> shift) & 0xff);
    }
    return this;
  }

  u64(value: number): this {
    return this.u32(value >>> 0, Math.floor(value / 2 ** 32));
  }

  text(value: string, byteLength = value.length + 1): this {
    const bytes = new TextEncoder().encode(value);
    for (let index = 0; index < byteLength; index++) this.#bytes.push(bytes[index] ?? 0);
    return this;
  }

  bytes(values: Iterable<number>): this {
    for (const value of values) this.#bytes.push(value);
    return this;
  }

  padTo(length: number): this {
    while (this.#bytes.length < length) this.#bytes.push(0);
    return this;
  }

  align(step: number): this {
    return this.padTo(Math.ceil(this.#bytes.length / step) * step);
  }

  done(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }
}

function command(kind: number, body: Uint8Array): Uint8Array {
  const byteLength = Math.ceil((8 + body.byteLength) / 8) * 8;
  return new Writer().u32(kind, byteLength).bytes(body).padTo(byteLength).done();
}

interface SectionPlan {
  readonly name: string;
  readonly address: number;
  readonly byteLength: number;
  readonly offset: number;
}

function segment(
  name: string,
  address: number,
  byteLength: number,
  offset: number,
  fileBytes: number,
  sections: readonly SectionPlan[],
): Uint8Array {
  const body = new Writer().text(name, 16).u64(address).u64(byteLength).u64(offset).u64(fileBytes);
  body.u32(5, 5, sections.length, 4);
  for (const section of sections) {
    body.text(section.name, 16).text(name, 16).u64(section.address).u64(section.byteLength);
    body.u32(section.offset, 6, 0, 0, 0x28, 0, 0, 0);
  }
  return command(0x19, body.done());
}

function programThread(plan: HwxPlan, bases: ReadonlyMap<number, number>): Uint8Array {
  const isNew = plan.subtype >= 5;
  const state = new Writer().u32(isNew ? 4 : 1, isNew ? 0x21e : 0x21a);
  for (let index = 0; index < 256; index++) state.u64(bases.get(index) ?? 0);
  const tasks = plan.taskCount ?? 1;
  if (isNew) {
    state.u64(VM_BASE).u64(0).u32(4, plan.text.length, 0, 0, tasks, 0, 0, 0, 0, 0xffff, 0x888);
    state.padTo(0x888 - 8).text("net");
  } else {
    state.u64(VM_BASE).u32((plan.firstTaskWords ?? plan.text.length) - 1, tasks, 0, 0xffff);
    state
      .padTo(0x83c - 8)
      .u32(0x878)
      .padTo(0x878 - 8)
      .text("net");
  }
  return command(0x04, state.done());
}

function surfaceThread(buffer: BuiltBuffer): Uint8Array {
  const [n, c, h, w] = buffer.shape ?? [1, 1, 1, 1];
  const row = Math.max(64, Math.ceil((w * 2) / 64) * 64);
  const nameAt = 0x10 + 31 * 4;
  const state = new Writer().u32(3, 0x1e);
  state.u32(3, buffer.direction === "input" ? 1 : 2, 0, 0, nameAt, 5, n, c, h, w, 1, 0, 0, 0, 0, 0);
  state
    .u64(row * h * c)
    .u64(row * h)
    .u64(row)
    .u32(2, 0)
    .u64(row * h * c * n)
    .u32(1, nameAt, 0, 0, 0);
  return command(
    0x04,
    state
      .padTo(nameAt - 8)
      .text(buffer.name)
      .done(),
  );
}

/** A container with `__TEXT`, one `__FVMLIB` or `__DATA` segment a buffer, threads, regions, symbols. */
export function buildHwx(plan: HwxPlan): Uint8Array {
  const weights = plan.weights ?? new Uint8Array(0);
  const textBytes = plan.text.length * 4;
  const constAt = Math.ceil(textBytes / 64) * 64;
  const segmentBytes = Math.max(PAGE, Math.ceil((constAt + weights.byteLength) / PAGE) * PAGE);
  const isNew = plan.subtype >= 5;
  const buffers = plan.buffers ?? [];
  const bases = new Map([
    [0, VM_BASE],
    [isNew ? 2 : 1, VM_BASE + constAt],
  ]);
  let address = VM_BASE + segmentBytes;
  const commands: Uint8Array[] = [
    segment("__TEXT", VM_BASE, segmentBytes, PAGE, segmentBytes, [
      { name: "__text", address: VM_BASE, byteLength: textBytes, offset: PAGE },
      ...(weights.byteLength === 0
        ? []
        : [
            {
              name: "__const",
              address: VM_BASE + constAt,
              byteLength: weights.byteLength,
              offset: PAGE + constAt,
            },
          ]),
    ]),
  ];
  const regions: Uint8Array[] = [];
  buffers.forEach((buffer, index) => {
    const isScratch = buffer.direction === "scratch";
    const name = isScratch ? "__bss" : buffer.direction === "input" ? "__const" : "__data";
    commands.push(
      segment(isScratch ? "__DATA" : "__FVMLIB", address, buffer.byteLength, 0, 0, [
        { name, address, byteLength: buffer.byteLength, offset: 0 },
      ]),
    );
    bases.set(plan.bases?.[index] ?? (isNew ? 8 + 2 * index : 4 + index), address);
    if (!isScratch) {
      const region = new Writer().u32(0x18, 0).u64(address).text(buffer.name);
      regions.push(command(0x40, region.done()));
    }
    address += Math.ceil(buffer.byteLength / PAGE) * PAGE;
  });
  commands.push(...regions, programThread(plan, bases));
  commands.push(...buffers.filter((one) => one.direction !== "scratch").map(surfaceThread));
  if (plan.compiler !== undefined) {
    commands.push(command(0x08, new Writer().text(`ANEC v1\n${plan.compiler}`).done()));
  }
  const names = (plan.tileOffsets ?? []).map((_, core) => `K${"A".repeat(64)}_ne_${core}`);
  const texts = new Writer().text("");
  const entries = new Writer();
  names.forEach((name, core) => {
    entries.u32(texts.length, 0x0002020f).u64(VM_BASE + constAt + (plan.tileOffsets?.[core] ?? 0));
    texts.text(name);
  });
  const commandBytes = commands.reduce((sum, one) => sum + one.byteLength, 0) + 24;
  const symbolsAt = 32 + commandBytes;
  const table = new Writer().u32(
    0x02,
    24,
    symbolsAt,
    names.length,
    symbolsAt + entries.length,
    texts.length,
  );
  commands.push(table.done());
  const file = new Writer().u32(
    0xbeefface,
    0x80,
    plan.subtype,
    2,
    commands.length,
    commandBytes,
    0x200000,
    0,
  );
  for (const one of commands) file.bytes(one);
  file.bytes(entries.done()).bytes(texts.done());
  if (file.length > PAGE) throw new Error("the test program's tables are larger than one page");
  file
    .padTo(PAGE)
    .bytes(new Writer().u32(...plan.text).done())
    .padTo(PAGE + constAt)
    .bytes(weights);
  return file.padTo(PAGE + segmentBytes).done();
}

/** One record of versions 4 to 7. */
export function blockRecord(address: number, values: readonly number[]): number[] {
  return [(((values.length - 1) << 26) | address) >>> 0, ...values];
}

/** One dense record of version 8 and later; the address is in bytes. */
export function denseRecord(address: number, values: readonly number[], base?: number): number[] {
  const head = ((values.length - 1) << 15) | (address / 4);
  return [(base === undefined ? head : head | (1 << 29) | (base << 22)) >>> 0, ...values];
}

/** One scatter record: `values` by byte address, all within 17 words of the lowest. */
export function scatterRecord(values: ReadonlyMap<number, number>): number[] {
  const addresses = [...values.keys()].sort((a, b) => a - b);
  const first = addresses[0] ?? 0;
  const mask = addresses
    .slice(1)
    .reduce((bits, address) => bits | (1 << ((address - first) / 4 - 1)), 0);
  const head = (2 ** 31 + mask * 2 ** 15 + first / 4) >>> 0;
  return [head, ...addresses.map((address) => values.get(address) ?? 0)];
}

export interface ByteTask {
  /** Header words 6 and on (flags, next, bases); the first six are made here. */
  readonly sourceBase?: number;
  readonly source2Base?: number;
  readonly kernelBase?: number;
  readonly resultBase?: number;
  readonly nextPointer?: number;
  readonly nextWords?: number;
  readonly records: readonly (readonly number[])[];
}

/** A task of version 7 (H13): ten header words, then records. */
export function h13Task(task: ByteTask): number[] {
  const base = (index: number | undefined, shift: number): number =>
    index === undefined ? 0 : ((index | 32) << shift) >>> 0;
  const next = task.nextWords === undefined ? 0 : (task.nextWords - 1) << 16;
  const bases = base(task.sourceBase, 0) | base(task.source2Base, 6) | base(task.resultBase, 12);
  return [
    0x02000000,
    next,
    0x422,
    0,
    0xfff86a,
    0,
    0x30009800,
    task.nextPointer ?? 0,
    bases,
    base(task.kernelBase, 0),
    ...task.records.flat(),
  ];
}

/** The text of version 8 and later: a prefix, then tasks of a stated size, 16-byte aligned. */
export function wordStream(
  tasks: readonly (readonly (readonly number[])[])[],
  headerWords: number,
): number[] {
  const words = [1, 0, 0, 0];
  tasks.forEach((records, index) => {
    const body = records.flat();
    const size = headerWords + body.length;
    words.push(
      (size << 16) | index,
      ...Array.from({ length: headerWords - 2 }, () => 0),
      0x20001,
      ...body,
    );
    while (words.length % 4 !== 0) words.push(0);
  });
  return words;
}

/** An H13 convolution of 32 to 64 channels, 3x3, over 16x8 pixels, weights on two cores. */
export function h13Convolution(): HwxPlan {
  const cores = Array.from({ length: 16 }, (_, core) => (core < 2 ? 0x81 : 0x80));
  const tileBytes = 32 * 9 * 32 * 2;
  const text = h13Task({
    sourceBase: 5,
    kernelBase: 1,
    resultBase: 4,
    records: [
      blockRecord(0x1f800, [
        0x40,
        0,
        ...cores,
        ...cores.map((_, core) => (core === 1 ? tileBytes : 0)),
        ...cores.map((_, core) => (core < 2 ? tileBytes : 0x40)),
      ]),
      blockRecord(
        0x0,
        [
          0x00080010, 1, 0x22, 32, 64, 0x00080010, 1, 0x5042a063, 0x2041, 0x00010001, 8, 0, 0,
          0x04080001, 0x100000, 0,
        ],
      ),
      blockRecord(
        0x13800,
        [0x33881, 0x8880, 0, 64, 512, 16384, 0, 0, 0, 0, 0, 0, 0, 0, 0x01002031, 0],
      ),
      blockRecord(0x4800, [0, 0x500172, 0, 0x100]),
      blockRecord(0x8800, [0, 0, 0, 0]),
      blockRecord(0xc800, [0x82, 0x111c00, 0, 0, 0x3c00]),
      blockRecord(0x17800, [0xc1, 0, 64, 512, 32768, 0, 0x01302031]),
    ],
  });
  return {
    subtype: 4,
    text,
    weights: Uint8Array.from({ length: tileBytes * 2 }, (_, index) => index & 0xff),
    tileOffsets: [0, tileBytes],
    buffers: [
      { name: "result", direction: "output", byteLength: 32768, shape: [1, 64, 8, 16] },
      { name: "image", direction: "input", byteLength: 16384, shape: [1, 32, 8, 16] },
    ],
    compiler: "zin_ane_compiler v9.9.9\n\t-t h13\n",
  };
}
