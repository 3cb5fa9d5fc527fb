import type { WireFormat } from "../../engine/collective.ts";
import { float16ToFloat32, float32ToFloat16 } from "../../util/float16.ts";

/** Bytes of the power of two that a segment's halves are multiplied with. */
const SCALE_BYTES = 4;
/** Halves below this lose bits: the largest of a segment is brought near the top of the range instead. */
const TOP_EXPONENT = 14;

/** Bytes of a segment on the wire; each begins where an fp32 number may stand. */
export function halfBytes(elementCount: number): number {
  return elementCount === 0 ? 0 : SCALE_BYTES + 2 * (elementCount + (elementCount % 2));
}

/** What rounding to halves has lost of arrays, by their names: it is added to the next numbers that travel. */
export class Residuals {
  readonly #byName = new Map<string, { readonly numbers: Float32Array; unit: number }>();

  /** Zeros at first. Numbers stand for what they would with `unit`. */
  of(wire: WireFormat, array: number, length: number): Float32Array | undefined {
    const name = wire.names?.[array];
    if (name === undefined) return undefined;
    const unit = wire.unit ?? 1;
    const known = this.#byName.get(name);
    if (known === undefined || known.numbers.length !== length) {
      const numbers = new Float32Array(length);
      this.#byName.set(name, { numbers, unit });
      return numbers;
    }
    if (known.unit !== unit) {
      const factor = unit / known.unit;
      for (let i = 0; i < length; i++) known.numbers[i] = (known.numbers[i] ?? 0) * factor;
      known.unit = unit;
    }
    return known.numbers;
  }
}

/**
 * Writes numbers as halves times a power of two, and what that loses into `lost`, whose contents are added before.
 * Numbers that are not finite travel as such and leave nothing behind. `numbers` become what a reader of the halves
 * gets.
 */
export function writeHalves(numbers: Float32Array, lost: Float32Array, target: Uint8Array): void {
  let largest = 0;
  for (let i = 0; i < numbers.length; i++) {
    const value = (numbers[i] ?? 0) + (lost[i] ?? 0);
    numbers[i] = value;
    const size = Math.abs(value);
    // Also where it is NaN.
    if (!(size <= largest)) largest = size;
  }
  const isFinite = Number.isFinite(largest);
  const exponent = largest > 0 && isFinite ? Math.floor(Math.log2(largest)) : TOP_EXPONENT;
  const scale = 2 ** Math.max(-126, Math.min(126, TOP_EXPONENT - exponent));
  const scaled = new Float32Array(numbers.length);
  for (let i = 0; i < numbers.length; i++) scaled[i] = (numbers[i] ?? 0) * scale;
  new DataView(target.buffer, target.byteOffset).setFloat32(0, scale, true);
  const halves = new Uint16Array(target.buffer, target.byteOffset + SCALE_BYTES, numbers.length);
  float32ToFloat16(scaled, halves);
  float16ToFloat32(halves, scaled);
  const back = 1 / scale;
  for (let i = 0; i < numbers.length; i++) {
    const sent = (scaled[i] ?? 0) * back;
    const rest = (numbers[i] ?? 0) - sent;
    lost[i] = isFinite ? rest : 0;
    numbers[i] = sent;
  }
}

/** Reads what `writeHalves` wrote. */
export function readHalves(source: Uint8Array, numbers: Float32Array): void {
  if (numbers.length === 0) return;
  const scale = new DataView(source.buffer, source.byteOffset).getFloat32(0, true);
  const halves = new Uint16Array(source.buffer, source.byteOffset + SCALE_BYTES, numbers.length);
  float16ToFloat32(halves, numbers);
  const back = 1 / scale;
  for (let i = 0; i < numbers.length; i++) numbers[i] = (numbers[i] ?? 0) * back;
}
