import { readFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { createEngine } from "../../src/engine/create.ts";
import type { Engine, LoadedPlan } from "../../src/engine/engine.ts";
import { frozen, modelOf, parseModelConfig } from "../../src/model/index.ts";
import type { Model } from "../../src/model/index.ts";
import { buildTrainingPlan, gradientName } from "../../src/train/step/step-plan.ts";
import {
  openSoftwareDevice,
  RUNS_ALL_ON_GPU,
  strictEngine,
} from "../engine/gpu/software-device.ts";

/** What fixtures/make_model_fixtures.py computed with PyTorch in double precision. */
interface Golden {
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>> & { readonly vocab_size: number };
  readonly batch: number;
  readonly sequence: number;
  readonly accumulation: number;
  readonly ignored: boolean;
  readonly steps: number;
  /** Begin of the names of the weights that are trained; absent: all are. */
  readonly trained?: string;
  readonly hyper: {
    readonly learning_rate: number;
    readonly beta1: number;
    readonly beta2: number;
    readonly epsilon: number;
    readonly weight_decay: number;
    readonly max_gradient_norm: number;
  };
  readonly loss: number;
  readonly gradients: Readonly<
    Record<string, { readonly squares: number; readonly probe: number }>
  >;
  readonly losses: readonly number[];
  readonly gradient_norms: readonly number[];
}

const GOLDENS = JSON.parse(
  readFileSync(new URL("../fixtures/model-goldens.json", import.meta.url), "utf8"),
) as readonly Golden[];

function hashed(stream: number, index: number): number {
  let x = (Math.imul(index, 2654435761) + stream * 40503 + 12345) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d) >>> 0;
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b) >>> 0;
  return (x ^ (x >>> 16)) >>> 0;
}

function uniform(stream: number, index: number): number {
  return Math.fround(hashed(stream, index) / 2147483648 - 1);
}

class GoldenRun {
  readonly #golden: Golden;
  readonly #loaded: LoadedPlan;

  constructor(golden: Golden, loaded: LoadedPlan) {
    this.#golden = golden;
    this.#loaded = loaded;
    const weights = buildPlan(golden).model.parameters.weights;
    weights.forEach((weight, stream) => {
      const view = this.floats(weight.name);
      for (let i = 0; i < view.length; i++) {
        const value = uniform(stream + 1, i);
        if (weight.type.shape.length > 1) view[i] = value * 0.25;
        else view[i] = weight.name.endsWith(".bias") ? value * 0.125 : 1 + value * 0.125;
      }
    });
  }

  floats(name: string): Float32Array {
    const view = this.#loaded.view(name);
    if (view instanceof Float32Array) return view;
    throw new Error(`${name} is not fp32`);
  }

  scalar(name: string, value: number): void {
    this.floats(name).fill(value);
  }

  /** Writes a micro-batch and returns how many targets count. */
  writeBatch(number: number): number {
    const { config, ignored } = this.#golden;
    const tokens = this.#loaded.view("tokens");
    const targets = this.#loaded.view("targets");
    let count = 0;
    for (let i = 0; i < tokens.length; i++) {
      const token = hashed(1000 + number, i) % config.vocab_size;
      tokens[i] = token;
      const follows = hashed(3000 + number, i) % 2 === 1;
      const target = follows ? token * 7 + 3 : hashed(2000 + number, i);
      const isIgnored = ignored && i % 7 === 6;
      targets[i] = isIgnored ? -100 : target % config.vocab_size;
      if (!isIgnored) count++;
    }
    return count;
  }

  async gradients(): Promise<number> {
    const count = this.writeBatch(0);
    this.scalar("loss_scale", 1 / count);
    await this.#loaded.run("forward_backward");
    return (this.floats("loss_sum")[0] ?? NaN) / count;
  }

  /** One optimizer step over the accumulated micro-batches: mean loss and gradient norm. */
  async step(step: number): Promise<{ readonly loss: number; readonly norm: number }> {
    const { accumulation, hyper } = this.#golden;
    const batches = Array.from({ length: accumulation }, (_, i) => (step * accumulation + i) % 4);
    let count = 0;
    for (const batch of batches) count += this.writeBatch(batch);
    let lossSum = 0;
    for (const [index, batch] of batches.entries()) {
      this.writeBatch(batch);
      this.scalar("loss_scale", 1 / count);
      await this.#loaded.run(index === 0 ? "forward_backward" : "forward_backward_accumulate");
      lossSum += this.floats("loss_sum")[0] ?? NaN;
    }
    await this.#loaded.run("gradient_norm");
    const norm = Math.sqrt(this.floats("gradient_square_sum")[0] ?? NaN);
    this.scalar("gradient_scale", Math.min(1, hyper.max_gradient_norm / (norm + 1e-6)));
    this.scalar("learning_rate", hyper.learning_rate);
    this.scalar("weight_decay", hyper.weight_decay);
    this.scalar("bias_correction1", 1 - hyper.beta1 ** (step + 1));
    this.scalar("bias_correction2", 1 - hyper.beta2 ** (step + 1));
    await this.#loaded.run("update");
    return { loss: lossSum / count, norm };
  }
}

/** The golden's model; where it names what is trained, the rest is frozen. */
function modelFor({ config, trained }: Golden): Model {
  const model = modelOf(parseModelConfig(config));
  return trained === undefined ? model : frozen(model, ({ name }) => !name.startsWith(trained));
}

function buildPlan(golden: Golden, recompute: "none" | "auto" | "full" = "none") {
  const { beta1, beta2, epsilon } = golden.hyper;
  return buildTrainingPlan({
    model: modelFor(golden),
    batchSize: golden.batch,
    sequenceLength: golden.sequence,
    headChunkRows: 7,
    recompute,
    adamw: { beta1, beta2, epsilon },
  });
}

function relative(actual: number, expected: number): number {
  return Math.abs(actual - expected) / Math.abs(expected);
}

function openEngine(name: string): Promise<Engine> {
  return name === "gpu" ? Promise.resolve(strictEngine()) : createEngine(name, { threads: 1 });
}

/** `npm run conformance:gpu` has them on the GPU too: a device in software takes minutes. */
const ENGINES = [
  ...["reference", "cpu"],
  ...(RUNS_ALL_ON_GPU && openSoftwareDevice() === undefined ? ["gpu"] : []),
];

describe.each(ENGINES)("on the %s engine", (engineName) => {
  const opened: Promise<Engine> = openEngine(engineName);
  afterAll(async () => (await opened).close());

  it.each(GOLDENS)("$name has the loss and the gradients that PyTorch gives", async (golden) => {
    const built = buildPlan(golden);
    const loaded = await (await opened).load(built.plan);
    const run = new GoldenRun(golden, loaded);
    expect(relative(await run.gradients(), golden.loss)).toBeLessThan(1e-5);
    for (const [name, { squares, probe }] of Object.entries(golden.gradients)) {
      const gradient = run.floats(gradientName(name));
      let actualSquares = 0;
      let actualProbe = 0;
      gradient.forEach((value, i) => {
        actualSquares += value * value;
        actualProbe += value * uniform(77, i);
      });
      expect(relative(actualSquares, squares), name).toBeLessThan(1e-4);
      expect(Math.abs(actualProbe - probe), name).toBeLessThan(1e-4 * Math.sqrt(squares));
    }
    await loaded.close();
  });

  it.each(GOLDENS)("$name follows PyTorch's losses step by step", async (golden) => {
    const loaded = await (await opened).load(buildPlan(golden).plan);
    const run = new GoldenRun(golden, loaded);
    for (let step = 0; step < golden.steps; step++) {
      const { loss, norm } = await run.step(step);
      expect(relative(loss, golden.losses[step] ?? NaN), `step ${step}`).toBeLessThan(1e-4);
      expect(relative(norm, golden.gradient_norms[step] ?? NaN), `step ${step}`).toBeLessThan(1e-3);
    }
    await loaded.close();
  });
});
