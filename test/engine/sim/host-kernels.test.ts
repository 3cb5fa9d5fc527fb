import { afterAll, expect, test } from "vitest";
import { runHostKernel } from "../../../src/engine/sim/host-kernels.ts";
import type { KernelViews } from "../../../src/engine/sim/host-kernels.ts";
import { Machine } from "../../../src/engine/sim/machine.ts";
import { Random } from "../../../src/util/random.ts";

const machine = new Machine(2);
afterAll(() => machine.close());

const random = new Random(4);

function buffer(numbers: readonly number[]): Float32Array {
  const address = machine.arena.keep(4 * numbers.length);
  const view = machine.arena.floats(address, numbers.length);
  view.set(numbers);
  return view;
}

function normals(count: number): Float32Array {
  return buffer(Array.from({ length: count }, () => random.normal()));
}

function viewsOf(
  inputs: Readonly<Record<string, Float32Array>>,
  outputs: Readonly<Record<string, Float32Array>>,
): KernelViews {
  const find = (views: Readonly<Record<string, Float32Array>>, name: string): Float32Array => {
    const view = views[name];
    if (view === undefined) throw new Error(name);
    return view;
  };
  return {
    input: (name) => find(inputs, name),
    output: (name) => find(outputs, name),
    inputNames: Object.keys(inputs),
  };
}

test.each([true, false])(
  "AdamW is computed in doubles and rounded to fp32 once, decay %s",
  (decay) => {
    for (const count of [1, 7, 20_001]) {
      const scalars = {
        learning_rate: buffer([3e-3]),
        weight_decay: buffer([0.1]),
        bias_correction1: buffer([0.1]),
        bias_correction2: buffer([0.01]),
        gradient_scale: buffer([1 / 1024]),
      };
      const [weight, gradient, m, v] = [
        normals(count),
        normals(count),
        normals(count),
        normals(count),
      ];
      for (let i = 0; i < count; i++) v[i] = (v[i] ?? 0) ** 2;
      const [newWeight, newM, newV] = [normals(count), normals(count), normals(count)];
      const rate = scalars.learning_rate[0] ?? 0;
      const keep = decay ? 1 - rate * (scalars.weight_decay[0] ?? 0) : 1;
      const [c1, c2] = [
        1 / (scalars.bias_correction1[0] ?? 1),
        1 / (scalars.bias_correction2[0] ?? 1),
      ];
      const wanted = Array.from({ length: count }, (_, i) => {
        const g = (gradient[i] ?? 0) * (scalars.gradient_scale[0] ?? 0);
        const first = (m[i] ?? 0) * 0.9 + g * (1 - 0.9);
        const second = (v[i] ?? 0) * 0.95 + g * g * (1 - 0.95);
        const direction = (first * c1) / (Math.sqrt(second * c2) + 1e-8);
        return [(weight[i] ?? 0) * keep - direction * rate, first, second].map(Math.fround);
      });
      runHostKernel(
        {
          kind: "adamw",
          beta1: 0.9,
          beta2: 0.95,
          epsilon: 1e-8,
          parameters: [{ weight: "w", gradient: "g", m: "m", v: "v", decay }],
        },
        viewsOf(
          { ...scalars, w: weight, g: gradient, m, v },
          { new_w: newWeight, new_m: newM, new_v: newV },
        ),
        false,
        machine,
      );
      const got = Array.from(newWeight, (value, i) => [value, newM[i], newV[i]]);
      expect(got).toEqual(wanted);
      machine.arena.reset();
    }
  },
);

test("the sum of squares goes tensor by tensor, one after the other, in doubles", () => {
  const inputs = { a: normals(5), b: normals(3001), c: normals(1) };
  const sum = buffer([2]);
  const total = Object.values(inputs).reduce(
    (all, view) => all + view.reduce((part, value) => part + value * value, 0),
    0,
  );
  runHostKernel({ kind: "sum_of_squares" }, viewsOf(inputs, { sum }), false, machine);
  expect(sum[0]).toBe(Math.fround(total));
  runHostKernel({ kind: "sum_of_squares" }, viewsOf(inputs, { sum }), true, machine);
  expect(sum[0]).toBe(Math.fround(Math.fround(total) + total));
});
