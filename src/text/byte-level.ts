/**
 * The byte-level alphabet of GPT-2: every byte has one printable character, so that any bytes can be spelt in JSON.
 * Printable Latin-1 stands for itself; the other 68 bytes take the code points from U+0100 on, in order.
 */
function spelledBytes(): readonly string[] {
  const spelling: string[] = [];
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable =
      (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    spelling.push(String.fromCharCode(printable ? byte : next++));
  }
  return spelling;
}

/** Character of each byte [256]. */
export const BYTE_ALPHABET: readonly string[] = spelledBytes();

const byteOfCharacter = new Map(BYTE_ALPHABET.map((character, byte) => [character, byte]));

/**
 * GPT-2's split: contractions, then letters, digits or other signs with the one space before them, then white space.
 * White space is Unicode's, as in the reference: JavaScript's own class has U+FEFF in it and lacks U+0085.
 */
export const GPT2_SPLIT =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

const encoder = new TextEncoder();

/** Spells the UTF-8 bytes of a text in the byte-level alphabet. */
export function spellBytes(text: string): string {
  let spelled = "";
  for (const byte of encoder.encode(text)) spelled += BYTE_ALPHABET[byte] ?? "";
  return spelled;
}

/** The bytes a byte-level token stands for, or undefined when it has a character outside the alphabet. */
export function bytesOfSpelling(token: string): Uint8Array | undefined {
  const bytes = new Uint8Array(token.length);
  for (let index = 0; index < token.length; index++) {
    const byte = byteOfCharacter.get(token.charAt(index));
    if (byte === undefined) return undefined;
    bytes[index] = byte;
  }
  return bytes;
}
