import { expect, it } from "vitest";
import type { Address } from "../../src/engine/cpu/rows/instructions.ts";
import { RowBuilder } from "../../src/engine/cpu/rows/row-builder.ts";
import { prepareRows, roomBytes } from "../../src/engine/cpu/rows/row-step.ts";
import { dense } from "../../src/engine/cpu/rows/strided.ts";
import { KernelPool } from "../../src/engine/host/kernel-pool.ts";
import { SharedMemory } from "../../src/engine/host/memory.ts";
import { Random } from "../../src/util/random.ts";

const SIZE = 64;
const PRODUCTS = 12;
const ROOM = 65_536;

/**
 * A program in which each product reads all of the one before; 16 chunks each. Gives its last result for a row times a factor:
 * what stands there from a run with another one is wrong.
 */
function chain(threads: number): {
  readonly run: (factor: number) => Uint32Array;
  readonly close: () => Promise<void>;
} {
  const random = new Random(7);
  const drawn = (count: number, size: number): Float32Array =>
    Float32Array.from({ length: count }, () => size * random.normal());
  const builder = new RowBuilder();
  const row = drawn(SIZE, 1);
  const start = builder.constant(row);
  let x = dense(start, [1, SIZE], 0);
  for (let index = 0; index < PRODUCTS; index++) {
    const w = builder.constant(drawn(SIZE * SIZE, 1 / Math.sqrt(SIZE)));
    const words = (result: Address) => [x.address, w, result, 1, SIZE, SIZE, 4];
    x = builder.large("product", [1, SIZE], [x], "shared", SIZE / 4, words);
  }
  // Threads are woken for so much work only.
  builder.countWork(1e9);
  const program = builder.finish();
  const bytes = roomBytes(program, threads);
  const memory = new SharedMemory(ROOM + bytes);
  const pool = new KernelPool(threads);
  pool.retain(memory);
  const room = { memory, byteOffset: ROOM };
  const step = prepareRows({ program, pool, room, addressOf: () => 0 });
  const end = ROOM + bytes - threads * program.ownBytes - program.sharedBytes;
  return {
    run: (factor) => {
      const numbers = new Float32Array(memory.shared, end + start.byteOffset, SIZE);
      for (const [index, number] of row.entries()) numbers[index] = factor * number;
      step();
      return new Uint32Array(memory.shared, end + x.address.byteOffset, SIZE).slice();
    },
    close: () => pool.close(),
  };
}

it("more threads than cores give the bits of one, however they are interrupted", async () => {
  const one = chain(1);
  const wanted = [1, -3].map((factor) => ({ factor, bits: one.run(factor) }));
  await one.close();
  const many = chain(4);
  for (let count = 0; count < 150; count++)
    for (const { factor, bits } of wanted) expect(many.run(factor)).toEqual(bits);
  await many.close();
  expect(wanted[0]?.bits).not.toEqual(wanted[1]?.bits);
});
