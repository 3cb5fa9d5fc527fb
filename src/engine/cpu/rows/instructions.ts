// What a row program is made of, before it knows where its memory stands. engine/host/assembly/shared/row-program.ts
// runs it and reads words in this order.

/** The instructions' codes. */
export const ROW_CODES = {
  end: 0,
  wait: 1,
  takeRows: 2,
  rmsNorm: 3,
  layerNorm: 4,
  binary: 5,
  scalar: 6,
  unary: 7,
  rotate: 8,
  copy: 9,
  product: 10,
  productByColumns: 11,
  attention: 12,
  wholeNumbers: 13,
  productOf16: 14,
  productOfCodes: 15,
  takeStoredRows: 16,
  rowsInTiles: 17,
} as const;
export type RowCode = keyof typeof ROW_CODES;

export const BINARY_KINDS = { add: 0, mul: 1, sub: 2 } as const;
export const UNARY_KINDS = {
  silu: 0,
  relu: 1,
  gelu: 2,
  gelu_tanh: 3,
  tanh: 4,
  sigmoid: 5,
} as const;

/** Words of an instruction: code, first chunk, end of its chunks, arguments. */
export const INSTRUCTION_WORDS = 24;
/** Bytes before the scores in an attention's room: what one head reads. */
export const HEAD_BYTES = 128;
/** What threads share: words for the chunks that are done and for an error, a line each, then a byte a chunk. */
export const STATE_WORDS = { done: 0, error: 16 } as const;
const TAKEN_AT = 128;

/** Where numbers stand. */
export type Address =
  /** Once for all threads; `byteOffset` into the program's room. */
  | { readonly space: "shared"; readonly byteOffset: number }
  /** Once for each thread. */
  | { readonly space: "own"; readonly byteOffset: number }
  /** In a persistent buffer of the plan. */
  | { readonly space: "buffer"; readonly buffer: string; readonly byteOffset: number };

/** An argument: a whole number, the bits of an fp32, or an address; nothing is address 0. */
export type InstructionWord = number | { readonly float: number } | Address | undefined;

export interface RowInstruction {
  readonly code: RowCode;
  /** Chunks before it; absent where every thread runs it whole. */
  readonly chunks?: { readonly first: number; readonly end: number };
  readonly words: readonly InstructionWord[];
}

/** Numbers of a constant and where they stand in the shared room. */
export interface RowConstant {
  readonly byteOffset: number;
  readonly numbers: Float32Array;
}

/** A section as one list of instructions. */
export interface RowProgram {
  readonly instructions: readonly RowInstruction[];
  readonly chunkCount: number;
  readonly constants: readonly RowConstant[];
  readonly sharedBytes: number;
  /** Of each thread. */
  readonly ownBytes: number;
  /** Multiply-adds of one run: whether more threads are worth waking. */
  readonly multiplyAdds: number;
  /** Labels of the dispatches whose lookups may go outside a table, by the error that says so, counted from 1. */
  readonly lookups: readonly string[];
}

/** Bytes of the program's own words. */
export function programBytes(program: RowProgram): number {
  return (program.instructions.length + 1) * INSTRUCTION_WORDS * 4;
}

/** Bytes of what threads share beside results: chunks done, an error, which chunks are taken. */
export function stateBytes(program: RowProgram): number {
  return TAKEN_AT + program.chunkCount;
}
