import { registerMap } from "./map/families.ts";
import type { HwxFile, HwxTask } from "./model.ts";
import { blockAt, decodeWrite, defaultRegisters, totalCoverage } from "./registers.ts";
import type { FieldMeaning } from "./field-meaning.ts";

/** What the JSON of a compiled program has in it. */
export interface JsonOptions {
  /** Adds the raw words of every task: header, records, written values with their offsets. */
  readonly registers?: boolean;
  /** The cost model's time of a task in microseconds, where one is at hand. */
  readonly taskTime?: (task: HwxTask) => number;
}

/** A value for `JSON.stringify`; the shape is described in docs/hwx.md and stays stable. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue | undefined };

/**
 * The program as JSON: `{ "format": "hwx", "chip": …, "tasks": [{ "op": …, "registers": … }] }`. A register that a
 * task does not write is listed under `defaults` and has no value.
 */
export function hwxToJson(file: HwxFile, options: JsonOptions = {}): JsonValue {
  return {
    format: file.format,
    chip: file.target.chip,
    soc: file.target.soc,
    subtype: file.target.subtype,
    descriptorVersion: file.target.descriptorVersion ?? null,
    encoding: file.target.encoding,
    registerMap: { family: file.target.family, own: file.target.mapIsOwn },
    name: file.name,
    byteLength: file.byteLength,
    compiler: file.compiler,
    header: plain(file.header),
    segments: plain(file.segments),
    programs: plain(file.programs),
    surfaces: plain(file.surfaces),
    regions: plain(file.regions),
    symbols: plain(file.symbols),
    relocations: plain(file.relocations),
    notes: plain(file.notes),
    tasks: file.tasks.map((task) => taskToJson(file, task, options)),
    coverage: coverageToJson(file),
    layout: plain(file.layout),
    warnings: file.warnings,
  };
}

function taskToJson(file: HwxFile, task: HwxTask, options: JsonOptions): JsonValue {
  const { meaning } = task;
  return {
    index: task.index,
    stream: task.stream,
    id: task.taskId,
    offset: task.offset,
    words: task.wordCount,
    op: meaning.op,
    detail: meaning.detail,
    activation: meaning.activation,
    kernel: plain(meaning.kernel),
    weights: meaning.weights,
    input: plain(meaning.input),
    output: plain(meaning.output),
    tileHeight: meaning.tileHeight,
    cores: meaning.coreCount,
    operands: plain(meaning.operands),
    multiplyAccumulates: meaning.multiplyAccumulates,
    dramBytes: meaning.dramBytes,
    ...(options.taskTime === undefined ? {} : { predictedUs: options.taskTime(task) }),
    assumed: meaning.assumed,
    coverage: plain(task.coverage),
    header: Object.fromEntries(task.header.map((field) => [field.name, field.value])),
    registers: registersToJson(file, task),
    defaults: defaultsToJson(file, task),
    ...(options.registers === true
      ? {
          words32: {
            header: task.headerWords,
            records: plain(task.records),
            writes: plain(task.writes),
          },
        }
      : {}),
  };
}

function registersToJson(file: HwxFile, task: HwxTask): JsonValue {
  const map = registerMap(file.target.family);
  const blocks: Record<string, Record<string, JsonValue>> = {};
  for (const write of task.writes) {
    const register = decodeWrite(map, write);
    const block = register.place?.block ?? blockAt(map, write.address) ?? "unknown";
    const name = register.place?.name ?? `0x${write.address.toString(16)}`;
    const registers = (blocks[block] ??= {});
    registers[name] = {
      address: write.address,
      value: write.value,
      source: register.place?.source ?? "unknown",
      ...(write.base === undefined ? {} : { base: write.base }),
      ...(register.fields.length === 0
        ? {}
        : {
            fields: Object.fromEntries(
              register.fields.map(({ place, raw, meaning }) => [
                place.name,
                { raw, source: place.source, ...finite(meaning) },
              ]),
            ),
          }),
      ...(register.unknownBits === 0 ? {} : { unknownBits: register.unknownBits }),
    };
  }
  return blocks;
}

/** JSON has no NaN and no infinity: such a value is given as text. */
function finite(meaning: FieldMeaning): Readonly<Record<string, JsonValue>> {
  return {
    ...meaning,
    value: Number.isFinite(meaning.value) ? meaning.value : String(meaning.value),
  };
}

function defaultsToJson(file: HwxFile, task: HwxTask): JsonValue {
  const map = registerMap(file.target.family);
  const blocks: Record<string, string[]> = {};
  for (const place of defaultRegisters(map, task.writes))
    (blocks[place.block] ??= []).push(place.name);
  return blocks;
}

function coverageToJson(file: HwxFile): JsonValue {
  const total = totalCoverage(file.tasks.map((task) => task.coverage));
  const words = (kind: string): number =>
    file.stream.filter((part) => part.kind === kind).reduce((sum, part) => sum + part.wordCount, 0);
  const all = total.writtenWords + total.defaultRegisters;
  const share = (part: number, whole: number): number | null => (whole === 0 ? null : part / whole);
  return {
    ...plainRecord(total),
    paddingWords: words("padding"),
    prefixWords: words("prefix"),
    unclaimedWords: words("unclaimed"),
    namedShareOfWritten: share(total.namedWords, total.writtenWords),
    namedShare: share(total.namedWords, all),
    defaultShare: share(total.defaultRegisters, all),
    unknownShare: share(total.unknownWords, all),
    unknownBytes: file.layout
      .filter((part) => !part.accounted)
      .reduce((sum, part) => sum + part.byteLength, 0),
  };
}

/** The model holds plain data only, which the compiler cannot see through `readonly` interfaces. */
function plain(value: unknown): JsonValue {
  return value as JsonValue;
}

function plainRecord(value: object): { readonly [key: string]: JsonValue } {
  return value as { readonly [key: string]: JsonValue };
}
