import { hostname } from "node:os";
import type { Communicator, Mpi, MpiRequest } from "./mpi.ts";
import { mpiMemory } from "./mpi.ts";

/** Of the messages of the watch, on a communicator of its own. */
const TAG = 1;
const NAME_BYTES = 64;
/** rank, exchanges begun, step; then the host's name. */
const NUMBERS = 4;
const MESSAGE_BYTES = 8 * NUMBERS + NAME_BYTES;

interface Heard {
  atMs: number;
  /** Exchanges that its training thread has begun, and since when that is so. */
  begun: number;
  begunAtMs: number;
  step: number;
  host: string;
  isReported: boolean;
}

/** What this process is doing, as the others hear it. */
export interface OwnProgress {
  /** Exchanges that the training thread has begun. */
  readonly begun: number;
  readonly step: number;
  /** Since when the oldest exchange under way waits; nothing where none is. */
  readonly waitingSinceMs: number | undefined;
  /** Whether training has begun: before that, members prepare for as long as they need. */
  readonly isTraining: boolean;
}

/**
 * Tells of members that stall. Every process tells rank 0 now and then that it lives and how far it is, and rank 0
 * tells the others; so rank 0 knows which one is still, and the others know of rank 0.
 */
export class StallWatch {
  readonly #mpi: Mpi;
  readonly #communicator: Communicator;
  readonly #rank: number;
  readonly #size: number;
  readonly #stallMs: number;
  readonly #tell: (text: string) => void;
  readonly #heard = new Map<number, Heard>();
  readonly #sends = new Map<number, MpiRequest>();
  readonly #incoming = mpiMemory(MESSAGE_BYTES);
  #nextMs = 0;

  constructor(
    mpi: Mpi,
    communicator: Communicator,
    stallSeconds: number,
    tell: (text: string) => void,
  ) {
    this.#mpi = mpi;
    this.#communicator = communicator;
    this.#rank = mpi.rank(communicator);
    this.#size = mpi.size(communicator);
    this.#stallMs = 1000 * stallSeconds;
    this.#tell = tell;
  }

  /** To be called often; does little between two beats. */
  step(nowMs: number, own: OwnProgress): void {
    while (this.#mpi.takeArrived(this.#communicator, this.#incoming, TAG)) this.#hear(nowMs);
    if (nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + Math.max(100, Math.min(1000, this.#stallMs / 4));
    this.#beat(own);
    if (this.#stallMs > 0) this.#judge(nowMs, own);
  }

  #beat({ begun, step }: OwnProgress): void {
    const peers =
      this.#rank === 0 ? Array.from({ length: this.#size - 1 }, (_, index) => index + 1) : [0];
    for (const peer of peers) {
      // Who does not take what it was sent is not sent more.
      if (this.#sends.get(peer)?.isDone() === false) continue;
      const memory = mpiMemory(MESSAGE_BYTES);
      new Float64Array(memory.bytes.buffer, 0, NUMBERS).set([this.#rank, begun, step]);
      memory.bytes.set(Buffer.from(hostname()).subarray(0, NAME_BYTES), 8 * NUMBERS);
      const request = this.#mpi.send(this.#communicator, memory, MESSAGE_BYTES, peer, TAG);
      this.#sends.set(peer, { isDone: () => memory.bytes.length > 0 && request.isDone() });
    }
  }

  #hear(nowMs: number): void {
    const { bytes } = this.#incoming;
    const [rank = 0, begun = 0, step = 0] = new Float64Array(bytes.buffer, 0, NUMBERS);
    const name = Buffer.from(bytes.subarray(8 * NUMBERS, MESSAGE_BYTES)).toString("utf8");
    const host = name.replaceAll("\0", "");
    const before = this.#heard.get(rank);
    if (before?.isReported === true && nowMs - before.atMs > this.#stallMs) {
      this.#tell(
        `rank ${rank} on ${host} is back after ${seconds(nowMs - before.atMs)} (step ${step})`,
      );
      before.isReported = false;
    }
    const isSame = before?.begun === begun;
    this.#heard.set(rank, {
      ...{ atMs: nowMs, begun, step, host },
      begunAtMs: isSame ? before.begunAtMs : nowMs,
      isReported: isSame && before.isReported,
    });
  }

  #judge(nowMs: number, own: OwnProgress): void {
    for (const [rank, heard] of this.#heard) {
      if (heard.isReported) continue;
      const silentMs = nowMs - heard.atMs;
      if (silentMs > this.#stallMs) {
        heard.isReported = true;
        this.#tell(
          `rank ${rank} on ${heard.host} has said nothing for ${seconds(silentMs)} (step ${heard.step}): it is stopped or cannot be reached`,
        );
        continue;
      }
      const waitedMs = own.waitingSinceMs === undefined ? 0 : nowMs - own.waitingSinceMs;
      const isBehind = heard.begun < own.begun && nowMs - heard.begunAtMs > this.#stallMs;
      if (own.isTraining && isBehind && waitedMs > this.#stallMs) {
        heard.isReported = true;
        this.#tell(
          `rank ${rank} on ${heard.host} has not come to exchange ${own.begun} for ${seconds(waitedMs)} (step ${heard.step}): its training thread is stuck or slow`,
        );
      }
    }
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
