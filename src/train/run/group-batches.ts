import type { Collective, Exchange } from "../../engine/collective.ts";
import { countTargets } from "../../text/index.ts";
import type { Batch, Batches } from "../../text/index.ts";
import { TrainError } from "../errors.ts";
import { partsOf } from "./batch-shares.ts";
import type { BatchShares, UpdateSizes } from "./batch-shares.ts";

const BATCH_TAG = 12;
const JUDGED_TAG = 16;

/** Who gets which batches of an update. */
export interface Dealing {
  readonly world: Collective;
  readonly shares: BatchShares;
  /** By replica: the members of the world that compute on its batches. */
  readonly members: readonly (readonly number[])[];
  readonly isPacked: boolean;
  readonly sequenceLength: number;
}

/**
 * Rank 0's batches, dealt to all: one source draws the batches of an update, so that what is learned from does not
 * depend on how many share it, no two get the same rows, and only this process needs the data.
 */
export class DealtBatches implements Batches {
  readonly isPacked: boolean;
  readonly #source: Batches;
  #dealing: Dealing;
  readonly #sizes: UpdateSizes;
  #own: Batch[] = [];
  #sent: readonly Exchange[] = [];

  constructor(source: Batches, dealing: Dealing, sizes: UpdateSizes) {
    this.isPacked = source.isPacked;
    this.#source = source;
    this.#dealing = dealing;
    this.#sizes = sizes;
  }

  get state(): unknown {
    return this.#source.state;
  }

  /** From the next update on. */
  share(shares: BatchShares): void {
    this.#dealing = { ...this.#dealing, shares };
  }

  /** Draws an update's batches and sends the others theirs. */
  async deal(): Promise<void> {
    const { shares, members, world } = this.#dealing;
    const drawn = Array.from({ length: this.#sizes.gradient_accumulation_steps }, () =>
      this.#source.next(),
    ).flatMap((batch) => partsOf(batch, shares.rowCount));
    for (const exchange of this.#sent) await exchange.wait();
    const sent: Exchange[] = [];
    let first = 0;
    shares.microBatches.forEach((count, replica) => {
      const own = drawn.slice(first, first + count);
      first += count;
      for (const member of members[replica] ?? []) {
        if (member === world.rank) this.#own = own;
        else sent.push(world.send([written(own, this.#dealing)], member, BATCH_TAG));
      }
    });
    this.#sent = sent;
  }

  next(): Batch {
    return taken(this.#own);
  }
}

/** The batches that rank 0 deals to this process. */
export class ReceivedBatches implements Batches {
  readonly isPacked: boolean;
  readonly state = undefined;
  readonly #dealing: Dealing;
  #count: number;
  #own: Batch[] = [];

  constructor(dealing: Dealing, replica: number) {
    this.isPacked = dealing.isPacked;
    this.#dealing = dealing;
    this.#count = dealing.shares.microBatches[replica] ?? 0;
  }

  /** How many an update has from the next one on. */
  share(count: number): void {
    this.#count = count;
  }

  /** Takes the batches of the next update. */
  async receive(): Promise<void> {
    const numbers = emptyLetter(this.#count, this.#dealing);
    await this.#dealing.world.receive([numbers], 0, BATCH_TAG).wait();
    this.#own = read(numbers, this.#count, this.#dealing);
  }

  next(): Batch {
    return taken(this.#own);
  }
}

/** Batches that are judged, from rank 0 to other processes. Of each it has sent one ahead at most. */
export class JudgedBatches {
  readonly #dealing: Dealing;
  readonly #sent = new Map<number, Exchange>();

  constructor(dealing: Dealing) {
    this.#dealing = dealing;
  }

  /** To a process; nothing ends them. */
  async send(batch: Batch | undefined, member: number): Promise<void> {
    const { world } = this.#dealing;
    await this.#sent.get(member)?.wait();
    const letters = batch === undefined ? [] : [written([batch], this.#dealing)];
    const exchange = world.send([Int32Array.of(letters.length), ...letters], member, JUDGED_TAG);
    this.#sent.set(member, exchange);
  }

  /** Ends them at these processes. */
  async end(members: readonly number[]): Promise<void> {
    for (const member of members) await this.send(undefined, member);
    for (const exchange of this.#sent.values()) await exchange.wait();
  }
}

/** The next batch that rank 0 has judged. */
export async function receiveJudged(dealing: Dealing): Promise<Batch | undefined> {
  const { world } = dealing;
  const header = new Int32Array(1);
  await world.receive([header], 0, JUDGED_TAG).wait();
  if (header[0] === 0) return undefined;
  const letter = emptyLetter(1, dealing);
  await world.receive([letter], 0, JUDGED_TAG).wait();
  return read(letter, 1, dealing)[0];
}

function taken(batches: Batch[]): Batch {
  const batch = batches.shift();
  if (batch !== undefined) return batch;
  throw new TrainError("train.group", "an update takes more batches than were dealt for it");
}

/** Inputs and targets, and where rows are packed positions and documents: all of [B, S]. */
function arrayCount({ isPacked }: Dealing): number {
  return isPacked ? 4 : 2;
}

function emptyLetter(count: number, dealing: Dealing): Int32Array {
  const { shares, sequenceLength } = dealing;
  const length = count * arrayCount(dealing) * shares.rowCount * sequenceLength;
  return new Int32Array(new SharedArrayBuffer(4 * length));
}

function written(batches: readonly Batch[], dealing: Dealing): Int32Array {
  const letter = emptyLetter(batches.length, dealing);
  let at = 0;
  for (const { inputs, targets, packing } of batches) {
    // A plain row is one document.
    const positions = packing?.positions ?? inputs.map((_, i) => i % dealing.sequenceLength);
    const documents = packing?.documents ?? new Int32Array(inputs.length);
    const arrays = [inputs, targets, positions, documents];
    for (const numbers of arrays.slice(0, arrayCount(dealing))) {
      letter.set(numbers, at);
      at += numbers.length;
    }
  }
  return letter;
}

function read(letter: Int32Array, count: number, dealing: Dealing): Batch[] {
  const { shares, sequenceLength, isPacked } = dealing;
  const length = shares.rowCount * sequenceLength;
  let at = 0;
  const next = (): Int32Array => {
    const numbers = letter.slice(at, at + length);
    at += length;
    return numbers;
  };
  return Array.from({ length: count }, () => {
    const [inputs, targets] = [next(), next()];
    const batch = {
      ...{ batchSize: shares.rowCount, sequenceLength, inputs, targets },
      validTargetCount: countTargets(targets),
    };
    return isPacked ? { ...batch, packing: { positions: next(), documents: next() } } : batch;
  });
}
