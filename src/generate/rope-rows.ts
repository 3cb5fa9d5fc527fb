import { ropeTables } from "../model/index.ts";
import type { RopeSettings, RopeTables } from "../model/index.ts";

/** Positions whose rows are made at once. */
const BLOCK_ROWS = 64;
/** Rows that are kept, of all ropes: 8 MiB for heads of 128 channels. */
const MOST_ROWS = 8192;

/** Rows of rope tables that are asked for again and again: every text goes through the same positions. */
export class KnownRopeRows {
  /** Texts that the frequencies are for, in tokens. */
  readonly #sequenceLength: number;
  /** By rope and block of positions. */
  readonly #blocks = new Map<RopeSettings, Map<number, RopeTables>>();
  #count = 0;

  constructor(sequenceLength: number) {
    this.#sequenceLength = sequenceLength;
  }

  /** Tables [rowCount, D] from a position on. They are not to be changed. */
  rows(settings: RopeSettings, firstPosition: number, rowCount: number): RopeTables {
    const sequenceLength = this.#sequenceLength;
    const block = Math.floor(firstPosition / BLOCK_ROWS);
    const start = firstPosition - block * BLOCK_ROWS;
    if (start + rowCount > BLOCK_ROWS)
      return ropeTables(settings, { rowCount, firstPosition, sequenceLength });
    const { cosines, signedSines } = this.#block(settings, block);
    const [from, to] = [start, start + rowCount].map((row) => row * settings.headSize);
    return { cosines: cosines.subarray(from, to), signedSines: signedSines.subarray(from, to) };
  }

  #block(settings: RopeSettings, block: number): RopeTables {
    const known = this.#blocks.get(settings)?.get(block);
    if (known !== undefined) return known;
    if (this.#count + BLOCK_ROWS > MOST_ROWS) {
      this.#blocks.clear();
      this.#count = 0;
    }
    const tables = ropeTables(settings, {
      ...{ rowCount: BLOCK_ROWS, firstPosition: block * BLOCK_ROWS },
      sequenceLength: this.#sequenceLength,
    });
    const blocks = this.#blocks.get(settings) ?? new Map<number, RopeTables>();
    this.#blocks.set(settings, blocks.set(block, tables));
    this.#count += BLOCK_ROWS;
    return tables;
  }
}
