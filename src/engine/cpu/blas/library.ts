import type { Pointer } from "../../host/ort-api.ts";

/** C [m, n] = alpha A B + beta C of fp32 matrices, row after row, where A and B may be stored transposed. */
export interface MatrixProduct {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly alpha: number;
  readonly beta: number;
}

/** A library of the system that multiplies matrices. */
export interface Blas {
  /** Its name, version and the kernels that it takes on this processor: what decides about bits. */
  readonly version: string;
  /** Throws nothing: a wrong size is the caller's fault and reads strange memory. */
  multiply(product: MatrixProduct, a: Pointer, b: Pointer, c: Pointer): void;
  /** Copies fp32 numbers between places that do not overlap. */
  copy(count: number, from: Pointer, to: Pointer): void;
  /** Sets the threads of the products that follow on this thread; other users of the library may have changed them. */
  takeThreads(count?: number): void;
}
