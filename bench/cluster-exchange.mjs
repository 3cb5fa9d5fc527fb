// One of the processes of bench/cluster.mjs: sums `elements` fp32 numbers over all, `rounds` times; rank 0 prints the
// median in milliseconds.
import { Cluster } from "../dist/cluster/index.js";

const [elements = 1e6, rounds = 3] = process.argv.slice(2).map(Number);
const cluster = await Cluster.open({ stallSeconds: 0 });
const { world, rank } = cluster;
const numbers = new Float32Array(new SharedArrayBuffer(4 * elements)).fill(rank + 1);
const few = new Float32Array(new SharedArrayBuffer(4 * 100_000));
await world.allReduce([few]).wait();
const times = [];
for (let round = 0; round < rounds; round++) {
  await world.barrier().wait();
  const startedMs = performance.now();
  await world.allReduce([numbers]).wait();
  times.push(performance.now() - startedMs);
}
await world.barrier().wait();
if (rank === 0) {
  const ms = times.toSorted((a, b) => a - b)[Math.floor(rounds / 2)];
  process.stdout.write(`${JSON.stringify({ ms, elements, size: cluster.size })}\n`);
}
await cluster.close();
