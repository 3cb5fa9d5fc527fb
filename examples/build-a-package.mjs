// Builds a small image classifier by hand, saves it as a Core ML package, opens it again and runs it on two engines.
//   node examples/build-a-package.mjs [classifier.mlpackage]
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { coreml, createEngine, mil, runFunction } from "anecdote";

const path =
  process.argv[2] ?? join(mkdtempSync(join(tmpdir(), "anecdote-")), "classifier.mlpackage");

// Weights that look trained: small and different.
let state = 1;
const weights = (...shape) => {
  const count = shape.reduce((product, size) => product * size, 1);
  const numbers = Array.from({ length: count }, () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647 - 0.5;
  });
  return mil.tensorLiteral("fp16", shape, numbers);
};

// Pictures [N, 3, 16, 16] in, probabilities of ten classes out.
const f = new mil.FunctionBuilder("main", "ios17");
const image = f.input("image", mil.tensorType("fp16", [1, 3, 16, 16]));
const edges = f.op("conv", {
  x: image,
  weight: f.constant(weights(8, 3, 3, 3), "edge_weights"),
  pad_type: "same",
});
const pooled = f.op("max_pool", {
  x: f.op("relu", { x: edges }),
  kernel_sizes: [2, 2],
  strides: [2, 2],
  pad_type: "valid",
});
const row = f.op("reshape", { x: pooled, shape: [1, 8 * 8 * 8] });
const scores = f.op("linear", {
  x: row,
  weight: f.constant(weights(10, 8 * 8 * 8), "class_weights"),
});
const main = f.finish({ probabilities: f.op("softmax", { x: scores, axis: -1 }) });

const program = mil.programOf(main);
mil.verifyProgram(program);
coreml.savePackage(path, program, {
  metadata: { author: "Anecdote", shortDescription: "A classifier built by hand" },
});
console.log(`wrote ${path}`);

// Weights stay in their file until they are asked for; an engine needs them all.
const opened = coreml.openModel(path);
const whole = coreml.loadWeights(opened.program, opened.weights);
console.log(mil.printProgram(opened.program));

const inputs = { image: Array.from({ length: 3 * 16 * 16 }, (_, i) => (i >> 2) & 1) };
const best = [];
for (const name of ["reference", "cpu"]) {
  const engine = await createEngine(name);
  const results = await runFunction(engine, whole.functions[0], inputs);
  const probabilities = results.get("probabilities").toArray();
  best.push(probabilities.indexOf(Math.max(...probabilities)));
  console.log(`${name}: class ${best.at(-1)}`);
  await engine.close();
}
opened.close();
if (best[0] !== best[1]) throw new Error("the engines disagree");
