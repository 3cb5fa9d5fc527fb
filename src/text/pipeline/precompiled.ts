import type { ComponentJson } from "../tokenizer-json.ts";
import { refuseComponent, textField } from "./component.ts";

/**
 * SentencePiece's compiled character map: a double-array trie (Darts) over UTF-8 bytes, then the replacements, each
 * ended by a NUL. Source: sentencepiece/src/normalizer.cc, as the reference implementation reads it.
 */
class CharacterMap {
  readonly #units: Uint32Array;
  readonly #replacements: Uint8Array;

  constructor(units: Uint32Array, replacements: Uint8Array) {
    this.#units = units;
    this.#replacements = replacements;
  }

  /** The replacement of the shortest key that `text` begins with. */
  find(text: string): string | undefined {
    const units = this.#units;
    let position = offsetOf(units[0] ?? 0);
    for (const byte of Buffer.from(text)) {
      if (byte === 0) return undefined;
      position ^= byte;
      const unit = units[position];
      if (unit === undefined || (unit & 0x800000ff) >>> 0 !== byte) return undefined;
      position ^= offsetOf(unit);
      if (((unit >>> 8) & 1) === 0) continue;
      const leaf = units[position];
      if (leaf === undefined) return undefined;
      const start = leaf & 0x7fffffff;
      const end = this.#replacements.indexOf(0, start);
      return Buffer.from(
        this.#replacements.subarray(start, end < 0 ? this.#replacements.length : end),
      ).toString();
    }
    return undefined;
  }
}

function offsetOf(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}

function readMap(component: ComponentJson): CharacterMap {
  const bytes = Buffer.from(
    textField("normalizer", component, "precompiled_charsmap", ""),
    "base64",
  );
  const trieBytes = bytes.length < 4 ? 0 : bytes.readUInt32LE(0);
  if (bytes.length < 8 || trieBytes % 4 !== 0 || trieBytes < 4 || 4 + trieBytes > bytes.length) {
    return refuseComponent("normalizer", component, "its character map is damaged");
  }
  const units = new Uint32Array(trieBytes / 4);
  for (let index = 0; index < units.length; index++)
    units[index] = bytes.readUInt32LE(4 + 4 * index);
  return new CharacterMap(units, bytes.subarray(4 + trieBytes));
}

/** Longer clusters of characters are replaced character by character. */
const CLUSTER_BYTES = 6;

/** Replaces clusters of characters, or single ones, by what the file's character map says. */
export function precompiledNormalizer(component: ComponentJson): (text: string) => string {
  const map = readMap(component);
  const segmenter = new Intl.Segmenter("und", { granularity: "grapheme" });
  const memory = new Map<string, string>();
  const replaced = (cluster: string): string => {
    if (Buffer.byteLength(cluster) < CLUSTER_BYTES) {
      const found = map.find(cluster);
      if (found !== undefined) return found;
    }
    let result = "";
    for (const character of cluster) result += map.find(character) ?? character;
    return result;
  };
  return (text) => {
    let result = "";
    for (const { segment } of segmenter.segment(text)) {
      let found = memory.get(segment);
      if (found === undefined) {
        found = replaced(segment);
        if (memory.size < 1 << 16) memory.set(segment, found);
      }
      result += found;
    }
    return result;
  };
}
