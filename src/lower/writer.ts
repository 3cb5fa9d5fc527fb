import type { FunctionBuilder } from "../mil/builder.ts";

/** The smallest and the largest number that a value may hold. */
export type Bounds = readonly [lowest: number, highest: number];

/** What a piece of the lowering needs to write ops, or to say why it cannot. */
export interface Writer {
  readonly builder: FunctionBuilder;
  /** The error that leaves the program on the host, with the reason. */
  refuse(reason: string): Error;
}
