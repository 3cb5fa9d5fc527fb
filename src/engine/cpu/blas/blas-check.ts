import type { Pointer } from "../../host/ort-api.ts";
import type { Blas, MatrixProduct } from "./library.ts";

/** Sizes that no kernel's tile divides, so that edges are multiplied too. */
const SIZES = { m: 37, n: 29, k: 53 } as const;

/** A product of fp32 numbers near 1 may differ by this from the exact one. */
const TOLERANCE = 1e-4;

const CASES: readonly Omit<MatrixProduct, "m" | "n" | "k">[] = [
  { transposeA: false, transposeB: false, alpha: 1, beta: 0 },
  { transposeA: true, transposeB: false, alpha: 0.5, beta: 1 },
  { transposeA: false, transposeB: true, alpha: 1, beta: 1 },
  { transposeA: true, transposeB: true, alpha: -2, beta: 0 },
];

/**
 * What a library gets wrong of products whose results are known, or nothing: one with another interface (64-bit sizes,
 * columns first) would otherwise pass as numbers.
 */
export function blasFault(
  blas: Blas,
  addressOf: (array: Uint8Array) => Pointer,
): string | undefined {
  const { m, n, k } = SIZES;
  const address = (array: Float32Array): Pointer =>
    addressOf(new Uint8Array(array.buffer, 0, array.byteLength));
  const a = numbers(m * k, 0.37);
  const b = numbers(k * n, 0.73);
  for (const one of CASES) {
    const product = { ...one, m, n, k };
    const before = numbers(m * n, 0.11);
    const c = one.beta === 0 ? new Float32Array(m * n).fill(Number.NaN) : before.slice();
    blas.multiply(product, address(a), address(b), address(c));
    for (let row = 0; row < m; row++) {
      for (let column = 0; column < n; column++) {
        const place = row * n + column;
        let sum = 0;
        for (let inner = 0; inner < k; inner++)
          sum +=
            (a[one.transposeA ? inner * m + row : row * k + inner] ?? 0) *
            (b[one.transposeB ? column * k + inner : inner * n + column] ?? 0);
        const wanted = one.alpha * sum + one.beta * (before[place] ?? 0);
        const found = c[place] ?? Number.NaN;
        // Also for NaN.
        if (!(Math.abs(found - wanted) <= TOLERANCE * k))
          return `it gives ${found} for ${wanted} in a product of [${m}, ${k}] and [${k}, ${n}]`;
      }
    }
  }
  const copied = new Float32Array(a.length);
  blas.copy(a.length, address(a), address(copied));
  const wrong = copied.findIndex((value, index) => value !== a[index]);
  return wrong === -1 ? undefined : `it copies ${a[wrong]} as ${copied[wrong]}`;
}

/** Large enough to be divided among threads, and no multiple of a tile either. */
const DIVIDED = { m: 323, n: 211, k: 197 } as const;
const THREAD_COUNTS = [1, 2, 3] as const;

/**
 * Whether a library's results differ by the number of its threads: the same run on another machine, or divided among
 * processes, would then have other bits.
 */
export function threadsChangeBits(blas: Blas, addressOf: (array: Uint8Array) => Pointer): boolean {
  const { m, n, k } = DIVIDED;
  const a = numbers(m * k, 0.37);
  const b = numbers(k * n, 0.73);
  const addresses = [a, b].map((array) => addressOf(new Uint8Array(array.buffer)));
  const [left = 0n, right = 0n] = addresses;
  const bytesOf = (one: (typeof CASES)[number], threads: number): Buffer => {
    const c = Buffer.alloc(4 * m * n);
    blas.takeThreads(threads);
    blas.multiply({ ...one, m, n, k }, left, right, addressOf(c));
    return c;
  };
  const differs = CASES.some((one) => {
    const [first, ...others] = THREAD_COUNTS.map((threads) => bytesOf(one, threads));
    return others.some((other) => first?.equals(other) !== true);
  });
  blas.takeThreads();
  return differs;
}

/** Numbers between -1 and 1 without a pattern that a wrong stride would keep. */
function numbers(count: number, seed: number): Float32Array {
  return Float32Array.from({ length: count }, (_, index) => Math.sin(seed + index * index * 0.618));
}
