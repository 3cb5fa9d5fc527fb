import { fieldMeaning, type FieldMeaning } from "./field-meaning.ts";
import { fieldValue } from "./map/families.ts";
import type { FieldPlace, Provenance, RegisterMap, RegisterPlace } from "./map/types.ts";
import type { HwxCoverage, HwxWrite } from "./model.ts";
import type { RawTask } from "./task-stream.ts";

/** A written register with its names, or without them where the map has none. */
export interface DecodedRegister {
  readonly write: HwxWrite;
  /** Undefined for an address the map does not name. */
  readonly place: RegisterPlace | undefined;
  readonly fields: readonly DecodedField[];
  /** Bits that are set and that no field covers. */
  readonly unknownBits: number;
}

export interface DecodedField {
  readonly place: FieldPlace;
  readonly raw: number;
  readonly meaning: FieldMeaning;
}

/** Names one written value. */
export function decodeWrite(map: RegisterMap, write: HwxWrite): DecodedRegister {
  const place = map.byAddress.get(write.address);
  if (place === undefined) return { write, place, fields: [], unknownBits: write.value };
  return {
    write,
    place,
    fields: place.fields.map((field) => {
      const raw = fieldValue(field, write.value);
      return { place: field, raw, meaning: fieldMeaning(place, field, raw) };
    }),
    unknownBits: (write.value & place.unknownBits) >>> 0,
  };
}

/** The block whose address range holds a register, named or not. */
export function blockAt(map: RegisterMap, address: number): string | undefined {
  return map.blocks.find(
    (block) => address >= block.base && address < block.base + block.wordCount * 4,
  )?.block;
}

/** The registers of the map that a task does not write: they keep the hardware's defaults. */
export function defaultRegisters(map: RegisterMap, writes: readonly HwxWrite[]): RegisterPlace[] {
  const written = new Set(writes.map((write) => write.address));
  return [...map.byAddress.values()].filter((place) => !written.has(place.address));
}

/** Counts what of a task is named; `carries a field` is what makes a word named. */
export function taskCoverage(map: RegisterMap, task: RawTask): HwxCoverage {
  const bySource: Record<Provenance, number> = { sample: 0, documented: 0, inferred: 0 };
  let namedWords = 0;
  let unknownBitWords = 0;
  for (const write of task.writes) {
    const place = map.byAddress.get(write.address);
    if (place === undefined || place.fields.length === 0) continue;
    namedWords++;
    bySource[place.source]++;
    if ((write.value & place.unknownBits) !== 0) unknownBitWords++;
  }
  return {
    wordCount: task.wordCount,
    headerWords: task.headerWords.length,
    recordWords: task.records.length,
    writtenWords: task.writes.length,
    namedWords,
    unknownWords: task.writes.length - namedWords,
    unknownBitWords,
    defaultRegisters: defaultRegisters(map, task.writes).length,
    bySource,
  };
}

/** The sum over tasks. */
export function totalCoverage(parts: readonly HwxCoverage[]): HwxCoverage {
  const sum = (count: (part: HwxCoverage) => number): number =>
    parts.reduce((total, part) => total + count(part), 0);
  return {
    wordCount: sum((part) => part.wordCount),
    headerWords: sum((part) => part.headerWords),
    recordWords: sum((part) => part.recordWords),
    writtenWords: sum((part) => part.writtenWords),
    namedWords: sum((part) => part.namedWords),
    unknownWords: sum((part) => part.unknownWords),
    unknownBitWords: sum((part) => part.unknownBitWords),
    defaultRegisters: sum((part) => part.defaultRegisters),
    bySource: {
      sample: sum(({ bySource }) => bySource.sample),
      documented: sum(({ bySource }) => bySource.documented),
      inferred: sum(({ bySource }) => bySource.inferred),
    },
  };
}

/**
 * The state a task leaves in the registers it writes, with lookup by alternatives of a field's name: each
 * generation names the same thing a little differently.
 */
export class RegisterState {
  readonly #map: RegisterMap;
  readonly #values = new Map<number, number>();

  constructor(map: RegisterMap, writes: readonly HwxWrite[]) {
    this.#map = map;
    for (const write of writes) this.#values.set(write.address, write.value);
  }

  /** The first alternative (`Block.Register.Field`) the map has, and its raw bits; null when unwritten. */
  #find(alternatives: readonly string[]): { field: FieldPlace; raw: number | null } | undefined {
    for (const name of alternatives) {
      const cut = name.lastIndexOf(".");
      const place = this.#map.byName.get(name.slice(0, cut));
      const field = place?.fields.find((one) => one.name === name.slice(cut + 1));
      if (place === undefined || field === undefined) continue;
      const word = this.#values.get(place.address);
      return { field, raw: word === undefined ? null : fieldValue(field, word) };
    }
    return undefined;
  }

  /** The raw bits of a field; null when unwritten. */
  field(alternatives: readonly string[]): number | null {
    return this.#find(alternatives)?.raw ?? null;
  }

  /** A field in its place's unit: addresses, strides and sizes in bytes. Null when unwritten. */
  bytes(alternatives: readonly string[]): number | null {
    const { field, raw = null } = this.#find(alternatives) ?? {};
    return field === undefined || raw === null ? null : raw * 2 ** field.low;
  }

  /** The whole word of the first alternative (`Block.Register`) the map has; null when unwritten. */
  word(alternatives: readonly string[]): number | null {
    for (const name of alternatives) {
      const place = this.#map.byName.get(name);
      if (place !== undefined) return this.#values.get(place.address) ?? null;
    }
    return null;
  }

  /** Whether the map has any of the registers (`Block.Register`) at all. */
  has(alternatives: readonly string[]): boolean {
    return alternatives.some((name) => this.#map.byName.has(name));
  }

  /** Whether a field is left at the hardware's default: the map has it and the task does not write it. */
  isDefault(alternatives: readonly string[]): boolean {
    const registers = alternatives.map((name) => name.slice(0, name.lastIndexOf(".")));
    return this.has(registers) && this.word(registers) === null;
  }
}
