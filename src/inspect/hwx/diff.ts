import { compressNames, extentText, operationText, placeText } from "./listing.ts";
import { hex } from "../byte-view.ts";
import { registerMap } from "./map/families.ts";
import type { HwxFile, HwxTask } from "./model.ts";
import { decodeWrite } from "./registers.ts";
import { commonPlaces } from "../alignment.ts";
import { sectionsOf } from "./model.ts";

/** One thing that differs; null where a side has nothing to say, such as a register left at its default. */
export interface Difference {
  readonly name: string;
  readonly a: string | null;
  readonly b: string | null;
}

/** Two tasks that correspond, or one without a counterpart. */
export interface TaskPair {
  /** Index of the task in each file; null where the other file has no counterpart. */
  readonly a: number | null;
  readonly b: number | null;
  readonly title: string;
  readonly meaning: readonly Difference[];
  readonly registers: readonly Difference[];
}

/** What two compiled programs differ in. */
export interface HwxDiff {
  readonly a: string;
  readonly b: string;
  readonly file: readonly Difference[];
  readonly tasks: readonly TaskPair[];
  /** Tasks alike in meaning and in every register. */
  readonly equalTasks: number;
}

/** Pairs of tasks compared one by one at most; longer programs are paired in order. */
const ALIGN_LIMIT = 4_000_000;

/**
 * Compares two programs, also of different compilers or chips: first by meaning, then by register. Tasks are
 * aligned by what they compute, so one inserted task does not make all later ones differ.
 */
export function diffHwx(a: HwxFile, b: HwxFile): HwxDiff {
  const pairs = align(a.tasks, b.tasks);
  const tasks = pairs.map(([left, right]) => compareTasks(a, b, left, right));
  return {
    a: a.name,
    b: b.name,
    file: differences(fileFacts(a), fileFacts(b)),
    tasks: tasks.filter((pair) => !isEqual(pair)),
    equalTasks: tasks.filter(isEqual).length,
  };
}

function isEqual({ a, b, meaning, registers }: TaskPair): boolean {
  return a !== null && b !== null && meaning.length + registers.length === 0;
}

function fileFacts(file: HwxFile): Map<string, string> {
  const facts = new Map<string, string>([
    ["container", file.format],
    ["chip", `${file.target.chip} (${file.target.soc})`],
    ["task descriptor version", String(file.target.descriptorVersion ?? "unknown")],
    ["compiler", /zin_ane_compiler (\S+)/.exec(file.compiler ?? "")?.[1] ?? "unknown"],
    ["bytes", String(file.byteLength)],
    ["tasks", String(file.tasks.length)],
    ["multiply-accumulates", total(file, (task) => task.meaning.multiplyAccumulates)],
    ["DRAM bytes", total(file, (task) => task.meaning.dramBytes)],
  ]);
  for (const section of sectionsOf(file)) {
    if (section.segment === "__FVMLIB") continue;
    facts.set(`section ${section.segment},${section.name}`, `${section.byteLength} bytes`);
  }
  for (const { role, name, elementType, shape, strideBytes } of file.surfaces) {
    facts.set(
      `${role} ${name}`,
      `${elementType} ${shape.n}x${shape.c}x${shape.h}x${shape.w}x${shape.d}, strides ${strideBytes.n}, ${strideBytes.c}, ${strideBytes.h}`,
    );
  }
  const flags = (file.compiler ?? "").split("\n").map((line) => line.trim());
  for (const flag of flags.filter((line) => line.startsWith("-"))) {
    const [name = flag, ...rest] = flag.split(/[= ]/);
    facts.set(`compiler ${name}`, rest.join("=") || "given");
  }
  return facts;
}

function total(file: HwxFile, count: (task: HwxTask) => number | null): string {
  const counts = file.tasks.map(count);
  const sum = counts.reduce<number>((all, one) => all + (one ?? 0), 0);
  return counts.some((one) => one === null) ? `at least ${sum}` : String(sum);
}

function differences(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): Difference[] {
  const names = [...new Set([...a.keys(), ...b.keys()])];
  return names
    .filter((name) => a.get(name) !== b.get(name))
    .map((name) => ({ name, a: a.get(name) ?? null, b: b.get(name) ?? null }));
}

/** Longest common sequence of like tasks; runs between them are paired in order. */
function align(
  a: readonly HwxTask[],
  b: readonly HwxTask[],
): [HwxTask | undefined, HwxTask | undefined][] {
  const pairs: [HwxTask | undefined, HwxTask | undefined][] = [];
  const pairInOrder = (left: readonly HwxTask[], right: readonly HwxTask[]): void => {
    for (let index = 0; index < Math.max(left.length, right.length); index++) {
      pairs.push([left[index], right[index]]);
    }
  };
  if (a.length * b.length > ALIGN_LIMIT) {
    pairInOrder(a, b);
    return pairs;
  }
  let [fromA, fromB] = [0, 0];
  for (const [i, j] of commonPlaces(a.map(keyOf), b.map(keyOf))) {
    pairInOrder(a.slice(fromA, i), b.slice(fromB, j));
    pairs.push([a[i], b[j]]);
    [fromA, fromB] = [i + 1, j + 1];
  }
  pairInOrder(a.slice(fromA), b.slice(fromB));
  return pairs;
}

function keyOf(task: HwxTask): string {
  const { meaning } = task;
  return `${operationText(meaning)} ${extentText(meaning.input)} ${extentText(meaning.output)}`;
}

function compareTasks(
  fileA: HwxFile,
  fileB: HwxFile,
  a: HwxTask | undefined,
  b: HwxTask | undefined,
): TaskPair {
  const shown = a ?? b;
  const title = shown === undefined ? "" : operationText(shown.meaning);
  if (a === undefined || b === undefined) {
    return { a: a?.index ?? null, b: b?.index ?? null, title, meaning: [], registers: [] };
  }
  return {
    a: a.index,
    b: b.index,
    title,
    meaning: differences(meaningFacts(a), meaningFacts(b)),
    registers: differences(registerFacts(fileA, a), registerFacts(fileB, b)),
  };
}

function meaningFacts(task: HwxTask): Map<string, string> {
  const { meaning } = task;
  const facts = new Map<string, string>([
    ["operation", operationText(meaning)],
    ["input", extentText(meaning.input)],
    ["output", extentText(meaning.output)],
    ["weights", meaning.weights ?? "none"],
    ["cores", String(meaning.coreCount ?? "default")],
    ["tile height", String(meaning.tileHeight ?? "default")],
    ["multiply-accumulates", String(meaning.multiplyAccumulates ?? "unknown")],
    ["DRAM bytes", String(meaning.dramBytes ?? "unknown")],
  ]);
  for (const operand of meaning.operands) {
    facts.set(`${operand.name} dtype`, operand.dtype ?? "unknown");
    facts.set(`${operand.name} place`, placeText(operand.place).replace(/ \(base \d+\)$/, ""));
    facts.set(
      `${operand.name} strides`,
      operand.strideBytes === null
        ? "none"
        : `${operand.strideBytes.row ?? "default"}, ${operand.strideBytes.channel ?? "default"}`,
    );
  }
  return facts;
}

/**
 * Written fields by `Block.Register.Field`. Two chips name many registers alike; a register that only one of them
 * has, or that one leaves at its default, has null on the other side.
 */
function registerFacts(file: HwxFile, task: HwxTask): Map<string, string> {
  const map = registerMap(file.target.family);
  const facts = new Map<string, string>();
  for (const field of task.header) {
    if (field.name !== "NextPointer" && field.name !== "Size")
      facts.set(`header.${field.name}`, text(field.value));
  }
  for (const write of task.writes) {
    const register = decodeWrite(map, write);
    const name =
      register.place === undefined
        ? `register ${hex(write.address)}`
        : `${register.place.block}.${register.place.name}`;
    if (register.fields.length === 0) facts.set(name, hex(write.value));
    for (const { place, raw, meaning } of register.fields) {
      facts.set(
        `${name}.${place.name}`,
        meaning.code === undefined ? text(raw) : `${raw} (${meaning.code})`,
      );
    }
    if (register.unknownBits !== 0 && register.fields.length > 0)
      facts.set(`${name}.unknown bits`, hex(register.unknownBits));
    if (write.base !== undefined) facts.set(`${name}.base`, String(write.base));
  }
  return facts;
}

function text(value: number): string {
  return value > 0xffff ? hex(value) : String(value);
}

/** The comparison as text: what differs in meaning first, registers behind it. */
export function hwxDiffText(diff: HwxDiff, options: { readonly registers?: boolean } = {}): string {
  const side = (value: string | null): string => value ?? "(default or absent)";
  const line = (indent: string, one: Difference): string =>
    `${indent}${one.name}: ${side(one.a)} -> ${side(one.b)}`;
  const lines = [`a: ${diff.a}`, `b: ${diff.b}`, ...diff.file.map((one) => line("  ", one)), ""];
  for (const pair of diff.tasks) {
    if (pair.a === null) lines.push(`task b${pair.b} only in b: ${pair.title}`);
    else if (pair.b === null) lines.push(`task a${pair.a} only in a: ${pair.title}`);
    else {
      lines.push(`task a${pair.a} / b${pair.b}: ${pair.title}`);
      lines.push(pair.meaning.length === 0 ? "    same meaning" : "    meaning:");
      lines.push(...pair.meaning.map((one) => line("      ", one)));
      lines.push(...registerDiffLines(pair, options.registers !== false));
    }
  }
  const same = diff.file.length === 0 && diff.tasks.length === 0;
  lines.push(same ? "no difference in meaning or registers" : `${diff.equalTasks} tasks are alike`);
  return `${lines.join("\n")}\n`;
}

function registerDiffLines(pair: TaskPair, all: boolean): string[] {
  const both = pair.registers.filter((one) => one.a !== null && one.b !== null);
  const lines = pair.registers.length === 0 ? ["    same registers"] : [];
  if (both.length > 0) lines.push(`    registers (${both.length} fields differ):`);
  if (all) lines.push(...both.map((one) => `      ${one.name}: ${one.a} -> ${one.b}`));
  for (const side of ["a", "b"] as const) {
    const only = pair.registers.filter((one) => one[side === "a" ? "b" : "a"] === null);
    if (only.length === 0) continue;
    const names = compressNames([...new Set(only.map((one) => one.name.replace(/\.[^.]*$/, "")))]);
    lines.push(
      `    only ${side} writes (the other has no such register, or its default): ${names.join(" ")}`,
    );
  }
  return lines;
}
