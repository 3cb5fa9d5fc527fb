// Runs a row program: a list of instructions that engine/cpu/rows/ writes. Every thread runs all of it. Products and
// attention are cut into chunks that threads take from each other, and their results are shared; what stands between
// them is small, so each thread computes it for itself, in memory of its own.
import { attendHead, AttentionHead } from "./attention";
import { productByColumns, productByRows, rowsInTiles } from "./products";
import { productOf16, productOfCodes, takeStoredRows, wholeNumbers } from "./stored-products";
import {
  applyBinary,
  applyScalar,
  applyUnary,
  copyRows,
  layerNorm,
  rootMeanSquareNorm,
  rotate,
  takeRows,
} from "./row-math";

/** Bytes of an instruction: its code, first chunk and end of its chunks (0 where every thread runs it), arguments. */
const INSTRUCTION_BYTES: usize = 96;

// As `ROW_CODES` of engine/cpu/rows/instructions.ts.
const END: u32 = 0;
const WAIT: u32 = 1;
const TAKE_ROWS: u32 = 2;
const RMS_NORM: u32 = 3;
const LAYER_NORM: u32 = 4;
const BINARY: u32 = 5;
const SCALAR: u32 = 6;
const UNARY: u32 = 7;
const ROTATE: u32 = 8;
const COPY: u32 = 9;
const PRODUCT: u32 = 10;
const PRODUCT_COLUMNS: u32 = 11;
const ATTENTION: u32 = 12;
const WHOLE_NUMBERS: u32 = 13;
const PRODUCT_OF_16: u32 = 14;
const PRODUCT_OF_CODES: u32 = 15;
const TAKE_STORED_ROWS: u32 = 16;
const ROWS_IN_TILES: u32 = 17;

/**
 * The state that threads share: chunks done and, in the same line, how many a sleeping thread waits for; an error in a line of
 * its own; then a byte a chunk, 1 once taken.
 */
const DONE: usize = 0;
const WANTED: usize = 4;
const ERROR: usize = 64;
const TAKEN: usize = 128;

/** How often a thread looks for others' chunks before it sleeps until it is woken, or so long at most. */
const LOOKS: u32 = 20000;
const SLEEP_NANOSECONDS: i64 = 1000000;

let place: usize = 0;
let ownBytes: usize = 0;

// @ts-ignore: decorator
@inline
function word(index: usize): u32 {
  return load<u32>(place + (index << 2));
}

/** An address; the lowest bit says that each thread has memory of its own there. */
// @ts-ignore: decorator
@inline
function at(index: usize): usize {
  const address: usize = word(index);
  return address & 1 ? (address & ~(<usize>1)) + ownBytes : address;
}

// @ts-ignore: decorator
@inline
function number(index: usize): f32 {
  return reinterpret<f32>(word(index));
}

/**
 * Runs the program at `program` as thread `thread` of `threads`; `ownSize`: bytes of memory that each thread has beside
 * the others'. Returns early where nothing is left to do for the other threads; thread 0 returns once all is done.
 */
export function runRows(
  program: usize,
  state: usize,
  ownSize: usize,
  thread: u32,
  threads: u32,
): void {
  place = program;
  ownBytes = ownSize * <usize>thread;
  for (;;) {
    const code = word(0);
    const end = word(2);
    if (end != 0) {
      // All of them are taken where so many are done: whoever went on took what was left here.
      if (atomic.load<u32>(state + DONE) < end) share(code, word(1), end, state, thread, threads);
    } else if (code == END) {
      return;
    } else if (code == WAIT) {
      const wanted = word(3);
      const all = word(4);
      if (thread != 0 && (wanted == all || atomic.load<u32>(state + DONE) >= all)) return;
      waitFor(state, wanted);
    } else run(code, 0, state);
    place += INSTRUCTION_BYTES;
  }
}

/**
 * Takes chunks of [first, end). Each thread begins with a range of its own and goes through it in order, so that memory
 * sees one stream a thread, and the same one in every run; then it takes others' from their ends.
 */
function share(
  code: u32,
  first: u32,
  end: u32,
  state: usize,
  thread: u32,
  threads: u32,
): void {
  const count = end - first;
  const taken = state + TAKEN + <usize>first;
  const ownEnd = (count * (thread + 1)) / threads;
  for (let chunk = (count * thread) / threads; chunk < ownEnd; chunk++)
    takeChunk(code, chunk, taken, state);
  for (let other: u32 = 1; other < threads; other++) {
    const owner = (thread + other) % threads;
    const begin = (count * owner) / threads;
    for (let chunk = (count * (owner + 1)) / threads; chunk > begin; chunk--)
      takeChunk(code, chunk - 1, taken, state);
  }
}

// @ts-ignore: decorator
@inline
function takeChunk(code: u32, chunk: u32, taken: usize, state: usize): void {
  if (atomic.load<u8>(taken + <usize>chunk) != 0) return;
  if (atomic.xchg<u8>(taken + <usize>chunk, 1) != 0) return;
  run(code, chunk, state);
  const done = atomic.add<u32>(state + DONE, 1) + 1;
  const wanted = atomic.load<u32>(state + WANTED);
  if (wanted != 0 && done >= wanted) wake(state, wanted);
}

function wake(state: usize, wanted: u32): void {
  if (atomic.cmpxchg<u32>(state + WANTED, wanted, 0) == wanted) atomic.notify(state + DONE, -1);
}

/**
 * Looks for a while, then gives its core away: the thread that works on the last chunk may be waiting for one. Whoever ends that
 * chunk wakes all that sleep; they wait for the same number, since a thread that waits for a later one has seen this one.
 */
function waitFor(state: usize, wanted: u32): void {
  const done = state + DONE;
  for (let look: u32 = 0; look < LOOKS; look++) if (atomic.load<u32>(done) >= wanted) return;
  for (;;) {
    atomic.store<u32>(state + WANTED, wanted);
    const seen = atomic.load<u32>(done);
    if (seen >= wanted) return;
    atomic.wait<u32>(done, seen, SLEEP_NANOSECONDS);
  }
}

/** The columns of a product's chunk, [first, last): word 8 says how many there are, word 9 how many a chunk has. */
// @ts-ignore: decorator
@inline
function firstColumn(chunk: u32): u32 {
  return chunk * word(9);
}

// @ts-ignore: decorator
@inline
function lastColumn(chunk: u32): u32 {
  return min(word(8), firstColumn(chunk) + word(9));
}

function run(code: u32, chunk: u32, state: usize): void {
  switch (code) {
    case TAKE_ROWS:
      if (!takeRows(at(3), at(4), at(5), word(6), word(7), word(8)))
        atomic.store<u32>(state + ERROR, word(9));
      break;
    case RMS_NORM:
      rootMeanSquareNorm(at(3), at(4), at(5), word(6), word(7), number(8));
      break;
    case LAYER_NORM:
      layerNorm(at(3), at(4), word(5), word(6), number(7));
      break;
    case BINARY:
      applyBinary(word(3), at(4), at(5), at(6), word(7), word(8), word(9));
      break;
    case SCALAR:
      applyScalar(word(3), at(4), number(5), at(6), word(7));
      break;
    case UNARY:
      applyUnary(word(3), at(4), at(5), word(6));
      break;
    case ROTATE:
      rotate(
        at(3),
        at(4),
        at(5),
        at(6),
        word(7),
        word(8),
        word(9),
        word(10),
        word(11),
        word(12),
        word(13),
        word(14),
      );
      break;
    case COPY:
      copyRows(
        at(3),
        at(4),
        word(5),
        word(6),
        word(7),
        word(8),
        word(9),
        word(10),
        word(11),
      );
      break;
    case PRODUCT:
      productByRows(
        at(3),
        at(4),
        at(5),
        word(6),
        word(7),
        word(8),
        firstColumn(chunk),
        lastColumn(chunk),
        at(10),
      );
      break;
    case PRODUCT_COLUMNS:
      productByColumns(
        at(3),
        at(4),
        at(5),
        word(6),
        word(7),
        word(8),
        firstColumn(chunk),
        lastColumn(chunk),
      );
      break;
    case ATTENTION:
      attend(chunk);
      break;
    case WHOLE_NUMBERS:
      wholeNumbers(at(3), at(4), word(5), word(6), word(7), number(8), word(9));
      break;
    case PRODUCT_OF_16:
      productOf16(
        at(3),
        at(4),
        at(5),
        word(6),
        word(7),
        word(8),
        firstColumn(chunk),
        lastColumn(chunk),
        word(10),
        at(11),
        at(12),
      );
      break;
    case PRODUCT_OF_CODES:
      productOfCodes(
        at(3),
        at(4),
        at(10),
        at(11),
        at(5),
        word(6),
        word(7),
        word(8),
        firstColumn(chunk),
        lastColumn(chunk),
        word(12),
        word(13),
        number(14),
        word(15),
        at(16),
      );
      break;
    case TAKE_STORED_ROWS:
      if (
        !takeStoredRows(
          at(3),
          at(4),
          at(10),
          at(11),
          at(5),
          word(6),
          word(7),
          word(8),
          word(15),
          word(12),
          word(13),
          number(14),
        )
      )
        atomic.store<u32>(state + ERROR, word(9));
      break;
    case ROWS_IN_TILES:
      rowsInTiles(at(3), at(4), word(5), word(6));
      break;
    default:
      unreachable();
  }
}

/** A chunk is a head of keys of a sequence: chunk = sequence * heads + head. */
function attend(chunk: u32): void {
  const heads = word(12);
  const groups = word(13);
  const rows = word(14);
  const cached = word(15);
  const width = word(16);
  const sequence = chunk / heads;
  const head = chunk % heads;
  const room = at(10);
  const task = changetype<AttentionHead>(room);
  task.query = at(3) + ((<usize>(chunk * groups * rows * width)) << 2);
  task.keys = at(4) + ((<usize>(chunk * cached * width)) << 2);
  task.values = at(5) + ((<usize>(chunk * cached * width)) << 2);
  task.ownKeys = at(6) + ((<usize>(chunk * rows * width)) << 2);
  task.ownValues = at(7) + ((<usize>(chunk * rows * width)) << 2);
  // A window's mask has a row for every new one.
  const maskRows: u32 = word(18) != 0 ? rows : 1;
  task.mask = at(8) + ((<usize>(sequence * cached * maskRows)) << 2);
  task.maskStride = word(18) != 0 ? cached : 0;
  task.ownMask = at(9);
  const outStride = heads * groups * width;
  task.out = at(11) + ((<usize>(sequence * rows * outStride + head * groups * width)) << 2);
  task.outStride = outStride;
  task.scores = room + 128;
  task.groups = groups;
  task.rows = rows;
  task.cached = cached;
  task.width = width;
  task.cap = number(17);
  attendHead(task);
}
