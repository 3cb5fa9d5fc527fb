import type { ByteSource } from "../../util/byte-source.ts";
import { type ByteView, wholeView } from "../byte-view.ts";
import { walkFlatBuffer, type FlatNode, type FlatTable } from "./flatbuffer.ts";

/** The four root fields that are known; every other table is shown without a name. */
export const ROOT_FIELDS = ["symbol_names", "build_info", "sections", "format_version"] as const;

/** A bundle's `manifest.plist` or `.json`, read. */
export interface E5Manifest {
  readonly format: "e5";
  readonly name: string;
  readonly byteLength: number;
  readonly formatVersion: number | null;
  readonly symbolNames: readonly string[];
  readonly buildInfo: readonly { readonly key: string; readonly value: string }[];
  readonly symbolDescription: E5SymbolDescription | null;
  /** All strings of the buffer, in file order. */
  readonly strings: readonly { readonly offset: number; readonly text: string }[];
  readonly root: FlatTable;
  readonly coverage: {
    readonly byteLength: number;
    /** Bytes that some table, vector or string holds. */
    readonly reachedBytes: number;
    /** Bytes under a name that is known: root, symbol names, build info, symbol description. */
    readonly namedBytes: number;
    readonly zeroBytes: number;
    readonly unreachedBytes: number;
  };
}

/** The twelve bytes behind `__sym_desc__`: a magic word and the chip the program was compiled for. */
export interface E5SymbolDescription {
  readonly offset: number;
  readonly chipId: number;
  readonly chip: string;
}

/** Manifests are small (2 to 14 KiB seen); far larger files are not read whole. */
const BYTE_LIMIT = 64 * 2 ** 20;
const SYMBOL_MAGIC = 0x02e4e5;
const CHIPS: ReadonlyMap<number, string> = new Map([
  [0x6002, "M1 Ultra"],
  [0x6021, "M2 Max"],
]);

/**
 * Decodes an E5 manifest (`<ARCH>.e5`). It holds no weights and no engine code. Throws `InspectError` when the bytes
 * are no FlatBuffer with a root table.
 */
export function decodeE5Manifest(source: ByteSource): E5Manifest {
  const view = wholeView(source, BYTE_LIMIT);
  const tree = walkFlatBuffer(view, [ROOT_FIELDS.indexOf("format_version")]);
  const field = (slot: number): FlatNode | undefined =>
    tree.root.fields.find((one) => one.slot === slot)?.node;
  const version = field(3);
  const symbols = symbolDescription(view);
  const strings = stringsOf(tree.root).sort((a, b) => a.offset - b.offset);
  const zeroBytes = view.bytes.reduce((sum, byte) => sum + (byte === 0 ? 1 : 0), 0);
  const named = [field(0), field(1)].reduce(
    (sum, node) => sum + (node === undefined ? 0 : bytesOf(node)),
    0,
  );
  return {
    format: "e5",
    name: source.name,
    byteLength: source.byteLength,
    formatVersion: version?.kind === "scalar" ? version.value : null,
    symbolNames: stringsIn(field(0)),
    buildInfo: pairsOf(field(1)),
    symbolDescription: symbols,
    strings,
    root: tree.root,
    coverage: {
      byteLength: source.byteLength,
      reachedBytes: tree.reachedBytes,
      namedBytes: named + 4 + 4 * tree.root.fields.length + (symbols === null ? 0 : 12),
      zeroBytes,
      unreachedBytes: source.byteLength - tree.reachedBytes,
    },
  };
}

function symbolDescription(view: ByteView): E5SymbolDescription | null {
  for (let at = view.end - (view.end % 4) - 4; at >= view.start; at -= 4) {
    if (view.u32(at, "__sym_desc__.magic") !== SYMBOL_MAGIC || at + 6 > view.end) continue;
    const chipId = view.u16(at + 4, "__sym_desc__.chip");
    return { offset: at, chipId, chip: CHIPS.get(chipId) ?? "unknown" };
  }
  return null;
}

function stringsOf(node: FlatNode): { offset: number; text: string }[] {
  switch (node.kind) {
    case "string":
      return [{ offset: node.offset, text: node.text }];
    case "table":
      return node.fields.flatMap((field) => stringsOf(field.node));
    case "list":
      return node.items.flatMap(stringsOf);
    case "bytes":
    case "scalar":
    case "reference":
      return [];
  }
}

function bytesOf(node: FlatNode): number {
  switch (node.kind) {
    case "string":
      return 5 + new TextEncoder().encode(node.text).byteLength;
    case "table":
      return node.fields.reduce((sum, field) => sum + 4 + bytesOf(field.node), 4);
    case "list":
      return node.items.reduce((sum, item) => sum + 4 + bytesOf(item), 4);
    case "bytes":
      return 4 + node.count;
    case "scalar":
    case "reference":
      return 0;
  }
}

function stringsIn(node: FlatNode | undefined): string[] {
  return node === undefined ? [] : stringsOf(node).map((one) => one.text);
}

/** Build info is a list of key-value tables; a flat list of strings is read as keys and values in turn. */
function pairsOf(node: FlatNode | undefined): { key: string; value: string }[] {
  if (node === undefined) return [];
  const tables = node.kind === "list" ? node.items : node.kind === "table" ? innerItems(node) : [];
  const pairs = tables
    .filter((item) => item.kind === "table")
    .map((item) => stringsOf(item).map((one) => one.text));
  if (pairs.length > 0) return pairs.map(([key = "", value = ""]) => ({ key, value }));
  const texts = stringsIn(node);
  return texts.flatMap((key, index) =>
    index % 2 === 0 ? [{ key, value: texts[index + 1] ?? "" }] : [],
  );
}

function innerItems(table: FlatTable): readonly FlatNode[] {
  return table.fields.flatMap((field) => (field.node.kind === "list" ? field.node.items : []));
}
