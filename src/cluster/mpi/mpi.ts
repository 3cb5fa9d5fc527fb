import { foreign } from "../../ffi/foreign.ts";
import { ClusterError } from "../errors.ts";
import type { WaitingCall } from "../protocol.ts";
import type { MpiLibrary } from "./library.ts";

/** Values of Open MPI's mpi.h. */
const THREAD_FUNNELED = 1;
const ANY_SOURCE = -1;
const UNDEFINED_COLOR = -32766;
const LONGEST_ERROR = 256;
/** An int of C counts bytes. */
export const LARGEST_MESSAGE_BYTES = 2 ** 30;

/**
 * Settings of Open MPI that are made unless the user made others: V8 handles SIGSEGV itself, and no transport of
 * ours needs the C library's memory calls rewritten under it.
 */
const SETTINGS: Readonly<Record<string, string>> = {
  OMPI_MCA_opal_signal: "",
  OMPI_MCA_memory: "^patcher",
  OMPI_MCA_mpi_yield_when_idle: "1",
};

/** Memory that MPI reads and writes: its address stays. */
export interface MpiMemory {
  readonly bytes: Uint8Array;
  readonly address: bigint;
}

export function mpiMemory(byteLength: number): MpiMemory {
  const bytes = new Uint8Array(Math.max(8, byteLength));
  return { bytes, address: foreign().address(bytes) };
}

/** A communicator. */
export type Communicator = bigint & { readonly __communicator: true };

/** What is under way: asking drives it on. */
export interface MpiRequest {
  isDone(): boolean;
}

/** How bytes are divided over the members of a communicator. */
export interface ByteRanges {
  readonly counts: readonly number[];
  readonly offsets: readonly number[];
}

/** MPI as one thread calls it: the one that made this. Every call's error is thrown as `ClusterError` `cluster.mpi.call`. */
export class Mpi {
  readonly world: Communicator;
  readonly version: string;
  readonly #library: MpiLibrary;
  readonly #flag = mpiMemory(8);
  readonly #cell = mpiMemory(8);

  readonly #inside: (call: WaitingCall | undefined) => void;

  /** `inside` hears which call has begun that waits for other members, and that it has ended. */
  constructor(
    library: MpiLibrary,
    inside: (call: WaitingCall | undefined) => void = () => undefined,
  ) {
    this.#library = library;
    this.#inside = inside;
    this.version = library.version;
    this.world = library.handles.world as Communicator;
    const setenv = foreign().load(null).func("int setenv(const char *, const char *, int)");
    for (const [name, value] of Object.entries(SETTINGS)) setenv(name, value, 0);
    this.#waiting("MPI_Init_thread", 0n, 0n, THREAD_FUNNELED, this.#cell.address);
    this.#call("MPI_Comm_set_errhandler", this.world, library.handles.errorsReturn);
  }

  rank(communicator: Communicator): number {
    this.#call("MPI_Comm_rank", communicator, this.#cell.address);
    return this.#int(this.#cell);
  }

  size(communicator: Communicator): number {
    this.#call("MPI_Comm_size", communicator, this.#cell.address);
    return this.#int(this.#cell);
  }

  duplicate(communicator: Communicator): Communicator {
    this.#waiting("MPI_Comm_dup", communicator, this.#cell.address);
    return this.#handle(this.#cell) as Communicator;
  }

  /** The communicator of those with the same color, in the order of their keys. Waits for all members. */
  split(communicator: Communicator, color: number | undefined, key: number): Communicator {
    const { address } = this.#cell;
    this.#waiting("MPI_Comm_split", communicator, color ?? UNDEFINED_COLOR, key, address);
    return this.#handle(this.#cell) as Communicator;
  }

  /** Exchanges bytes with every member: mine for member m from `send`'s range m. */
  allToAll(
    communicator: Communicator,
    source: MpiMemory,
    send: ByteRanges,
    target: MpiMemory,
    receive: ByteRanges,
  ): MpiRequest {
    const { byte } = this.#library.handles;
    const lists = [send.counts, send.offsets, receive.counts, receive.offsets].map(ints);
    const [sendCounts, sendOffsets, receiveCounts, receiveOffsets] = lists;
    return this.#start("MPI_Ialltoallv", lists, [
      ...[source.address, sendCounts?.address, sendOffsets?.address, byte],
      ...[target.address, receiveCounts?.address, receiveOffsets?.address, byte],
      communicator,
    ]);
  }

  /** Everybody gets everybody's bytes. */
  allGather(
    communicator: Communicator,
    source: MpiMemory,
    byteLength: number,
    target: MpiMemory,
    { counts, offsets }: ByteRanges,
  ): MpiRequest {
    const { byte } = this.#library.handles;
    const lists = [counts, offsets].map(ints);
    return this.#start("MPI_Iallgatherv", lists, [
      ...[source.address, byteLength, byte],
      ...[target.address, lists[0]?.address, lists[1]?.address, byte],
      communicator,
    ]);
  }

  broadcast(
    communicator: Communicator,
    memory: MpiMemory,
    byteLength: number,
    root: number,
  ): MpiRequest {
    const { byte } = this.#library.handles;
    return this.#start("MPI_Ibcast", [], [memory.address, byteLength, byte, root, communicator]);
  }

  barrier(communicator: Communicator): MpiRequest {
    return this.#start("MPI_Ibarrier", [], [communicator]);
  }

  send(
    communicator: Communicator,
    memory: MpiMemory,
    byteLength: number,
    to: number,
    tag: number,
  ): MpiRequest {
    const { byte } = this.#library.handles;
    return this.#start("MPI_Isend", [], [memory.address, byteLength, byte, to, tag, communicator]);
  }

  receive(
    communicator: Communicator,
    memory: MpiMemory,
    byteLength: number,
    from: number,
    tag: number,
  ): MpiRequest {
    const { byte } = this.#library.handles;
    return this.#start(
      "MPI_Irecv",
      [],
      [...[memory.address, byteLength, byte, from, tag], communicator],
    );
  }

  /** Takes a message of anybody's that has come already; false where none has. */
  takeArrived(communicator: Communicator, memory: MpiMemory, tag: number): boolean {
    this.#call("MPI_Iprobe", ANY_SOURCE, tag, communicator, this.#flag.address, 0n);
    if (this.#int(this.#flag) === 0) return false;
    const { byte } = this.#library.handles;
    const { address, bytes } = memory;
    this.#call("MPI_Recv", address, bytes.length, byte, ANY_SOURCE, tag, communicator, 0n);
    return true;
  }

  /** Ends all processes at once; does not return. */
  abort(code: number): void {
    this.#library.functions.MPI_Abort(this.world, code);
  }

  finalize(): void {
    this.#waiting("MPI_Finalize");
  }

  /** `kept`: memory that the operation reads while it is under way. */
  #start(
    name: keyof MpiLibrary["functions"],
    kept: readonly unknown[],
    operands: readonly unknown[],
  ): MpiRequest {
    const request = mpiMemory(8);
    this.#call(name, ...operands, request.address);
    let held: readonly unknown[] | undefined = kept;
    return {
      isDone: () => {
        if (held === undefined) return true;
        this.#call("MPI_Test", request.address, this.#flag.address, 0n);
        if (this.#int(this.#flag) === 0) return false;
        held = undefined;
        return true;
      },
    };
  }

  #waiting(name: WaitingCall, ...operands: readonly unknown[]): void {
    this.#inside(name);
    this.#call(name, ...operands);
    this.#inside(undefined);
  }

  #call(name: keyof MpiLibrary["functions"], ...operands: readonly unknown[]): void {
    const code = this.#library.functions[name](...operands) as number;
    if (code === 0) return;
    throw new ClusterError("cluster.mpi.call", `${name}: ${this.#errorText(code)}`, {
      remedy:
        "Another process of the group has ended or cannot be reached; mpirun's words say which.",
    });
  }

  #errorText(code: number): string {
    const text = mpiMemory(LONGEST_ERROR);
    this.#library.functions.MPI_Error_string(code, text.address, this.#cell.address);
    return Buffer.from(text.bytes.subarray(0, this.#int(this.#cell))).toString("utf8");
  }

  #int({ bytes }: MpiMemory): number {
    return new Int32Array(bytes.buffer, bytes.byteOffset, 1)[0] ?? 0;
  }

  #handle({ bytes }: MpiMemory): bigint {
    return new BigUint64Array(bytes.buffer, bytes.byteOffset, 1)[0] ?? 0n;
  }
}

function ints(values: readonly number[]): MpiMemory {
  const memory = mpiMemory(4 * values.length);
  new Int32Array(memory.bytes.buffer).set(values);
  return memory;
}
