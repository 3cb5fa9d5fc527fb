import { EngineError } from "../../errors.ts";
import type { KernelPlace } from "../../host/host-kernels.ts";
import { ITEM_WORDS, KERNEL_ROWS } from "../../host/kernel-job.ts";
import type { KernelPool } from "../../host/kernel-pool.ts";
import { alignUp } from "../../../plan/packing.ts";
import {
  INSTRUCTION_WORDS,
  programBytes,
  ROW_CODES,
  STATE_WORDS,
  stateBytes,
} from "./instructions.ts";
import type { Address, InstructionWord, RowCode, RowProgram } from "./instructions.ts";

/**
 * Fewer multiply-adds than this a run are done by one thread: waking another one, and waiting for it between products,
 * takes longer than what it would take over.
 */
const SHARED_WORK = 2e6;

/** So many multiply-adds take one thread less time than another one takes to start. */
const BRIEF_WORK = 2.5e8;

/** Bytes that a program takes beside the plan's buffers. */
export function roomBytes(program: RowProgram, threads: number): number {
  return (
    alignUp(stateBytes(program)) +
    alignUp(programBytes(program)) +
    program.sharedBytes +
    threadCount(program, threads) * program.ownBytes
  );
}

function threadCount(program: RowProgram, threads: number): number {
  return program.multiplyAdds < SHARED_WORK ? 1 : threads;
}

export interface RowStepParts {
  readonly program: RowProgram;
  readonly pool: KernelPool;
  /** `roomBytes` of memory, in which all buffers of the program stand. */
  readonly room: KernelPlace;
  readonly addressOf: (buffer: string) => number;
}

/** Writes a program into its room; running it is one call. */
export function prepareRows({ program, pool, room, addressOf }: RowStepParts): () => void {
  const state = room.byteOffset;
  const words = state + alignUp(stateBytes(program));
  const shared = words + alignUp(programBytes(program));
  const own = shared + program.sharedBytes;
  const locate = (address: Address): number => {
    switch (address.space) {
      case "shared":
        return shared + address.byteOffset;
      case "own":
        // The lowest bit tells of memory that each thread has for itself.
        return own + address.byteOffset + 1;
      case "buffer":
        return addressOf(address.buffer) + address.byteOffset;
    }
  };
  const { shared: buffer } = room.memory;
  writeProgram(new DataView(buffer, words, programBytes(program)), program, locate);
  for (const { byteOffset, numbers } of program.constants)
    new Float32Array(buffer, shared + byteOffset, numbers.length).set(numbers);
  const count = threadCount(program, pool.threads);
  const memory = pool.numberOf(room.memory);
  const items = new Uint32Array(count * ITEM_WORDS);
  for (let thread = 0; thread < count; thread++)
    items.set([memory, words, state, program.ownBytes, thread, count], thread * ITEM_WORDS);
  const stateOfRun = new Uint8Array(buffer, state, stateBytes(program));
  const stateWords = new Int32Array(buffer, state, STATE_WORDS.error + 1);
  return () => {
    // The job that starts the threads makes it seen by all.
    stateOfRun.fill(0);
    pool.run(KERNEL_ROWS, items, [], { isBrief: program.multiplyAdds < BRIEF_WORK });
    const error = Atomics.load(stateWords, STATE_WORDS.error);
    if (error === 0) return;
    throw new EngineError(
      "engine.cpu.run",
      `${program.lookups[error - 1]} cannot be run on these inputs: it looks up a row outside its table`,
    );
  };
}

function writeProgram(
  view: DataView,
  program: RowProgram,
  locate: (address: Address) => number,
): void {
  const write = (index: number, place: number, word: InstructionWord): void => {
    const at = 4 * (index * INSTRUCTION_WORDS + place);
    if (word === undefined) view.setUint32(at, 0, true);
    else if (typeof word === "number") view.setUint32(at, word, true);
    else if ("float" in word) view.setFloat32(at, word.float, true);
    else view.setUint32(at, locate(word), true);
  };
  for (const [index, { code, chunks, words }] of program.instructions.entries()) {
    write(index, 0, ROW_CODES[code]);
    write(index, 1, chunks?.first ?? 0);
    write(index, 2, chunks?.end ?? 0);
    for (const [place, word] of words.entries()) write(index, 3 + place, word);
    if (code === "wait") write(index, 4, program.chunkCount);
  }
  write(program.instructions.length, 0, ROW_CODES.end);
}

/** What a program is made of, in a few words. */
export function describeRows({ instructions }: RowProgram): string {
  const count = (...codes: readonly RowCode[]): number =>
    instructions.filter(({ code }) => codes.includes(code)).length;
  const whole = count("product", "productByColumns");
  const of16 = count("productOf16");
  const ofCodes = count("productOfCodes");
  return [
    `WebAssembly, one program of ${instructions.length} instructions`,
    ...(whole > 0 ? [`${whole} products`] : []),
    ...(of16 > 0 ? [`${of16} products of 16-bit weights`] : []),
    ...(ofCodes > 0 ? [`${ofCodes} products of codes with rows in 16 bits a group`] : []),
  ].join(", ");
}
