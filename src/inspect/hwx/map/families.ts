import { readRows } from "./read-rows.ts";
import type {
  BlockRows,
  Family,
  FieldPlace,
  Provenance,
  RegisterMap,
  RegisterPlace,
} from "./types.ts";

let rows: ReadonlyMap<Family, readonly BlockRows[]> | undefined;
const built = new Map<Family, RegisterMap>();

/** The register map of a family, expanded once. */
export function registerMap(family: Family): RegisterMap {
  const known = built.get(family);
  if (known !== undefined) return known;
  rows ??= readRows();
  const blocks = rows.get(family) ?? [];
  const byAddress = new Map<number, RegisterPlace>();
  const byName = new Map<string, RegisterPlace>();
  for (const place of blocks.flatMap(expandBlock)) {
    byAddress.set(place.address, place);
    byName.set(`${place.block}.${place.name}`, place);
  }
  const map: RegisterMap = { family, blocks, byAddress, byName };
  built.set(family, map);
  return map;
}

function expandBlock(block: BlockRows): RegisterPlace[] {
  return block.rows.flatMap((row) => {
    const fields = parseFields(row.fields, row.source);
    const unknownBits = ~fields.reduce((bits, field) => bits | fieldMask(field), 0) >>> 0;
    return Array.from({ length: row.count ?? 1 }, (_, index) => ({
      block: block.block,
      name: row.first === undefined ? row.name : `${row.name}[${row.first + index}]`,
      address: row.at + index * (row.stride ?? 4),
      source: row.source,
      fields,
      unknownBits,
    }));
  });
}

function parseFields(text: string, source: Provenance): FieldPlace[] {
  return text
    .split(" ")
    .filter((part) => part !== "")
    .map((part) => {
      const [name = "", bits = ""] = part.split(":");
      const [low = "0", high = low] = bits.split("-");
      const guessed = name.endsWith("?");
      return {
        name: guessed ? name.slice(0, -1) : name,
        low: Number(low),
        high: Number(high),
        source: guessed ? "inferred" : source,
      };
    });
}

/** The bits of a field, in place. */
export function fieldMask(field: FieldPlace): number {
  const width = field.high - field.low + 1;
  return width >= 32 ? 0xffffffff : ((2 ** width - 1) << field.low) >>> 0;
}

/** The field's value, shifted down to bit 0. */
export function fieldValue(field: FieldPlace, word: number): number {
  return (word & fieldMask(field)) >>> field.low;
}
