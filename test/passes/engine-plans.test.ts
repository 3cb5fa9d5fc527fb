import { describe, expect, test } from "vitest";
import { chipByName } from "../../src/chip/chips.ts";
import { DRIVERS } from "../../src/chip/chip.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import type { HostTensor } from "../../src/mil/host-tensor.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { tensorLiteral } from "../../src/mil/literal.ts";
import { tensorType } from "../../src/mil/types.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import { MODEL_PRESETS, isModelPreset, modelPreset } from "../../src/model/presets.ts";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { lowerFunction } from "../../src/lower/lower-function.ts";
import { checkPlacedPlan, estimatePlacedPlan, placePlan } from "../../src/lower/place-plan.ts";
import type { Plan } from "../../src/plan/plan.ts";
import { buildDecodePlan } from "../../src/generate/decode-plan.ts";
import { buildTrainingPlan } from "../../src/train/step/step-plan.ts";
import { valueAndGradient } from "../../src/grad/value-and-gradient.ts";
import { modelOf } from "../../src/model/model.ts";
import { runLowered } from "../helpers/run-lowered.ts";

/** The plan the trainer makes; `asWritten` leaves out its own passes. */
function planOf(preset: string, { asWritten = false, accumulation = false } = {}): Plan {
  if (!isModelPreset(preset)) throw new Error(preset);
  const config = modelPreset(preset);
  const sequenceLength = Math.min(256, config.contextLength);
  return buildTrainingPlan({
    model: modelOf(config),
    batchSize: 1,
    sequenceLength,
    accumulation,
    ...(asWritten && { optimize: (fn: MilFunction) => fn }),
  }).plan;
}

function randomInputs(fn: MilFunction, vocabularySize: number): Map<string, HostTensor> {
  let state = 1;
  const next = (): number => (state = (state * 48271) % 2147483647) / 2147483647 - 0.5;
  return new Map(
    fn.inputs.map(({ name, type }) => {
      if (type.kind !== "tensor") throw new Error(name);
      const tensor = hostTensor(type.dataType, type.shape.map(Number));
      for (let i = 0; i < tensor.data.length; i++) {
        tensor.data[i] =
          type.dataType === "int32" ? (i % 5 === 4 ? -100 : (i * 37) % vocabularySize) : next();
      }
      return [name, tensor];
    }),
  );
}

describe("training plans on the engine", () => {
  test.each(Object.keys(MODEL_PRESETS))(
    "%s breaks no rule on M1 to M6 through either driver",
    (preset) => {
      const plan = planOf(preset);
      // Chips of a group are lowered alike; rules differ within it.
      for (const group of [["m1"], ["m2", "m3"], ["m4", "m5", "m6"]]) {
        for (const driver of DRIVERS) {
          const placed = placePlan(plan, chipByName(group[0] ?? ""), driver);
          for (const name of group) {
            const broken = checkPlacedPlan(plan, placed, chipByName(name), driver).filter(
              ({ severity }) => severity === "error",
            );
            expect(broken, `${name} ${driver}`).toEqual([]);
          }
          // Blocks and head run on the engine; only table look-ups and optimizer kernels stay.
          for (const [program, { place }] of placed) {
            if (/^(block|head)_/.test(program)) expect(place, program).toBe("engine");
          }
        }
      }
    },
    60_000,
  );

  test.each(Object.keys(MODEL_PRESETS))(
    "%s decodes by rules of M1 to M6 through either driver, logits on the engine",
    (preset) => {
      if (!isModelPreset(preset)) throw new Error(preset);
      const plan = buildDecodePlan({
        model: modelOf(modelPreset(preset)),
        bucket: 64,
        prefillRowCount: 32,
      });
      for (const name of ["m1", "m2", "m3", "m4", "m5", "m6"]) {
        const chip = chipByName(name);
        for (const driver of DRIVERS) {
          const placed = placePlan(plan, chip, driver);
          const broken = checkPlacedPlan(plan, placed, chip, driver);
          expect(
            broken.filter(({ severity }) => severity === "error"),
            `${name} ${driver}`,
          ).toEqual([]);
          const onHost = [...placed].flatMap(([program, { place }]) =>
            place === "host" ? [program] : [],
          );
          expect(onHost, `${name} ${driver}`).toEqual(["prefill_embed", "decode_embed"]);
        }
      }
    },
    60_000,
  );

  test("so does a plan whose programs no pass has touched", () => {
    const plan = planOf("stories15M", { asWritten: true });
    const chip = chipByName("m1");
    const placed = placePlan(plan, chip, "in-memory");
    const broken = checkPlacedPlan(plan, placed, chip, "in-memory");
    expect(broken.filter(({ severity }) => severity === "error")).toEqual([]);
    expect(placed.get("head_gradient_256")?.place).toBe("engine");
  });

  test("a stories110M step takes at most 60 ms on M4, by the rates of November 2026, with and without its share of the update", () => {
    const plan = planOf("stories110M");
    const { ms } = estimatePlacedPlan(plan, chipByName("m4"), "e5rt", { forward_backward: 1 });
    expect(ms).toBeGreaterThan(15);
    expect(ms).toBeLessThan(60);
    // As the published trainers count: ten micro-batches, then one update.
    const whole = estimatePlacedPlan(
      planOf("stories110M", { accumulation: true }),
      chipByName("m4"),
      "e5rt",
      {
        forward_backward: 1,
        forward_backward_accumulate: 9,
        gradient_norm: 1,
        update: 1,
      },
    );
    expect(whole.ms / 10).toBeLessThan(60);
  });
});

describe("lowering", () => {
  test("a head and its gradients compute the same with the vocabulary whole and in parts", () => {
    const config = {
      ...modelPreset("stories15M"),
      vocabularySize: 40_000,
      channelCount: 8,
      headCount: 2,
      keyValueHeadCount: 2,
      headSize: 4,
    };
    const model = modelOf(config);
    const fn = valueAndGradient(model.functions.head({ rowCount: 6, dataType: "fp32" }), {
      withRespectTo: ["hidden", ...model.parameters.head.weights.map(({ parameter }) => parameter)],
      gradientOf: ["loss_sum"],
    });
    const inputs = randomInputs(fn, config.vocabularySize);
    const wanted = evaluateFunction(fn, inputs, { precision: "float64" });
    for (const chip of ["m1", "m4"]) {
      const program = lowerFunction(fn, chipByName(chip), "e5rt");
      // 40000 rows in eight parts.
      expect(program.inputs.filter(({ conversion }) => conversion.kind === "one-hot").length).toBe(
        8,
      );
      const got = runLowered(program, inputs, fn);
      for (const [name, tensor] of wanted) {
        const values = got.get(name) ?? [];
        expect(values.length, name).toBe(tensor.data.length);
        const scale = tensor.data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        const worst = tensor.data.reduce(
          (most, value, i) => Math.max(most, Math.abs(value - (values[i] ?? NaN))),
          0,
        );
        expect(worst / scale, `${chip} ${name}`).toBeLessThan(2e-3);
      }
    }
  });

  test("the row whose logits are wanted is taken by a product, exactly", () => {
    const config = modelPreset("stories15M");
    const fn = modelOf(config).functions.logits({ rowCount: 5, dataType: "fp32" });
    const inputs = randomInputs(fn, 1);
    inputs.set("row", hostTensor("int32", [1], Float64Array.of(3)));
    const wanted = evaluateFunction(fn, inputs, { precision: "float64" });
    for (const [chip, driver] of [
      ["m1", "in-memory"],
      ["m4", "e5rt"],
    ] as const) {
      const program = lowerFunction(fn, chipByName(chip), driver);
      const got = runLowered(program, inputs, fn);
      for (const [name, { data }] of wanted) {
        const scale = data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        const values = got.get(name) ?? [];
        const worst = data.reduce(
          (most, value, i) => Math.max(most, Math.abs(value - (values[i] ?? NaN))),
          0,
        );
        expect(worst / scale, `${chip} ${name}`).toBeLessThan(2e-3);
      }
    }
  });

  test("what cannot run on the engine says so and stays on the host", () => {
    const f = new FunctionBuilder("lookup");
    const table = f.input("table", tensorType("fp32", [10, 4]));
    const ids = f.input("ids", tensorType("int32", [3]));
    const fn = f.finish({ rows: f.op("gather", { x: table, indices: ids, axis: 0 }) });
    expect(() => lowerFunction(fn, chipByName("m4"), "e5rt")).toThrow(/stays on the host: gather/);
  });

  test("masks beyond fp16 become large numbers under a softmax, and are refused where they are results", () => {
    const f = new FunctionBuilder("masked");
    const x = f.input("x", tensorType("fp32", [2, 2]));
    const masked = f.op("add", { x, y: tensorLiteral("fp32", [2, 2], [0, -1e9, -1e9, 0]) });
    const fn = f.finish({ y: f.op("softmax", { x: masked, axis: 1 }) });
    const program = lowerFunction(fn, chipByName("m4"), "e5rt");
    const y = evaluateFunction(program.function, new Map([["x", hostTensor("fp16", [2, 2])]]));
    expect([...(y.get("result_y")?.data ?? [])]).toEqual([1, 0, 0, 1]);
    const g = new FunctionBuilder("masked");
    const z = g.input("x", tensorType("fp32", [2, 2]));
    const returned = g.finish({ y: g.op("add", { x: z, y: -1e9 }) });
    expect(() => lowerFunction(returned, chipByName("m4"), "e5rt")).toThrow(
      /add with a constant beyond twice fp16's range/,
    );
  });
});
