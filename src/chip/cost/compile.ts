/**
 * Milliseconds of compiling an op of a program with one other op in it: the compiler's time grows with the square of the
 * ops. A fused training step of 2, 4, 6 and 8 layers took 9, 37, 84 and 162 s (ANEForge); that such a layer with its
 * backward pass and its update is about 230 ops is our reading of its sources' op list, not a count.
 */
const MS_PER_PAIR = 0.04;

/** Milliseconds that compiling a program of so many ops takes. Nobody has measured it for programs of this project. */
export function compileMs(operationCount: number): number {
  return MS_PER_PAIR * operationCount ** 2;
}
