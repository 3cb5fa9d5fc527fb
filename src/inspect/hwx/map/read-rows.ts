import { readFileSync } from "node:fs";
import { tableUrl } from "../../../util/source-layout.ts";
import { BLOCK_NAMES, FAMILIES, PROVENANCES } from "./types.ts";
import type { BlockRows, Family, RegisterRow } from "./types.ts";

interface OpenBlock extends BlockRows {
  readonly rows: RegisterRow[];
}

const REGISTER =
  /^(?<at>0x[0-9a-f]+) (?<name>\w+)(?:\[(?<first>\d+)\*(?<count>\d+)(?:\/(?<stride>\d+))?\])? (?<source>\w+) ?(?<fields>.*)$/;

/** Blocks of registers by family, from `registers.txt`, which tells its own format. */
export function readRows(): ReadonlyMap<Family, readonly BlockRows[]> {
  return parseRows(readFileSync(tableUrl("inspect/hwx/map/registers.txt"), "utf8"));
}

/** Throws `Error` naming the line that is no row of the format. */
export function parseRows(text: string): ReadonlyMap<Family, readonly BlockRows[]> {
  const families = new Map<Family, OpenBlock[]>();
  let blocks: OpenBlock[] = [];
  let block: OpenBlock | undefined;
  for (const [index, line] of text.split("\n").entries()) {
    const row = line.trim();
    if (row === "" || row.startsWith("#")) continue;
    const wrong = (): Error => new Error(`registers.txt, line ${index + 1}: "${row}" is no row`);
    const [word = "", first = "", second = "", third = ""] = row.split(" ");
    if (word === "family") {
      const base = second === "from" ? families.get(oneOf(FAMILIES, third, wrong)) : [];
      blocks = (base ?? []).map(inferred);
      families.set(oneOf(FAMILIES, first, wrong), blocks);
    } else if (word === "block") {
      const name = oneOf(BLOCK_NAMES, first, wrong);
      const at = blocks.findIndex((known) => known.block === name);
      block = { block: name, base: Number(second), wordCount: Number(third), rows: [] };
      block.rows.push(...(blocks[at]?.rows ?? []));
      blocks.splice(at === -1 ? blocks.length : at, 1, block);
    } else if (block === undefined) throw wrong();
    else if (word === "drop") {
      const [from, to] = [Number(first), Number(second)];
      keepOnly(block.rows, ({ at }) => at < from || at >= to);
    } else {
      const register = registerOf(row, wrong);
      keepOnly(block.rows, ({ at }) => at !== register.at);
      block.rows.push(register);
      block.rows.sort((a, b) => a.at - b.at);
    }
  }
  return families;
}

function registerOf(row: string, wrong: () => Error): RegisterRow {
  const parts = REGISTER.exec(row)?.groups;
  if (parts === undefined) throw wrong();
  const { at = "", name = "", first, count, stride, source = "", fields = "" } = parts;
  return {
    at: Number(at),
    name,
    fields,
    source: oneOf(PROVENANCES, source, wrong),
    ...(first !== undefined && { first: Number(first) }),
    ...(count !== undefined && { count: Number(count) }),
    ...(stride !== undefined && { stride: Number(stride) }),
  };
}

/** A base's block, of another family. */
function inferred(block: BlockRows): OpenBlock {
  return { ...block, rows: block.rows.map((row) => ({ ...row, source: "inferred" })) };
}

function keepOnly(rows: RegisterRow[], isKept: (row: RegisterRow) => boolean): void {
  rows.splice(0, rows.length, ...rows.filter(isKept));
}

function oneOf<Name extends string>(
  names: readonly Name[],
  given: string,
  wrong: () => Error,
): Name {
  const found = names.find((name) => name === given);
  if (found === undefined) throw wrong();
  return found;
}
