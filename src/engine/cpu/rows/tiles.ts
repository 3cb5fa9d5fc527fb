import type { RowBuilder } from "./row-builder.ts";
import { countOf } from "./strided.ts";
import type { Strided } from "./strided.ts";

/** How many of so many rows stand in tiles: `rowsOfTiles` of the kernels. */
export function tiledRows(rows: number): number {
  return (rows + 1) & ~3;
}

/**
 * Rows of a product's left side in tiles, as engine/host/assembly/shared/products.ts reads them: made once where several
 * products read the same rows.
 */
export class RowsInTiles {
  readonly #builder: RowBuilder;
  readonly #made = new Map<string, Strided>();

  constructor(builder: RowBuilder) {
    this.#builder = builder;
  }

  /** Of x [rows, depth]; nothing where there are too few rows, of which each is multiplied by itself. */
  of(x: Strided): Strided | undefined {
    const depth = x.shape.at(-1) ?? 1;
    const rows = countOf(x.shape) / depth;
    const inTiles = tiledRows(rows);
    if (inTiles === 0) return undefined;
    const key = JSON.stringify(x.address);
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const made = this.#builder.small("rowsInTiles", [inTiles, depth], [x], "own", (out) => [
      ...[x.address, out, rows, depth],
    ]);
    this.#made.set(key, made);
    return made;
  }
}
