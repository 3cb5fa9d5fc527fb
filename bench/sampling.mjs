// Milliseconds of processor time that drawing one token takes, by vocabulary, settings and how flat the scores are.
// Usage: node bench/sampling.mjs [--rounds 5] [--draws 20] [--from DIST]: DIST is another build's folder, to compare with.
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { pathToFileURL } from "node:url";
import { median } from "./median.mjs";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    draws: { type: "string", default: "20" },
    from: { type: "string", multiple: true, default: ["dist"] },
  },
});
const builds = await Promise.all(
  values.from.map(async (folder) => {
    const load = (path) => import(pathToFileURL(resolve(folder, path)).href);
    const { GREEDY, sampleToken } = await load("generate/sampling.js");
    const { Random } = await load("util/random.js");
    return { folder, GREEDY, sampleToken, Random };
  }),
);
const settings = {
  "temperature 1": { temperature: 1 },
  "top-k 40": { temperature: 1, topK: 40 },
  "top-p 0.9": { temperature: 1, topP: 0.9 },
  "min-p 0.001": { temperature: 1, minP: 0.001 },
};
for (const size of [32_000, 152_000]) {
  for (const [shape, spread] of [
    ["peaked", 6],
    ["flat", 1],
  ]) {
    const random = new builds[0].Random(1);
    const scores = Float32Array.from({ length: size }, () => spread * random.normal());
    for (const [name, options] of Object.entries(settings)) {
      const times = builds.map(() => []);
      const drawn = builds.map(() => []);
      for (let round = 0; round <= Number(values.rounds); round++) {
        for (const [index, { GREEDY, sampleToken, Random }] of builds.entries()) {
          const own = new Random(round);
          const before = process.cpuUsage();
          for (let count = 0; count < Number(values.draws); count++)
            drawn[index].push(sampleToken(scores, { ...GREEDY, ...options }, own));
          const { user, system } = process.cpuUsage(before);
          if (round > 0) times[index].push((user + system) / 1000 / Number(values.draws));
        }
      }
      const same = drawn.every((tokens) => tokens.join() === drawn[0].join());
      const cells = builds.map(
        ({ folder }, index) => `${folder} ${median(times[index]).toFixed(2)} ms`,
      );
      console.log(
        `${size} tokens, ${shape}, ${name}: ${cells.join(", ")}${same ? "" : ", OTHER TOKENS"}`,
      );
    }
  }
}
