import { Random } from "../util/random.ts";

const ROUNDS = 4;

/**
 * A pseudo-random order of 0 to `size` - 1 that needs no memory: a Feistel network over the next power of four,
 * walked until it lands inside (at most four steps on average). Equal arguments give equal orders on every machine.
 */
export function permutation(size: number, seed: number, epoch: number): (index: number) => number {
  let halfBits = 1;
  while (4 ** halfBits < size) halfBits++;
  const half = 2 ** halfBits;
  const mask = half - 1;
  // Separate streams for seed and epoch, so that (1, 2) and (2, 1) share nothing.
  const keys = new Random(new Random(seed).uint32() * 2 ** 20 + (epoch % 2 ** 20));
  const roundKeys = Array.from({ length: ROUNDS }, () => keys.uint32());
  return (index) => {
    let value = index;
    do {
      let left = Math.floor(value / half);
      let right = value % half;
      for (const key of roundKeys) {
        let mixed = Math.imul(right ^ key, 0x9e3779b1);
        mixed = Math.imul(mixed ^ (mixed >>> 15), 0x85ebca77);
        mixed ^= mixed >>> 13;
        [left, right] = [right, ((left ^ mixed) & mask) >>> 0];
      }
      value = left * half + right;
    } while (value >= size);
    return value;
  };
}
