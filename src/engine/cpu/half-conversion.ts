import { KERNEL_FLOAT16_TO_FLOAT32, KERNEL_FLOAT32_TO_FLOAT16 } from "../host/kernel-job.ts";
import type { KernelPool } from "../host/kernel-pool.ts";
import type { KernelPlace } from "../host/host-kernels.ts";
import { EngineError } from "../errors.ts";

/** Numbers a thread converts in one go. */
const CHUNK = 1 << 16;

/**
 * Converts `count` fp32 numbers to fp16 bits, nearest-even, on all threads of a pool: what master weights on the
 * host need before an engine that computes in fp16 takes them. Both places stand in one memory.
 */
export function convertToFloat16(
  pool: KernelPool,
  source: KernelPlace,
  target: KernelPlace,
  count: number,
): void {
  pool.run(KERNEL_FLOAT32_TO_FLOAT16, conversionItems(pool, source, 4, target, 2, count), []);
}

/** The way back, exact. */
export function convertToFloat32(
  pool: KernelPool,
  source: KernelPlace,
  target: KernelPlace,
  count: number,
): void {
  pool.run(KERNEL_FLOAT16_TO_FLOAT32, conversionItems(pool, source, 2, target, 4, count), []);
}

function conversionItems(
  pool: KernelPool,
  source: KernelPlace,
  sourceBytes: number,
  target: KernelPlace,
  targetBytes: number,
  count: number,
): Uint32Array {
  if (source.memory !== target.memory) {
    throw new EngineError(
      "engine.cpu.kernels",
      "a conversion's numbers and their copies must stand in one memory",
    );
  }
  const memory = pool.numberOf(source.memory);
  const words: number[] = [];
  for (let start = 0; start < count; start += CHUNK) {
    words.push(
      memory,
      source.byteOffset + sourceBytes * start,
      target.byteOffset + targetBytes * start,
      Math.min(CHUNK, count - start),
      0,
      0,
      0,
      0,
    );
  }
  return Uint32Array.from(words);
}
