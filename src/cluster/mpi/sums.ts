import { sumTree } from "../../engine/collective.ts";
import type { ExchangedArray, WireFormat } from "../../engine/collective.ts";
import type { BufferView } from "../../engine/engine.ts";
import { ClusterError } from "../errors.ts";
import type { Chunk, Piece } from "./chunks.ts";
import { mpiMemory } from "./mpi.ts";
import type { ByteRanges, Mpi, MpiMemory, MpiRequest } from "./mpi.ts";
import type { Channels, Task } from "./task.ts";
import { halfBytes, readHalves, writeHalves } from "./wire.ts";

/** An array that can be summed. */
export function summed(array: BufferView): ExchangedArray {
  if (array instanceof Float32Array || array instanceof Float64Array || array instanceof Int32Array)
    return array;
  throw new ClusterError("cluster.sum", `sums of ${array.constructor.name} are not exchanged`);
}

interface Layout {
  readonly ranges: ByteRanges;
  readonly byteLength: number;
}

/**
 * A sum over a group, a chunk at a time: every member gets its segment of all the others, adds them in the group's
 * tree, and (for an all-reduce) all get the sums. The order of addition is ours and not the transport's, so that the
 * result is the same to the bit for every transport and on every member.
 */
export class ChunkSum implements Task {
  readonly #mpi: Mpi;
  readonly #channels: Channels;
  readonly #arrays: readonly ExchangedArray[];
  readonly #chunk: Chunk;
  readonly #wire: WireFormat;
  readonly #gathers: boolean;
  #scatter: { readonly request: MpiRequest; readonly received: MpiMemory } | undefined;
  #own: ExchangedArray | undefined;
  #gather: { readonly request: MpiRequest; readonly received: MpiMemory } | undefined;

  constructor(
    mpi: Mpi,
    channels: Channels,
    arrays: readonly ExchangedArray[],
    chunk: Chunk,
    options: { readonly wire: WireFormat; readonly gathers: boolean },
  ) {
    this.#mpi = mpi;
    this.#channels = channels;
    this.#arrays = arrays;
    this.#chunk = chunk;
    this.#wire = options.wire;
    this.#gathers = options.gathers;
  }

  /** Begins the exchange; in the order of the chunks. */
  start(): void {
    const { rank, size, scatter } = this.#channels;
    const { segments, counts } = this.#chunk;
    const send = this.#layout(counts.map((count, member) => (member === rank ? 0 : count)));
    const mine = counts[rank] ?? 0;
    const receive = this.#layout(
      Array.from({ length: size }, (_, member) => (member === rank ? 0 : mine)),
    );
    const source = mpiMemory(send.byteLength);
    const received = mpiMemory(receive.byteLength);
    segments.forEach((pieces, member) => {
      if (member === rank) return;
      const numbers = this.#packed(pieces, counts[member] ?? 0);
      const at = send.ranges.offsets[member] ?? 0;
      this.#write(
        numbers,
        pieces,
        source.bytes.subarray(at, at + (send.ranges.counts[member] ?? 0)),
      );
    });
    const request = this.#mpi.allToAll(scatter, source, send.ranges, received, receive.ranges);
    this.#channels.count(send.byteLength);
    this.#scatter = { request: keeping(request, source), received };
  }

  /** Whether the sums are there; they are added when this is first true. */
  isSummed(): boolean {
    if (this.#own !== undefined) return true;
    if (this.#scatter?.request.isDone() !== true) return false;
    const { rank, size } = this.#channels;
    const mine = this.#chunk.counts[rank] ?? 0;
    const { ranges } = this.#layout(
      Array.from({ length: size }, (_, member) => (member === rank ? 0 : mine)),
    );
    const pieces = this.#chunk.segments[rank] ?? [];
    const own = this.#packed(pieces, mine);
    const terms = Array.from({ length: size }, (_, member) =>
      member === rank
        ? own
        : this.#read(this.#scatter?.received.bytes, ranges.offsets[member] ?? 0, mine),
    );
    sumTree(terms);
    const [sum = own] = terms;
    this.#scatter = undefined;
    this.#own = sum;
    if (!this.#gathers) this.#unpack(sum, pieces);
    return true;
  }

  /** Begins to give the sums to all; in the order of the chunks, once they are there. */
  startGather(): void {
    const { rank, gather } = this.#channels;
    const { segments, counts } = this.#chunk;
    const own = this.#own;
    if (own === undefined) return;
    const layout = this.#layout(counts);
    const source = mpiMemory(layout.ranges.counts[rank] ?? 0);
    const pieces = segments[rank] ?? [];
    this.#write(own, pieces, source.bytes.subarray(0, layout.ranges.counts[rank] ?? 0));
    // As the others get it: what the wire rounds is rounded here too.
    this.#unpack(own, pieces);
    const received = mpiMemory(layout.byteLength);
    const byteLength = layout.ranges.counts[rank] ?? 0;
    const request = this.#mpi.allGather(gather, source, byteLength, received, layout.ranges);
    this.#channels.count(byteLength * (this.#channels.size - 1));
    this.#gather = { request: keeping(request, source), received };
  }

  isDone(): boolean {
    if (!this.#gathers) return this.isSummed();
    if (this.#gather?.request.isDone() !== true) return false;
    const { rank } = this.#channels;
    const { segments, counts } = this.#chunk;
    const { ranges } = this.#layout(counts);
    segments.forEach((pieces, member) => {
      if (member === rank) return;
      const at = ranges.offsets[member] ?? 0;
      this.#unpack(this.#read(this.#gather?.received.bytes, at, counts[member] ?? 0), pieces);
    });
    return true;
  }

  get #isHalf(): boolean {
    return this.#wire.kind === "fp16" && this.#arrays[0] instanceof Float32Array;
  }

  #layout(counts: readonly number[]): Layout {
    const { BYTES_PER_ELEMENT: width = 4 } = this.#arrays[0] ?? {};
    const bytes = counts.map((count) => (this.#isHalf ? halfBytes(count) : width * count));
    let byteLength = 0;
    const offsets = bytes.map((length) => {
      const at = byteLength;
      byteLength += length;
      return at;
    });
    return { ranges: { counts: bytes, offsets }, byteLength };
  }

  #packed(pieces: readonly Piece[], count: number): ExchangedArray {
    const numbers = sameKind(this.#arrays[0], count);
    let at = 0;
    for (const { array, first, end } of pieces) {
      const whole = this.#arrays[array];
      if (whole !== undefined) numbers.set(whole.subarray(first, end), at);
      at += end - first;
    }
    return numbers;
  }

  #unpack(numbers: ExchangedArray, pieces: readonly Piece[]): void {
    let at = 0;
    for (const { array, first, end } of pieces) {
      this.#arrays[array]?.set(numbers.subarray(at, at + end - first), first);
      at += end - first;
    }
  }

  #write(numbers: ExchangedArray, pieces: readonly Piece[], target: Uint8Array): void {
    if (numbers.length === 0) return;
    if (!this.#isHalf || !(numbers instanceof Float32Array)) {
      target.set(new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength));
      return;
    }
    let at = 0;
    const parts = pieces.map(({ array, first, end }) => {
      const part = numbers.subarray(at, at + end - first);
      at += end - first;
      return { numbers: part, lost: this.#wire.lost?.[array]?.subarray(first, end) };
    });
    writeHalves(this.#channels.halves, parts, target);
  }

  #read(bytes: Uint8Array | undefined, at: number, count: number): ExchangedArray {
    const numbers = sameKind(this.#arrays[0], count);
    if (bytes === undefined || count === 0) return numbers;
    if (this.#isHalf && numbers instanceof Float32Array)
      readHalves(this.#channels.halves, bytes.subarray(at, at + halfBytes(count)), numbers);
    else {
      new Uint8Array(numbers.buffer).set(bytes.subarray(at, at + numbers.byteLength));
    }
    return numbers;
  }
}

/** Every member's segment of a chunk to all: the second half of an all-reduce. */
export class ChunkGather implements Task {
  readonly #request: MpiRequest;
  readonly #received: MpiMemory;
  readonly #ranges: ByteRanges;
  readonly #arrays: readonly ExchangedArray[];
  readonly #chunk: Chunk;
  readonly #rank: number;

  constructor(mpi: Mpi, channels: Channels, arrays: readonly ExchangedArray[], chunk: Chunk) {
    const { rank, size, gather } = channels;
    const { BYTES_PER_ELEMENT: width = 4 } = arrays[0] ?? {};
    const counts = chunk.counts.map((count) => width * count);
    let byteLength = 0;
    const offsets = counts.map((length) => {
      const at = byteLength;
      byteLength += length;
      return at;
    });
    this.#ranges = { counts, offsets };
    this.#arrays = arrays;
    this.#chunk = chunk;
    this.#rank = rank;
    const own = counts[rank] ?? 0;
    const source = mpiMemory(own);
    let at = 0;
    for (const { array, first, end } of chunk.segments[rank] ?? []) {
      const part = arrays[array]?.subarray(first, end);
      if (part === undefined) continue;
      source.bytes.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), at);
      at += part.byteLength;
    }
    this.#received = mpiMemory(byteLength);
    const request = mpi.allGather(gather, source, own, this.#received, this.#ranges);
    channels.count(own * (size - 1));
    this.#request = keeping(request, source);
  }

  isDone(): boolean {
    if (!this.#request.isDone()) return false;
    this.#chunk.segments.forEach((pieces, member) => {
      if (member === this.#rank) return;
      let at = this.#ranges.offsets[member] ?? 0;
      for (const { array, first, end } of pieces) {
        const part = this.#arrays[array]?.subarray(first, end);
        if (part === undefined) continue;
        const target = new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
        target.set(this.#received.bytes.subarray(at, at + target.length));
        at += target.length;
      }
    });
    return true;
  }
}

/** A request whose memory lives as long as it. */
export function keeping(request: MpiRequest, memory: MpiMemory): MpiRequest {
  let held: MpiMemory | undefined = memory;
  return {
    isDone: () => {
      const isDone = held === undefined || request.isDone();
      if (isDone) held = undefined;
      return isDone;
    },
  };
}

function sameKind(array: ExchangedArray | undefined, length: number): ExchangedArray {
  if (array instanceof Float64Array) return new Float64Array(length);
  if (array instanceof Int32Array) return new Int32Array(length);
  return new Float32Array(length);
}
