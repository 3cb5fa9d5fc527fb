import { hostname } from "node:os";
import type { Work } from "../protocol.ts";
import type { Communicator, Mpi, MpiRequest } from "./mpi.ts";
import { mpiMemory } from "./mpi.ts";

/** Of the messages of the watch, on a communicator of its own. */
const TAG = 1;
const NAME_BYTES = 64;
/** rank, exchanges begun, step, whether at work, kind of the oldest exchange (-1: none), its age; then the host's name. */
const NUMBERS = 6;
/** Kinds of exchanges, as they are numbered in messages. */
const KINDS: readonly Work["kind"][] = [
  ...(["allReduce", "reduceScatter", "allGather", "broadcast"] as const),
  ...(["send", "receive", "barrier"] as const),
];
const MESSAGE_BYTES = 8 * NUMBERS + NAME_BYTES;

/** How far a member is. */
interface Standing {
  /** Exchanges that its training thread has begun. */
  readonly begun: number;
  readonly step: number;
  /** Whether it is at work with the others: else they do not expect it. */
  readonly isWorking: boolean;
  /** The oldest exchange that it waits for, and for how long. */
  readonly waiting: { readonly kind: string; readonly ms: number } | undefined;
}

interface Heard extends Standing {
  readonly host: string;
  readonly atMs: number;
  /** Since when it has begun so many. */
  readonly begunAtMs: number;
  isReported: boolean;
}

/** What this process is doing, as the others hear it. */
export interface OwnProgress extends Omit<Standing, "waiting"> {
  /** The oldest exchange under way; nothing where none is. */
  readonly waiting: { readonly kind: Work["kind"]; readonly sinceMs: number } | undefined;
}

/**
 * Tells of members that stall. Every process tells rank 0 now and then that it lives and how far it is, and rank 0
 * tells the others; so rank 0 knows which one is still, and the others know of rank 0. Where all live and each waits for
 * another, rank 0 tells where each of them stands.
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
  /** Exchanges that all had begun when they were told to stand still. */
  #stillAt: number | undefined;

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
    const standing: Standing = {
      ...{ begun: own.begun, step: own.step, isWorking: own.isWorking },
      waiting: own.waiting && { kind: own.waiting.kind, ms: nowMs - own.waiting.sinceMs },
    };
    this.#beat(standing);
    if (this.#stallMs === 0) return;
    this.#judge(nowMs, standing);
    if (this.#rank === 0) this.#judgeAll(nowMs, standing);
  }

  #beat({ begun, step, isWorking, waiting }: Standing): void {
    const peers =
      this.#rank === 0 ? Array.from({ length: this.#size - 1 }, (_, index) => index + 1) : [0];
    for (const peer of peers) {
      // Who does not take what it was sent is not sent more.
      if (this.#sends.get(peer)?.isDone() === false) continue;
      const memory = mpiMemory(MESSAGE_BYTES);
      new Float64Array(memory.bytes.buffer, 0, NUMBERS).set([
        ...[this.#rank, begun, step, isWorking ? 1 : 0],
        ...[KINDS.findIndex((kind) => kind === waiting?.kind), waiting?.ms ?? 0],
      ]);
      memory.bytes.set(Buffer.from(hostname()).subarray(0, NAME_BYTES), 8 * NUMBERS);
      const request = this.#mpi.send(this.#communicator, memory, MESSAGE_BYTES, peer, TAG);
      this.#sends.set(peer, { isDone: () => memory.bytes.length > 0 && request.isDone() });
    }
  }

  #hear(nowMs: number): void {
    const { bytes } = this.#incoming;
    const [rank = 0, begun = 0, step = 0, isWorking, kind = -1, ms = 0] = new Float64Array(
      bytes.buffer,
      0,
      NUMBERS,
    );
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
      ...{ atMs: nowMs, begun, step, host, isWorking: isWorking === 1 },
      waiting: kind < 0 ? undefined : { kind: KINDS[kind] ?? "exchange", ms },
      begunAtMs: isSame ? before.begunAtMs : nowMs,
      isReported: isSame && before.isReported,
    });
  }

  #judge(nowMs: number, own: Standing): void {
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
      const waitedMs = own.waiting?.ms ?? 0;
      const isStill = heard.waiting === undefined && nowMs - heard.begunAtMs > this.#stallMs;
      if (heard.isWorking && isStill && waitedMs > this.#stallMs) {
        heard.isReported = true;
        this.#tell(
          `rank ${rank} on ${heard.host} has not come to an exchange for ${seconds(nowMs - heard.begunAtMs)} (step ${heard.step}): its training thread is stuck or slow`,
        );
      }
    }
  }

  /** Everybody lives, and each waits for another: no message will end that. */
  #judgeAll(nowMs: number, own: Standing): void {
    const others = [...this.#heard.values()];
    const isStill =
      others.length === this.#size - 1 &&
      [own, ...others].every(({ waiting }) => (waiting?.ms ?? 0) > this.#stallMs) &&
      others.every(({ atMs }) => nowMs - atMs < this.#stallMs);
    if (!isStill) return;
    const begun = own.begun + others.reduce((sum, heard) => sum + heard.begun, 0);
    if (this.#stillAt === begun) return;
    this.#stillAt = begun;
    const lines = [
      lineOf(0, hostname(), own),
      ...[...this.#heard].map(([rank, heard]) => lineOf(rank, heard.host, heard)),
    ];
    this.#tell(`nothing moves: every process waits for another\n${lines.join("\n")}`);
  }
}

function lineOf(rank: number, host: string, { step, begun, waiting }: Standing): string {
  const what = waiting === undefined ? "nothing" : `${waiting.kind}, for ${seconds(waiting.ms)}`;
  return `  rank ${rank} on ${host}: after step ${step}, exchange ${begun}, waits for ${what}`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
