import type { HostKernel } from "../../plan/plan.ts";
import type { BufferView } from "../engine.ts";
import { EngineError } from "../errors.ts";

/** Buffers of one dispatch by the names of its function's inputs and outputs. */
export interface KernelViews {
  readonly input: (name: string) => BufferView;
  readonly output: (name: string) => BufferView;
  readonly inputNames: readonly string[];
}

/** What runs on the CPU beside the engine, in fp32 over buffers; as the MIL functions say, rounding aside. */
export function runHostKernel(kernel: HostKernel, views: KernelViews, isAdded: boolean): void {
  switch (kernel.kind) {
    case "adamw":
      adamw(kernel, views);
      return;
    case "sum_of_squares":
      sumOfSquares(views, isAdded);
      return;
    case "embedding_gradient":
      embeddingGradient(kernel, views, isAdded);
  }
}

function adamw(kernel: Extract<HostKernel, { kind: "adamw" }>, views: KernelViews): void {
  const scalar = (name: string): number => views.input(name)[0] ?? 0;
  const rate = scalar("learning_rate");
  const keep = 1 - rate * scalar("weight_decay");
  const inverse1 = 1 / scalar("bias_correction1");
  const inverse2 = 1 / scalar("bias_correction2");
  const scale = scalar("gradient_scale");
  const { beta1, beta2, epsilon } = kernel;
  for (const names of kernel.parameters) {
    const weight = floats(views.input(names.weight));
    const gradient = floats(views.input(names.gradient));
    const m = floats(views.input(names.m));
    const v = floats(views.input(names.v));
    const newWeight = floats(views.output(`new_${names.weight}`));
    const newM = floats(views.output(`new_${names.m}`));
    const newV = floats(views.output(`new_${names.v}`));
    const kept = names.decay ? keep : 1;
    for (let i = 0; i < weight.length; i++) {
      const g = (gradient[i] ?? 0) * scale;
      const first = (m[i] ?? 0) * beta1 + g * (1 - beta1);
      const second = (v[i] ?? 0) * beta2 + g * g * (1 - beta2);
      const direction = (first * inverse1) / (Math.sqrt(second * inverse2) + epsilon);
      newWeight[i] = (weight[i] ?? 0) * kept - direction * rate;
      newM[i] = first;
      newV[i] = second;
    }
  }
}

function sumOfSquares(views: KernelViews, isAdded: boolean): void {
  let total = 0;
  for (const name of views.inputNames) {
    const numbers = views.input(name);
    let sum = 0;
    for (let i = 0; i < numbers.length; i++) sum += (numbers[i] ?? 0) ** 2;
    total += sum;
  }
  const result = views.output("sum");
  result[0] = (isAdded ? (result[0] ?? 0) : 0) + total;
}

function embeddingGradient(
  kernel: Extract<HostKernel, { kind: "embedding_gradient" }>,
  views: KernelViews,
  isAdded: boolean,
): void {
  const table = floats(views.output("table_gradient"));
  const indices = views.input(kernel.indices);
  const gradient = views.input(kernel.gradient);
  const width = gradient.length / Math.max(1, indices.length);
  if (!isAdded) table.fill(0);
  for (let row = 0; row < indices.length; row++) {
    const index = indices[row] ?? -1;
    const start = index * width;
    if (index < 0 || start + width > table.length) {
      throw new EngineError("engine.sim.index", `token ${index} is outside the table`);
    }
    for (let c = 0; c < width; c++) {
      table[start + c] = (table[start + c] ?? 0) + (gradient[row * width + c] ?? 0);
    }
  }
}

function floats(view: BufferView): Float32Array {
  if (view instanceof Float32Array) return view;
  throw new EngineError("engine.sim.kernel", "host kernels work on fp32 buffers");
}
