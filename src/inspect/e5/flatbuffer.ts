import type { ByteView } from "../byte-view.ts";
import { hex } from "../byte-view.ts";

/**
 * One value of a FlatBuffer read without its schema. Kinds are inferred from the bytes: a table has a vtable that
 * fits, a string has a length and a zero end, everything else is shown as the bits it is.
 */
export type FlatNode =
  | {
      readonly kind: "table";
      readonly offset: number;
      readonly fields: readonly FlatField[];
    }
  | { readonly kind: "string"; readonly offset: number; readonly text: string }
  | { readonly kind: "list"; readonly offset: number; readonly items: readonly FlatNode[] }
  | {
      readonly kind: "bytes";
      readonly offset: number;
      readonly count: number;
      /** The first elements as little-endian words, at most eight. */
      readonly preview: readonly number[];
    }
  | {
      readonly kind: "scalar";
      readonly offset: number;
      readonly byteLength: number;
      readonly value: number;
    }
  /** A place that was already shown, or that lies deeper than is followed. */
  | { readonly kind: "reference"; readonly offset: number };

/** A field of a flatbuffer's table: its slot in the vtable, where its value stands in bytes, and what that is. */
export interface FlatField {
  readonly slot: number;
  readonly offset: number;
  readonly node: FlatNode;
}

export type FlatTable = Extract<FlatNode, { readonly kind: "table" }>;

export interface FlatTree {
  readonly root: FlatTable;
  readonly nodeCount: number;
  /** Bytes that belong to a node, of all bytes. */
  readonly reachedBytes: number;
}

const NODE_LIMIT = 50_000;
const DEPTH_LIMIT = 48;
const SLOT_LIMIT = 256;
const PREVIEW_WORDS = 8;

interface Layout {
  readonly slots: readonly {
    readonly slot: number;
    readonly at: number;
    readonly byteLength: number;
  }[];
  readonly vtable: number;
  readonly vtableBytes: number;
  readonly byteLength: number;
}

/**
 * Walks the whole buffer from its root. `scalarSlots` are root fields known to be numbers, which are not followed.
 * Throws `InspectError` when there is no root table.
 */
export function walkFlatBuffer(view: ByteView, scalarSlots: readonly number[] = []): FlatTree {
  return new Walker(view, scalarSlots).walk();
}

/** Follows offsets, each place once, and keeps account of the bytes reached. */
class Walker {
  readonly #view: ByteView;
  readonly #scalarSlots: readonly number[];
  readonly #reached: Uint8Array;
  readonly #seen = new Set<number>();
  #nodeCount = 0;

  constructor(view: ByteView, scalarSlots: readonly number[]) {
    this.#view = view;
    this.#scalarSlots = scalarSlots;
    this.#reached = new Uint8Array(view.bytes.byteLength);
  }

  walk(): FlatTree {
    const view = this.#view;
    const root = view.start + view.u32(view.start, "FlatBuffer.root");
    const layout = this.#tableAt(root);
    if (layout === undefined) {
      throw view.fail(
        "inspect.value",
        view.start,
        "FlatBuffer.root",
        `${hex(root - view.start)} is not the place of a table`,
        "This is not an E5 manifest, or it is cut short.",
      );
    }
    this.#mark(view.start, 4);
    const node = this.#table(root, layout, 0);
    return {
      root: node,
      nodeCount: this.#nodeCount,
      reachedBytes: this.#reached.reduce((sum, byte) => sum + byte, 0),
    };
  }

  #mark(offset: number, byteLength: number): void {
    const from = offset - this.#view.start;
    this.#reached.fill(1, from, from + byteLength);
  }

  #fits(offset: number, byteLength: number): boolean {
    return offset >= this.#view.start && offset + byteLength <= this.#view.end;
  }

  /** The layout of a table at a place, or undefined when no table can be there. */
  #tableAt(offset: number): Layout | undefined {
    if (offset % 4 !== 0 || !this.#fits(offset, 4)) return undefined;
    const vtable = offset - this.#view.i32(offset, "table.vtable");
    if (vtable % 2 !== 0 || !this.#fits(vtable, 4)) return undefined;
    const vtableBytes = this.#view.u16(vtable, "vtable.size");
    const byteLength = this.#view.u16(vtable + 2, "vtable.table size");
    const slotCount = (vtableBytes - 4) / 2;
    if (vtableBytes < 4 || vtableBytes % 2 !== 0 || slotCount > SLOT_LIMIT) return undefined;
    if (byteLength < 4 || !this.#fits(vtable, vtableBytes) || !this.#fits(offset, byteLength))
      return undefined;
    const places: { slot: number; at: number }[] = [];
    for (let slot = 0; slot < slotCount; slot++) {
      const at = this.#view.u16(vtable + 4 + slot * 2, "vtable.slot");
      if (at === 0) continue;
      if (at < 4 || at >= byteLength) return undefined;
      places.push({ slot, at });
    }
    const ends = [...places.map((place) => place.at), byteLength].sort((a, b) => a - b);
    const slots = places.map(({ slot, at }) => ({
      slot,
      at: offset + at,
      byteLength: Math.min(8, (ends.find((end) => end > at) ?? byteLength) - at),
    }));
    return { slots, vtable, vtableBytes, byteLength };
  }

  #table(offset: number, layout: Layout, depth: number): FlatTable {
    this.#seen.add(offset);
    this.#nodeCount++;
    this.#mark(offset, layout.byteLength);
    this.#mark(layout.vtable, layout.vtableBytes);
    const fields = layout.slots.map(({ slot, at, byteLength }) => ({
      slot,
      offset: at,
      node:
        depth === 0 && this.#scalarSlots.includes(slot)
          ? this.#number(at, byteLength)
          : this.#value(at, byteLength, offset + layout.byteLength, depth + 1),
    }));
    return { kind: "table", offset, fields };
  }

  /** A field that may be an offset; what it leads to stands at `earliest` or behind. */
  #value(at: number, byteLength: number, earliest: number, depth: number): FlatNode {
    if (byteLength >= 4 && this.#nodeCount < NODE_LIMIT) {
      const target = at + this.#view.u32(at, "offset");
      if (target >= earliest && this.#fits(target, 4)) {
        const node = this.#target(target, depth);
        if (node !== undefined) return node;
      }
    }
    return this.#number(at, byteLength);
  }

  #number(at: number, byteLength: number): FlatNode {
    this.#nodeCount++;
    return { kind: "scalar", offset: at, byteLength, value: this.#scalar(at, byteLength) };
  }

  #scalar(at: number, byteLength: number): number {
    if (byteLength >= 4) return this.#view.u32(at, "scalar");
    return byteLength >= 2 ? this.#view.u16(at, "scalar") : this.#view.u8(at, "scalar");
  }

  /** What stands at the end of an offset, or undefined when the bits cannot be an offset. */
  #target(target: number, depth: number): FlatNode | undefined {
    if (this.#seen.has(target)) return { kind: "reference", offset: target };
    const text = this.#stringAt(target);
    const layout = text === undefined ? this.#tableAt(target) : undefined;
    const list = text === undefined && layout === undefined ? this.#offsetsAt(target) : undefined;
    const bytes =
      text === undefined && layout === undefined && list === undefined
        ? this.#bytesAt(target)
        : undefined;
    if (text === undefined && layout === undefined && list === undefined && bytes === undefined)
      return undefined;
    if (depth > DEPTH_LIMIT || this.#nodeCount >= NODE_LIMIT)
      return { kind: "reference", offset: target };
    this.#seen.add(target);
    if (text !== undefined) {
      this.#nodeCount++;
      this.#mark(target, 4 + text.byteLength + 1);
      return { kind: "string", offset: target, text: text.text };
    }
    if (layout !== undefined) return this.#table(target, layout, depth);
    this.#nodeCount++;
    if (list !== undefined) {
      this.#mark(target, 4 + list.length * 4);
      const end = target + 4 + list.length * 4;
      const items = list.map((at) => this.#value(at, 4, end, depth + 1));
      return { kind: "list", offset: target, items };
    }
    if (bytes !== undefined) this.#mark(target, 4 + bytes.count);
    return bytes;
  }

  #stringAt(target: number): { readonly text: string; readonly byteLength: number } | undefined {
    const byteLength = this.#view.u32(target, "string.length");
    if (byteLength === 0 || !this.#fits(target + 4, byteLength + 1)) return undefined;
    const from = target + 4 - this.#view.start;
    const bytes = this.#view.bytes.subarray(from, from + byteLength);
    if (this.#view.bytes[from + byteLength] !== 0) return undefined;
    if (bytes.some((byte) => byte < 0x20 && byte !== 9 && byte !== 10)) return undefined;
    try {
      return { text: new TextDecoder("utf-8", { fatal: true }).decode(bytes), byteLength };
    } catch {
      return undefined;
    }
  }

  /** The places of a vector whose every element leads to a table or a string. */
  #offsetsAt(target: number): number[] | undefined {
    const count = this.#view.u32(target, "vector.length");
    if (count === 0 || count > NODE_LIMIT || !this.#fits(target + 4, count * 4)) return undefined;
    const places: number[] = [];
    for (let index = 0; index < count; index++) {
      const at = target + 4 + index * 4;
      const distance = this.#view.u32(at, "vector.element");
      if (distance < 4 || !this.#fits(at + distance, 4)) return undefined;
      if (this.#stringAt(at + distance) === undefined && this.#tableAt(at + distance) === undefined)
        return undefined;
      places.push(at);
    }
    return places;
  }

  #bytesAt(target: number): Extract<FlatNode, { kind: "bytes" }> | undefined {
    const count = this.#view.u32(target, "vector.length");
    if (target % 4 !== 0 || count === 0 || !this.#fits(target + 4, count)) return undefined;
    const preview: number[] = [];
    for (
      let at = target + 4;
      at + 4 <= target + 4 + count && preview.length < PREVIEW_WORDS;
      at += 4
    ) {
      preview.push(this.#view.u32(at, "vector.word"));
    }
    return { kind: "bytes", offset: target, count, preview };
  }
}
