import type { OneHotConversion } from "../../lower/ports.ts";
import type { HalfConverter } from "../host/half-converter.ts";
import { fillOneHot } from "../host/one-hot.ts";
import { foreign } from "../../ffi/foreign.ts";

/** A run of numbers to convert between the host's shared memory and the engine's; goes from thread to thread. */
export type ConversionItem = {
  readonly host: SharedArrayBuffer;
  readonly hostByteOffset: number;
  /** Elements on the host's side. */
  readonly count: number;
  readonly address: bigint;
  readonly byteLength: number;
  /** First half on the engine's side. */
  readonly start: number;
} & (
  | { readonly kind: "to-halves" }
  /** `factor`: what the engine's numbers are multiplied with. */
  | { readonly kind: "to-singles" | "add"; readonly factor: number }
  /** int32 indices into rows of `depth` halves. */
  | OneHotConversion
);

const ONE = 0x3c00;

/** Runs items on the calling thread. */
export class ItemConverter {
  readonly #converter: HalfConverter;
  readonly #views = new Map<string, Uint16Array>();

  constructor(converter: HalfConverter) {
    this.#converter = converter;
  }

  convert(item: ConversionItem): void {
    const { host, hostByteOffset, count, start } = item;
    const device = this.#view(item);
    switch (item.kind) {
      case "to-halves": {
        const source = new Float32Array(host, hostByteOffset, count);
        this.#converter.toHalves(source, device.subarray(start, start + count));
        return;
      }
      case "to-singles": {
        const target = new Float32Array(host, hostByteOffset, count);
        this.#converter.toSingles(device.subarray(start, start + count), target, item.factor);
        return;
      }
      case "add": {
        const target = new Float32Array(host, hostByteOffset, count);
        this.#converter.add(device.subarray(start, start + count), target, item.factor);
        return;
      }
      case "one-hot": {
        const indices = new Int32Array(host, hostByteOffset, count);
        fillOneHot(indices, item, device.subarray(start, start + count * item.depth), ONE);
      }
    }
  }

  #view({ address, byteLength }: ConversionItem): Uint16Array {
    const key = `${address} ${byteLength}`;
    const known = this.#views.get(key);
    if (known !== undefined) return known;
    const made = new Uint16Array(foreign().view(address, byteLength));
    this.#views.set(key, made);
    return made;
  }
}
