// What test/cluster/exchanges.test.ts runs in several processes: every exchange, with what each member found.
import { Cluster } from "../../../dist/cluster/cluster.js";

const cluster = await Cluster.open({ stallSeconds: 0 });
const { rank, size, world } = cluster;
const found = {};
const POWERS = [1, 10, 100, 1000, 1e4, 1e5, 1e6];

/** Numbers whose sums depend on the order of addition. */
const numbers = (member, length) => {
  const values = new Float32Array(length);
  let state = (member + 1) * 2654435761;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    values[i] = (state / 2 ** 31) * POWERS[i % POWERS.length];
  }
  return values;
};
const onShared = (array) => {
  const copy = new array.constructor(new SharedArrayBuffer(array.byteLength));
  copy.set(array);
  return copy;
};
const halves = (terms) => [
  terms.slice(0, Math.ceil(terms.length / 2)),
  terms.slice(Math.ceil(terms.length / 2)),
];
const tree = (terms) => {
  if (terms.length === 1) return terms[0];
  const [a, b] = halves(terms).map(tree);
  return a.map((value, i) => value + b[i]);
};
const members = Array.from({ length: size }, (_, member) => member);
const same = (a, b) => a.length === b.length && a.every((value, i) => Object.is(value, b[i]));
const part = (length, member) => [
  Math.floor((member * length) / size),
  Math.floor(((member + 1) * length) / size),
];

for (const length of [0, 1, size - 1, 1000, 1_100_000]) {
  const wanted = tree(members.map((member) => numbers(member, length)));
  const plain = numbers(rank, length);
  const shared = onShared(numbers(rank, length));
  const small = Float64Array.of(rank, 1 / 3);
  const exchanges = [world.allReduce([plain, shared]), world.allReduce([small])];
  for (const exchange of exchanges) await exchange.wait();
  const whole = onShared(numbers(rank, length));
  await world.reduceScatter([whole]).wait();
  const [first, end] = part(length, rank);
  const gathered = whole.slice();
  await world.allGather([gathered]).wait();
  found[`sums of ${length}`] = [
    same(plain, wanted),
    same(shared, wanted),
    small[0] === (size * (size - 1)) / 2,
    same(whole.slice(first, end), wanted.slice(first, end)),
    same(gathered, wanted),
  ];
}
const counts = Int32Array.from(members, (member) => (member === rank ? rank + 1 : 0));
await world.allReduce([counts]).wait();
found.integers = [...counts];

const lost = [new Float32Array(new SharedArrayBuffer(4000))];
const rounded = numbers(rank, 1000);
await world.allReduce([rounded], { kind: "fp16", lost }).wait();
const exact = tree(members.map((member) => numbers(member, 1000)));
found.halfError =
  Math.max(...rounded.map((value, i) => Math.abs(value - exact[i]))) /
  Math.max(...exact.map(Math.abs));
// The same numbers again and again: what rounding loses comes later, so the mean of the sums nears the exact one.
const mean = new Float64Array(1000);
for (let turn = 0; turn < 64; turn++) {
  const again = numbers(rank, 1000);
  await world.allReduce([again], { kind: "fp16", lost }).wait();
  again.forEach((value, i) => (mean[i] += value / 64));
}
found.halfMeanError =
  Math.max(...mean.map((value, i) => Math.abs(value - exact[i]))) /
  Math.max(...exact.map(Math.abs));
const bad = Float32Array.of(rank === 0 ? Infinity : 1, 2);
await world.allReduce([bad], { kind: "fp16" }).wait();
found.infinite = bad[0] === Infinity;
const bits = Array.from(new Uint32Array(rounded.buffer));
const all = new Int32Array(size);
all[rank] = bits.reduce((hash, word) => (hash * 31 + word) | 0, 7);
await world.allGather([all]).wait();
found.halvesAlike = all.every((hash) => hash === all[0]);

const bytes = Uint8Array.from([rank, 7, 9]);
await world.broadcast([bytes], size - 1).wait();
found.broadcast = [...bytes];
const next = (rank + 1) % size;
const before = (rank + size - 1) % size;
const letter = numbers(rank, 300_000);
const got = new Float32Array(300_000);
const second = Float32Array.of(rank);
const gotSecond = new Float32Array(1);
const posts = [
  world.send([letter], next, 3),
  world.send([second], next, 3),
  world.receive([got], before, 3),
  world.receive([gotSecond], before, 3),
];
for (const post of posts) await post.wait();
found.letters = same(got, numbers(before, 300_000)) && gotSecond[0] === before;
const half = await cluster.split(rank % 2);
const ranks = new Int32Array(half.size);
ranks[half.rank] = rank;
await half.allReduce([ranks]).wait();
found.split = [...ranks];
let refusal = "";
try {
  world.send([letter], size);
} catch (error) {
  refusal = error.code;
}
found.refusal = refusal;
await world.barrier().wait();
const times = await cluster.times();
found.hasSent = times.sentBytes > 1e6 && times.busyMs > 0 && times.exchangeCount > 80;
process.stdout.write(`${JSON.stringify({ rank, size, found })}\n`);
await cluster.close();
