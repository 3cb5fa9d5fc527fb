// How large the products of a training step are, before and after operand scaling, for docs/numerics.md:
//   node bench/product-magnitudes.mjs --preset storyteller|nanogpt-char [--data FILE] [--model RUN_OR_FOLDER]
//     [--results FILE]     the result file of numerics.mjs, default bench/results/numerics.json
// Runs one batch forward and backward through the lowered programs in double precision, at the working loss scale;
// with --model from a run's last weights, else from initial ones. Entries are kept under "products".
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { training as train } from "../dist/index.js";
import { chipByName } from "../dist/chip/chips.js";
import { evaluateFunction } from "../dist/engine/reference/evaluate.js";
import { createEngine } from "../dist/index.js";
import { hostTensor } from "../dist/mil/host-tensor.js";
import { loadWeights } from "../dist/model/index.js";
import { placePlan } from "../dist/lower/place-plan.js";
import { WindowBatches } from "../dist/text/index.js";
import { restoreWeights } from "../dist/train/run/checkpoint-contents.js";
import { prepareData } from "../dist/train/run/prepare.js";
import { LossScale } from "../dist/train/step/loss-scale.js";
import { Random } from "../dist/util/random.js";

const { values } = parseArgs({
  options: {
    preset: { type: "string" },
    data: { type: "string" },
    model: { type: "string" },
    results: { type: "string", default: "bench/results/numerics.json" },
    samples: { type: "string", default: "20000" },
  },
});
const preset = values.preset ?? "nanogpt-char";
const samples = Number(values.samples);
const { config } = train.resolveTrainConfig(train.presetOf(preset).settings, [
  {
    origin: "bench",
    values: {
      preset,
      ...(values.data !== undefined && { data: values.data }),
      output_dir: mkdtempSync(join(tmpdir(), "anecdote-products-")),
      batch_size: 1,
    },
  },
]);
const data = prepareData(config, () => undefined);
const model = train.trainedModel(config, data.model);
const { plan } = train.planOf(config, model);

// The CPU engine only holds the weights.
const cpu = await createEngine("cpu", { threads: 1 });
const loaded = await cpu.load(plan);
if (values.model === undefined) restoreWeights(model, undefined, (name) => loaded.view(name));
else loadWeights(train.resolveModelFolder(values.model), model, (name) => loaded.view(name));
const batch = new WindowBatches(data.train, {
  ...{ batchSize: 1, sampling: config.sampling, seed: 1, contextLength: config.max_seq_length },
  endOfText: data.tokenizer?.tokenizer.special.endOfText,
}).next();
const loss = LossScale.dynamic().scaleFor(batch.validTargetCount) / batch.validTargetCount;

/** Base-2 logarithms of products, from samples of a product's operands. */
function sampled(histogram, x, y, transposeX, transposeY, random) {
  const [rows, depth] = transposeX ? x.shape.slice(-2).toReversed() : x.shape.slice(-2);
  const columns = y.shape.at(transposeY ? -2 : -1);
  const batches = x.data.length / (rows * depth);
  const shared = y.data.length / (columns * depth);
  for (let sample = 0; sample < samples; sample++) {
    const b = random.below(batches);
    const [i, k, j] = [random.below(rows), random.below(depth), random.below(columns)];
    const left = b * rows * depth + (transposeX ? k * rows + i : i * depth + k);
    const right = (b % shared) * columns * depth + (transposeY ? j * depth + k : k * columns + j);
    const product = Math.abs(x.data[left] * y.data[right]);
    if (product === 0) continue;
    const place = Math.max(-40, Math.floor(Math.log2(product)));
    histogram[place] = (histogram[place] ?? 0) + 1;
  }
}

/** One step's forward and backward in double precision; counts by program and product. */
function histograms(operandScaling) {
  const placed = placePlan(plan, chipByName("m4"), "e5rt", { operandScaling });
  const buffers = new Map();
  const random = new Random(1);
  const found = {};
  const viewOf = (name) => {
    const spec = plan.buffers.get(name);
    if (!buffers.has(name))
      buffers.set(
        name,
        name === "tokens"
          ? batch.inputs
          : name === "targets"
            ? batch.targets
            : name === "loss_scale"
              ? [loss]
              : spec.role === "weight"
                ? loaded.view(name)
                : new Float64Array(spec.type.shape.reduce((product, size) => product * size, 1)),
      );
    return buffers.get(name);
  };
  for (const dispatch of plan.sections.get("forward_backward")) {
    const program = plan.programs.get(dispatch.program);
    if (program.hostKernel !== undefined) continue;
    const engine = placed.get(program.name);
    const lowered = engine.place === "engine" ? engine.program : undefined;
    const fn = lowered?.function ?? program.function;
    const ports =
      lowered?.inputs ??
      fn.inputs.map(({ name }) => ({ name, from: name, conversion: { kind: "half", start: 0 } }));
    const inputs = new Map(
      ports.map(({ name, from, conversion }) => {
        const { type } = fn.inputs.find((input) => input.name === name);
        const { buffer, offset } = dispatch.inputs.get(from);
        const source = viewOf(buffer);
        const tensor = hostTensor(type.dataType, type.shape);
        for (let i = 0; i < tensor.data.length; i++) {
          const { kind, first = 0, depth = 1, start = 0 } = conversion;
          if (kind === "half") tensor.data[i] = source[offset + start + i];
          else if (kind === "valid") tensor.data[i] = Number(source[offset + i] >= 0);
          else {
            const row = Math.floor(i / depth);
            tensor.data[i] = Number(source[offset + row] - first === i - row * depth);
          }
        }
        return [name, tensor];
      }),
    );
    const products = fn.operations.filter(({ type }) => type === "matmul");
    const operands = products.flatMap((operation) => [
      operation.inputs.get("x"),
      operation.inputs.get("y"),
    ]);
    const outputs = new Set([...fn.outputs, ...operands.filter(({ constant }) => !constant)]);
    const results = evaluateFunction({ ...fn, outputs: [...outputs] }, inputs, {
      precision: "float64",
    });
    for (const {
      inputs: by,
      outputs: [output],
    } of lowered === undefined ? [] : products) {
      const [x, y] = [results.get(by.get("x").name), results.get(by.get("y").name)];
      if (x === undefined || y === undefined) continue;
      const isTrue = (name) => Number(by.get(name)?.data?.numbers?.[0] ?? 0) === 1;
      const key = `${program.name} ${output.name}`;
      sampled((found[key] ??= {}), x, y, isTrue("transpose_x"), isTrue("transpose_y"), random);
    }
    const to =
      lowered?.outputs ??
      fn.outputs.map(({ name }) => ({ name, to: name, conversion: { kind: "write", start: 0 } }));
    for (const { name, to: target, conversion } of to) {
      if (conversion.kind !== "write") continue;
      const { buffer, offset } = dispatch.outputs.get(target);
      viewOf(buffer).set(results.get(name).data, offset + conversion.start);
    }
  }
  return found;
}

const entry = {
  preset,
  weights: values.model === undefined ? "initial" : "trained",
  off: histograms("off"),
  auto: histograms("auto"),
};
await cpu.close();
data.close();
const results = existsSync(values.results) ? JSON.parse(readFileSync(values.results, "utf8")) : {};
results.products = [
  ...(results.products ?? []).filter((e) => e.preset !== preset || e.weights !== entry.weights),
  entry,
];
mkdirSync(dirname(values.results), { recursive: true });
writeFileSync(values.results, `${JSON.stringify(results)}\n`);
for (const scaling of ["off", "auto"]) {
  const total = { all: 0, lost: 0 };
  for (const histogram of Object.values(entry[scaling]))
    for (const [place, count] of Object.entries(histogram)) {
      total.all += count;
      if (Number(place) < -16) total.lost += count;
    }
  console.log(
    `${preset}, ${entry.weights} weights, operand scaling ${scaling}: ${((100 * total.lost) / total.all).toFixed(1)} % of products below 2^-16`,
  );
}
