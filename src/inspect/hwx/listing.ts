import { hex } from "../byte-view.ts";
import { registerMap } from "./map/families.ts";
import type { Provenance } from "./map/types.ts";
import type {
  HwxCoverage,
  HwxExtent,
  HwxFile,
  HwxMeaning,
  HwxOperand,
  HwxTask,
  OperandPlace,
} from "./model.ts";
import {
  blockAt,
  decodeWrite,
  defaultRegisters,
  totalCoverage,
  type DecodedField,
  type DecodedRegister,
} from "./registers.ts";

/** What the listing of a compiled program has in it. */
export interface ListingOptions {
  /** Every word of every task: header fields, record headers, registers with fields, defaults. */
  readonly registers?: boolean;
  /** The cost model's time of a task in microseconds, where one is at hand. */
  readonly taskTime?: (task: HwxTask) => number;
}

/** The whole program as text, like a disassembly. Lines are at most about 120 characters, except names. */
export function hwxListing(file: HwxFile, options: ListingOptions = {}): string {
  return `${[
    ...headLines(file),
    "",
    ...bufferLines(file, options),
    ...surfaceLines(file),
    "",
    ...file.tasks.flatMap((task) => [...taskLines(file, task, options), ""]),
    ...streamLines(file),
    ...coverageLines(file),
    ...file.warnings.map((warning) => `; warning: ${warning}`),
  ].join("\n")}\n`;
}

/** `x64`, `fp16 64x1x1`: an extent as channels x height x width, depth only where it is not 1. */
export function extentText(extent: HwxExtent): string {
  const part = (value: number | null): string => (value === null ? "?" : String(value));
  const depth = extent.depth === null || extent.depth === 1 ? "" : `${extent.depth}x`;
  return `${part(extent.channels)}x${depth}${part(extent.height)}x${part(extent.width)}`;
}

/** Where an operand lives, as words. */
export function placeText(place: OperandPlace): string {
  switch (place.where) {
    case "dram": {
      const offset = place.offset === 0 ? "" : `+${hex(place.offset)}`;
      return `dram ${place.role} ${place.name}${offset} (base ${place.base})`;
    }
    case "on-chip":
      return place.address === null ? "on-chip" : `on-chip ${hex(place.address)}`;
    case "none":
      return "none";
  }
}

/** The operation of a task in one phrase: `conv 3x3 stride 2, relu`. */
export function operationText(meaning: HwxMeaning): string {
  const { kernel, detail } = meaning;
  const isProduct = kernel !== null && meaning.op !== "pool";
  const parts: string[] = [detail === null || isProduct ? meaning.op : `${meaning.op} ${detail}`];
  if (kernel !== null) {
    parts.push(`${kernel.height}x${kernel.width}`);
    if (kernel.depth > 1) parts.push(`depth ${kernel.depth}`);
    if (kernel.strideX !== 1 || kernel.strideY !== 1)
      parts.push(`stride ${kernel.strideY}x${kernel.strideX}`);
    if (kernel.padLeft !== 0 || kernel.padTop !== 0)
      parts.push(`pad ${kernel.padTop}x${kernel.padLeft}`);
    if (kernel.groups > 1) parts.push(`groups ${kernel.groups}`);
  }
  if (isProduct && detail !== null) parts.push(`(${detail})`);
  const text = parts.join(" ");
  return meaning.activation === null || meaning.op === "activation"
    ? text
    : `${text}, ${meaning.activation}`;
}

/** `12.3 %`. */
export function shareText(part: number, whole: number): string {
  return whole === 0 ? "-" : `${((100 * part) / whole).toFixed(1)} %`;
}

function headLines(file: HwxFile): string[] {
  const { target } = file;
  const version =
    target.descriptorVersion === undefined ? "unknown" : String(target.descriptorVersion);
  const compiler = /zin_ane_compiler (\S+)/.exec(file.compiler ?? "")?.[1];
  return [
    `; ${file.name}`,
    `; ${file.format === "hwx" ? "HWX program" : "ANEC container"} for ${target.chip} (${target.soc}), ` +
      `subtype ${target.subtype}, task descriptor version ${version}, ${target.encoding}`,
    `; ${file.byteLength} bytes, ${file.tasks.length} task${file.tasks.length === 1 ? "" : "s"}` +
      (compiler === undefined ? "" : `, compiler ${compiler}`) +
      `, register map ${target.family}${target.mapIsOwn ? "" : " (borrowed)"}`,
  ];
}

function bufferLines(file: HwxFile, options: ListingOptions): string[] {
  return file.programs.flatMap((program) => [
    `; program ${program.name === "" ? "(unnamed)" : program.name}: ${program.taskCount} tasks, engine mask ${hex(program.engineMask)}`,
    ...program.bases.map(
      (base) =>
        `;   base ${String(base.index).padStart(2)}  ${hex(base.address, 8)}  ${base.role.padEnd(8)} ${base.name}`,
    ),
    ...(options.registers === true
      ? program.unknownWords.map(
          ({ offset, value }) => `;   LC_THREAD +${hex(offset)}: ${hex(value)} (unknown)`,
        )
      : []),
  ]);
}

function surfaceLines(file: HwxFile): string[] {
  return file.surfaces.map(({ role, name, elementType, shape, strideBytes, byteLength }) => {
    const dims = `${shape.n}x${shape.c}x${shape.h}x${shape.w}${shape.d > 1 ? `x${shape.d}` : ""}`;
    const strides = `strides ${strideBytes.n}, ${strideBytes.c}, ${strideBytes.h}`;
    return `; ${role.padEnd(7)} ${name}: ${elementType} ${dims}, ${strides} bytes, ${byteLength} bytes`;
  });
}

function operandText(operand: HwxOperand): string {
  const parts = [operand.dtype ?? "?"];
  if (operand.extent !== null) parts.push(extentText(operand.extent));
  parts.push(placeText(operand.place));
  if (operand.strideBytes !== null) {
    const { row, channel } = operand.strideBytes;
    const stride = (value: number | null): string => (value === null ? "default" : String(value));
    parts.push(`row ${stride(row)}, plane ${stride(channel)}`);
  }
  if (operand.interleave !== null && operand.interleave > 1)
    parts.push(`interleave ${operand.interleave}`);
  if (operand.dramBytes === null) parts.push("bytes unknown");
  else if (operand.dramBytes > 0) parts.push(`${operand.dramBytes} bytes`);
  return parts.join("  ");
}

function taskLines(file: HwxFile, task: HwxTask, options: ListingOptions): string[] {
  const { meaning } = task;
  const streams = new Set(file.tasks.map((one) => one.stream)).size;
  const where = streams > 1 ? ` stream ${task.stream}` : "";
  const lines = [
    `task ${task.index}${where} @${hex(task.offset)} id ${task.taskId}, ${task.wordCount} words: ${operationText(meaning)}`,
    `    ${extentText(meaning.input)} -> ${extentText(meaning.output)}` +
      (meaning.weights === null ? "" : `, weights ${meaning.weights}`) +
      (meaning.coreCount === null
        ? ""
        : `, ${meaning.coreCount} core${meaning.coreCount === 1 ? "" : "s"}`) +
      (meaning.tileHeight === null ? "" : `, tile height ${meaning.tileHeight}`),
    ...meaning.operands.map((operand) => `    ${operand.name.padEnd(8)} ${operandText(operand)}`),
    `    ${meaning.multiplyAccumulates ?? "unknown"} multiply-accumulates, ${meaning.dramBytes ?? "unknown"} DRAM bytes` +
      (options.taskTime === undefined
        ? ""
        : `, ${options.taskTime(task).toPrecision(3)} us predicted without dispatch`),
  ];
  if (meaning.assumed.length > 0) lines.push(`    defaults assumed: ${meaning.assumed.join(", ")}`);
  lines.push(`    ${coverageText(task.coverage)}`);
  if (options.registers === true) lines.push(...registerLines(file, task));
  return lines;
}

function registerLines(file: HwxFile, task: HwxTask): string[] {
  const map = registerMap(file.target.family);
  const lines = task.headerWords.map((word, index) => {
    const fields = task.header
      .filter((field) => field.word === index)
      .map((field) => `${field.name}=${field.value > 0xffff ? hex(field.value) : field.value}`);
    return `    ${hex(task.offset + index * 4, 6)}  ${hex(word, 8)}  header[${index}]  ${fields.join(" ")}`;
  });
  let write = 0;
  for (const record of task.records) {
    const base = record.kind === "address" ? `, base ${(record.word >>> 22) & 0x7f}` : "";
    lines.push(
      `    ${hex(record.offset, 6)}  ${hex(record.word, 8)}  ${record.kind} record: ` +
        `${record.valueCount} value${record.valueCount === 1 ? "" : "s"} from ${hex(record.address)}${base}`,
    );
    for (let count = 0; count < record.valueCount; count++) {
      const value = task.writes[write++];
      if (value !== undefined)
        lines.push(writtenLine(decodeWrite(map, value), blockAt(map, value.address)));
    }
  }
  const defaults = defaultRegisters(map, task.writes);
  lines.push(`    ; ${defaults.length} registers at their defaults (values unknown):`);
  const byBlock = new Map<string, string[]>();
  for (const place of defaults) {
    byBlock.set(place.block, [...(byBlock.get(place.block) ?? []), place.name]);
  }
  for (const [block, names] of byBlock)
    lines.push(`    ;   ${block}: ${compressNames(names).join(" ")}`);
  return lines;
}

/** `A[0] A[1] A[2]` as `A[0..2]`. */
export function compressNames(names: readonly string[]): string[] {
  const out: { name: string; first: number | null; last: number }[] = [];
  for (const text of names) {
    const match = /^(.*)\[(\d+)\]$/.exec(text);
    const name = match?.[1] ?? text;
    const index = match === null ? null : Number(match[2]);
    const previous = out.at(-1);
    if (
      index !== null &&
      previous?.name === name &&
      previous.first !== null &&
      previous.last === index - 1
    ) {
      previous.last = index;
    } else out.push({ name, first: index, last: index ?? 0 });
  }
  return out.map(({ name, first, last }) =>
    first === null ? name : first === last ? `${name}[${first}]` : `${name}[${first}..${last}]`,
  );
}

const SOURCE_MARKS = { sample: "s", documented: "d", inferred: "i" } as const;

function writtenLine(register: DecodedRegister, block: string | undefined): string {
  const { write, place } = register;
  const head = `    ${hex(write.offset, 6)}  ${hex(write.value, 8)}  ${hex(write.address, 5).padEnd(8)}`;
  if (place === undefined) {
    return `${head}- ${block === undefined ? "outside every block" : `${block}.?`}  raw ${hex(write.value)}`;
  }
  const fields = register.fields.map((field) => fieldText(field, place.source));
  if (register.unknownBits !== 0) fields.push(`unknown bits ${hex(register.unknownBits)}`);
  if (write.base !== undefined) fields.push(`+ address of base ${write.base}`);
  return `${head}${SOURCE_MARKS[place.source]} ${place.block}.${place.name}  ${fields.join(" ")}`.trimEnd();
}

/** `Name=raw (meaning)`; a name of which only the place is inferred carries a question mark. */
function fieldText(field: DecodedField, rowSource: Provenance): string {
  const { place, raw, meaning } = field;
  const name = place.source === rowSource ? place.name : `${place.name}?`;
  const value = Number.isInteger(meaning.value)
    ? String(meaning.value)
    : meaning.value.toPrecision(6);
  const unit =
    meaning.code ?? (meaning.unit === undefined ? undefined : `${value} ${meaning.unit}`);
  return unit === undefined
    ? `${name}=${raw > 0xffff ? hex(raw) : raw}`
    : `${name}=${raw} (${unit})`;
}
function coverageText(coverage: HwxCoverage): string {
  const registers = coverage.writtenWords + coverage.defaultRegisters;
  return (
    `${coverage.writtenWords} registers written: ${coverage.namedWords} named ` +
    `(${shareText(coverage.namedWords, coverage.writtenWords)}), ${coverage.unknownWords} unknown; ` +
    `${coverage.defaultRegisters} of ${registers} at their defaults`
  );
}

function streamLines(file: HwxFile): string[] {
  return file.stream
    .filter((part) => part.kind === "unclaimed" || part.kind === "prefix")
    .map((part) => `; ${part.kind} @${hex(part.offset)}: ${part.wordCount} words`);
}

/** The shares of named, default and unknown words of the whole file. */
function coverageLines(file: HwxFile): string[] {
  const total = totalCoverage(file.tasks.map((task) => task.coverage));
  const all = total.writtenWords + total.defaultRegisters;
  const streamWords = file.stream.reduce((sum, part) => sum + part.wordCount, 0);
  const unclaimed = file.stream
    .filter((part) => part.kind === "unclaimed")
    .reduce((sum, part) => sum + part.wordCount, 0);
  const unknownBytes = file.layout
    .filter((part) => !part.accounted)
    .reduce((sum, part) => sum + part.byteLength, 0);
  return [
    `; stream: ${streamWords} words = ${total.wordCount} in tasks (${total.headerWords} header, ` +
      `${total.recordWords} record headers, ${total.writtenWords} values) + ` +
      `${streamWords - total.wordCount - unclaimed} padding and prefix + ${unclaimed} unclaimed`,
    `; written words: ${shareText(total.namedWords, total.writtenWords)} named ` +
      `(${total.bySource.sample} sample, ${total.bySource.documented} documented, ${total.bySource.inferred} inferred), ` +
      `${shareText(total.unknownWords, total.writtenWords)} unknown; ${total.unknownBitWords} named words have unknown bits`,
    `; all registers of the map: ${shareText(total.namedWords, all)} named, ` +
      `${shareText(total.defaultRegisters, all)} default, ${shareText(total.unknownWords, all)} unknown`,
    `; file: ${file.byteLength} bytes, ${unknownBytes} of them unknown`,
    "; marks: s seen in a sample, d documented, i inferred, - not in the map; a field with ? is inferred",
  ];
}
