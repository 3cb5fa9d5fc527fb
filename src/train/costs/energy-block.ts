import { RAILS } from "../../util/energy.ts";
import type { ByRail, EnergyReading } from "../../util/energy.ts";

/**
 * What a power meter on the main thread tells the training thread, which does not turn its event loop while an
 * engine computes: the energy so far, the meter's name, and why there is none.
 */
export type PowerState =
  | { readonly kind: "pending" }
  | { readonly kind: "reading"; readonly meter: string }
  | { readonly kind: "unavailable"; readonly reason: string };

const SEQUENCE = 0;
const KIND = 1;
const TEXT_LENGTH = 2;
const WORDS = 4;
const KINDS = ["pending", "reading", "unavailable"] as const;
const NUMBERS = 1 + RAILS.length;
const NUMBERS_AT = WORDS * 4;
const TEXT_AT = NUMBERS_AT + NUMBERS * 8;
const TEXT_CAPACITY = 2048;

/** What a power meter read, in memory that two threads share. */
export class EnergyBlock {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;
  /** Seconds, then joules by rail; NaN for a rail that is not read. */
  readonly #numbers: Float64Array;
  readonly #text: Uint8Array;

  constructor(buffer = new SharedArrayBuffer(TEXT_AT + TEXT_CAPACITY)) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer, 0, WORDS);
    this.#numbers = new Float64Array(buffer, NUMBERS_AT, NUMBERS);
    this.#text = new Uint8Array(buffer, TEXT_AT, TEXT_CAPACITY);
  }

  /** Main thread. The energy since the meter's start. */
  publish({ seconds, joules }: EnergyReading): void {
    this.#write(() => {
      this.#numbers[0] = seconds;
      for (const [index, rail] of RAILS.entries())
        this.#numbers[1 + index] = joules[rail] ?? Number.NaN;
    });
  }

  /** Main thread. */
  announce(state: PowerState): void {
    const text =
      state.kind === "reading" ? state.meter : state.kind === "unavailable" ? state.reason : "";
    this.#write(() => {
      const { written } = new TextEncoder().encodeInto(text, this.#text);
      this.#words[TEXT_LENGTH] = written;
      this.#words[KIND] = KINDS.indexOf(state.kind);
    });
  }

  /** Training thread. */
  get state(): PowerState {
    return this.#read(() => {
      const kind = KINDS[this.#words[KIND] ?? 0] ?? "pending";
      const text = Buffer.from(this.#text.slice(0, this.#words[TEXT_LENGTH])).toString("utf8");
      switch (kind) {
        case "pending":
          return { kind };
        case "reading":
          return { kind, meter: text };
        case "unavailable":
          return { kind, reason: text };
      }
    });
  }

  /** Training thread. The last reading. */
  get energy(): EnergyReading {
    return this.#read(() => {
      const joules: { -readonly [Name in keyof ByRail]: ByRail[Name] } = {};
      for (const [index, rail] of RAILS.entries()) {
        const value = this.#numbers[1 + index] ?? Number.NaN;
        if (!Number.isNaN(value)) joules[rail] = value;
      }
      return { seconds: this.#numbers[0] ?? 0, joules };
    });
  }

  /** The sequence is odd while there is writing. */
  #write(change: () => void): void {
    Atomics.add(this.#words, SEQUENCE, 1);
    change();
    Atomics.add(this.#words, SEQUENCE, 1);
  }

  #read<Value>(look: () => Value): Value {
    for (;;) {
      const before = Atomics.load(this.#words, SEQUENCE);
      const seen = look();
      if (before % 2 === 0 && Atomics.load(this.#words, SEQUENCE) === before) return seen;
    }
  }
}
