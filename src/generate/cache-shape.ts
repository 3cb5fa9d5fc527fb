import type { LoadedPlan } from "../engine/engine.ts";
import type { Model } from "../model/index.ts";
import { decodeBuffers } from "./decode-plan.ts";
import type { DecodeSection } from "./decode-plan.ts";
import { GenerateError } from "./errors.ts";
import type { KnownRopeRows } from "./rope-rows.ts";
import { copyNumbers } from "./sequence.ts";
import type { LayerRows, RowPlace, Sequence } from "./sequence.ts";

/** What is added to the score of a cache position without a row. */
const NOT_VISIBLE = -1e9;

/** A place for one sequence. */
interface Slot {
  readonly place: RowPlace;
  /** Whoever took it last, perhaps gone by now. */
  occupant: Sequence | undefined;
  /** Positions that the mask shows. */
  shown: number;
  /** Positions that hold rows, its occupant's or others'. */
  filled: number;
}

/** Sequences that run together, and positions of their caches. */
export interface ShapeSize {
  readonly batchSize: number;
  readonly bucket: number;
  /** Logits of every row of a prompt are wanted, of one sequence. */
  readonly everyRow?: boolean;
  /** For one sequence with a short prompt: a plan without the sections of longer ones. */
  readonly isShort?: boolean;
}

/** A row that a sequence is continued by. */
export interface NextToken {
  readonly sequence: Sequence;
  readonly token: number;
}

/**
 * A loaded decoding plan of B slots with caches of T positions. Sequences take slots for a run; one that comes back
 * unchanged finds its rows there.
 */
export class CacheShape {
  readonly batchSize: number;
  readonly bucket: number;
  readonly plan: LoadedPlan;
  readonly #model: Model;
  readonly #ropeRows: KnownRopeRows;
  readonly #slots: readonly Slot[];
  readonly #layers: readonly LayerRows[];
  /** What the last run of a section wrote, by layer. */
  readonly #rows = new Map<DecodeSection, readonly LayerRows[]>();
  /** Rows that a row sees in layers with a sliding window. */
  readonly #windowLength: number | undefined;
  readonly #givesEveryRow: boolean;

  constructor(
    plan: LoadedPlan,
    { model, ropeRows }: { readonly model: Model; readonly ropeRows: KnownRopeRows },
    { batchSize, bucket, everyRow = false }: ShapeSize,
  ) {
    this.plan = plan;
    this.#givesEveryRow = everyRow;
    this.#model = model;
    this.#ropeRows = ropeRows;
    this.batchSize = batchSize;
    this.bucket = bucket;
    const { config } = model;
    this.#windowLength = config.family === "gpt2" ? undefined : config.window?.length;
    this.#floats(decodeBuffers.mask).fill(NOT_VISIBLE);
    this.#layers = model.parameters.blocks.map((_, layer) => ({
      keys: this.#floats(decodeBuffers.keyCache(layer)),
      values: this.#floats(decodeBuffers.valueCache(layer)),
    }));
    const slotSize = config.keyValueHeadCount * bucket * config.headSize;
    this.#slots = Array.from({ length: batchSize }, (_, slot) => ({
      place: { layers: this.#layers, start: slot * slotSize, rowCount: bucket },
      ...{ occupant: undefined, shown: 0, filled: 0 },
    }));
  }

  /** Bytes of the caches. */
  get byteLength(): number {
    return this.#layers.reduce((sum, { keys }) => sum + 2 * keys.byteLength, 0);
  }

  /**
   * Runs a section of a plan of one sequence over tokens that follow it; its logits, [V] of the last token or [R, V] of
   * every row, stay valid until the next run.
   */
  async append(
    section: DecodeSection,
    rowCount: number,
    sequence: Sequence,
    tokens: readonly number[],
  ): Promise<Float32Array> {
    this.#seat(0, sequence);
    const { plan } = this;
    const ids = plan.view(decodeBuffers.tokens(section));
    ids.fill(0);
    ids.set(tokens);
    this.#writePositions(section, 0, rowCount, sequence.length);
    if (!this.#givesEveryRow) plan.view(decodeBuffers.row(section)).fill(tokens.length - 1);
    await plan.run(section);
    this.#take(section, 0, rowCount, sequence, tokens.length);
    return this.#floats(decodeBuffers.logits);
  }

  /** Continues up to B sequences by a token each; the logits [V] of each stay valid until the next run. */
  async step(entries: readonly NextToken[]): Promise<readonly Float32Array[]> {
    const slots = this.#slotsFor(entries);
    for (const index of this.#slots.keys()) if (!slots.includes(index)) this.#show(index, 0);
    const ids = this.plan.view(decodeBuffers.tokens("decode"));
    ids.fill(0);
    for (const [index, { sequence, token }] of entries.entries()) {
      const slot = slots[index] ?? 0;
      this.#seat(slot, sequence);
      ids[slot] = token;
      this.#writePositions("decode", slot, 1, sequence.length);
    }
    await this.plan.run("decode");
    const logits = this.#floats(decodeBuffers.logits);
    const { vocabularySize } = this.#model.config;
    return entries.map(({ sequence }, index) => {
      const slot = slots[index] ?? 0;
      this.#take("decode", slot, 1, sequence, 1);
      return logits.subarray(slot * vocabularySize, (slot + 1) * vocabularySize);
    });
  }

  async close(): Promise<void> {
    for (const slot of this.#slots) this.#vacate(slot);
    await this.plan.close();
  }

  /** Where each sequence sits: where its rows stand, or else in a slot that none of the others has. */
  #slotsFor(entries: readonly NextToken[]): readonly number[] {
    const wanted = new Set(entries.map(({ sequence }) => sequence));
    const placed = new Map<Sequence, number>();
    const empty: number[] = [];
    const taken: number[] = [];
    for (const [index, slot] of this.#slots.entries()) {
      const occupant = occupantOf(slot);
      if (occupant === undefined) empty.push(index);
      else if (wanted.has(occupant)) placed.set(occupant, index);
      else taken.push(index);
    }
    const free = [...empty, ...taken];
    return entries.map(({ sequence }) => placed.get(sequence) ?? free.shift() ?? 0);
  }

  /** Copies a sequence's rows into a slot, unless they stand there. */
  #seat(index: number, sequence: Sequence): void {
    const slot = this.#slots[index];
    if (slot === undefined) return;
    const { length } = sequence;
    if (sequence.capacity !== this.bucket)
      throw new GenerateError(
        "generate.capacity",
        `a cache of ${sequence.capacity} positions does not sit in one of ${this.bucket}`,
      );
    if (sequence.place !== slot.place) {
      this.#vacate(slot);
      sequence.moveTo(slot.place);
      slot.occupant = sequence;
      this.#clear(slot, length);
    }
    this.#show(index, length);
  }

  /** The mask shows the first positions of a slot; of one that nobody sits in none, so that none is read. */
  #show(index: number, length: number): void {
    const slot = this.#slots[index];
    if (slot === undefined || slot.shown === length) return;
    const mask = this.#maskOf(index);
    mask.fill(0, 0, length);
    mask.fill(NOT_VISIBLE, length);
    slot.shown = length;
  }

  /** Whoever stands in a slot takes its rows away. */
  #vacate(slot: Slot): void {
    occupantOf(slot)?.leave();
    slot.occupant = undefined;
  }

  /** Zeros behind the rows: what others left may be no numbers, which a mask does not hide. */
  #clear(slot: Slot, length: number): void {
    const { keyValueHeadCount, headSize } = this.#model.config;
    const { start } = slot.place;
    for (const { keys, values } of slot.filled > length ? this.#layers : []) {
      for (let head = 0; head < keyValueHeadCount; head++) {
        const first = start + head * this.bucket * headSize;
        keys.fill(0, first + length * headSize, first + slot.filled * headSize);
        values.fill(0, first + length * headSize, first + slot.filled * headSize);
      }
    }
    slot.filled = length;
  }

  /** Takes the new rows of a run into the slot's cache. */
  #take(
    section: DecodeSection,
    index: number,
    rowCount: number,
    sequence: Sequence,
    count: number,
  ): void {
    const slot = this.#slots[index];
    if (slot === undefined) return;
    const { keyValueHeadCount, headSize } = this.#model.config;
    const { length } = sequence;
    const size = count * headSize;
    for (const [layer, { keys, values }] of this.#layers.entries()) {
      const { keys: newKeys, values: newValues } = this.#newRows(section, layer);
      for (let head = 0; head < keyValueHeadCount; head++) {
        const from = (index * keyValueHeadCount + head) * rowCount * headSize;
        const to = slot.place.start + (head * this.bucket + length) * headSize;
        copyNumbers(newKeys, from, keys, to, size);
        copyNumbers(newValues, from, values, to, size);
      }
    }
    this.#maskOf(index).fill(0, length, length + count);
    sequence.advance(count);
    slot.shown = sequence.length;
    slot.filled = Math.max(slot.filled, sequence.length);
  }

  #newRows(section: DecodeSection, layer: number): LayerRows {
    const known = this.#rows.get(section)?.[layer];
    if (known !== undefined) return known;
    const rows = this.#layers.map((_, index) => ({
      keys: this.#floats(decodeBuffers.newKeys(section, index)),
      values: this.#floats(decodeBuffers.newValues(section, index)),
    }));
    this.#rows.set(section, rows);
    return rows[layer] ?? { keys: new Float32Array(), values: new Float32Array() };
  }

  #writePositions(section: DecodeSection, slot: number, rowCount: number, first: number): void {
    const { config, positions } = this.#model;
    const start = slot * rowCount;
    switch (positions) {
      case "learned": {
        const ids = this.plan.view(decodeBuffers.positions(section));
        for (let row = 0; row < rowCount; row++)
          ids[start + row] = Math.min(first + row, config.contextLength - 1);
        return;
      }
      case "rope": {
        const at = start * config.headSize;
        for (const { prefix, settings } of this.#model.ropes) {
          const { cosines, signedSines } = this.#ropeRows.rows(settings, first, rowCount);
          this.#floats(decodeBuffers.cosines(section, prefix)).set(cosines, at);
          this.#floats(decodeBuffers.signedSines(section, prefix)).set(signedSines, at);
        }
        this.#writeWindow(section, slot, rowCount, first);
      }
    }
  }

  /** Which cached positions each new row sees, in layers with a sliding window. */
  #writeWindow(section: DecodeSection, slot: number, rowCount: number, first: number): void {
    const length = this.#windowLength;
    if (length === undefined) return;
    const mask = this.#floats(decodeBuffers.windowMask(section));
    for (let row = 0; row < rowCount; row++) {
      const start = (slot * rowCount + row) * this.bucket;
      const seen = Math.min(first, Math.max(0, first + row - length + 1));
      mask.fill(NOT_VISIBLE, start, start + this.bucket);
      mask.fill(0, start + seen, start + first);
    }
  }

  #maskOf(slot: number): Float32Array {
    const mask = this.#floats(decodeBuffers.mask);
    return mask.subarray(slot * this.bucket, (slot + 1) * this.bucket);
  }

  #floats(name: string): Float32Array {
    const view = this.plan.view(name);
    if (view instanceof Float32Array) return view;
    throw new GenerateError("generate.buffer", `buffer "${name}" does not hold fp32 numbers`);
  }
}

/** Whose rows stand in a slot. */
function occupantOf({ occupant, place }: Slot): Sequence | undefined {
  return occupant?.place === place ? occupant : undefined;
}
