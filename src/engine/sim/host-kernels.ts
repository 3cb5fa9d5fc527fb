import type { HostKernel } from "../../plan/plan.ts";
import type { BufferView } from "../engine.ts";
import { EngineError } from "../errors.ts";
import { TASK_ELEMENTS } from "./machine.ts";
import { prepareUnpack } from "../host/unpack.ts";
import type { Machine } from "./machine.ts";
import type { KernelCall } from "./pool.ts";

/** Buffers of one dispatch, in the arena, by the names of its function's inputs and outputs. */
export interface KernelViews {
  readonly input: (name: string) => BufferView;
  readonly output: (name: string) => BufferView;
  readonly inputNames: readonly string[];
}

/** What runs on the CPU beside the engine, in doubles over fp32 buffers; as the MIL functions say, rounding aside. */
export function runHostKernel(
  kernel: HostKernel,
  views: KernelViews,
  isAdded: boolean,
  machine: Machine,
): void {
  switch (kernel.kind) {
    case "adamw":
      adamw(kernel, views, machine);
      return;
    case "sum_of_squares":
      sumOfSquares(views, isAdded, machine);
      return;
    case "embedding_gradient":
      embeddingGradient(kernel, views, isAdded);
      return;
    case "unpack":
      prepareUnpack(kernel, views.input, views.output)();
      return;
    case "muon":
    case "adapter_norms":
    case "preference":
    case "stream":
      throw new EngineError(
        "engine.sim.kernel",
        `${kernel.kind} has no kernel: its function is run`,
      );
  }
}

function adamw(
  kernel: Extract<HostKernel, { kind: "adamw" }>,
  views: KernelViews,
  { arena, pool }: Machine,
): void {
  const scalar = (name: string): number => views.input(name)[0] ?? 0;
  const rate = scalar("learning_rate");
  const keep = 1 - rate * scalar("weight_decay");
  const { beta1, beta2, epsilon } = kernel;
  const settingsOf = (kept: number): number => {
    const settings = [
      ...[scalar("gradient_scale"), beta1, 1 - beta1, beta2, 1 - beta2],
      ...[1 / scalar("bias_correction1"), 1 / scalar("bias_correction2"), epsilon, kept, rate],
    ];
    const address = arena.allocate(8 * settings.length);
    arena.doubles(address, settings.length).set(settings);
    return address;
  };
  const decaying = settingsOf(keep);
  const lasting = settingsOf(1);
  const calls: KernelCall[] = [];
  for (const names of kernel.parameters) {
    const weight = floats(views.input(names.weight));
    const numbers = [
      weight.byteOffset,
      floats(views.input(names.gradient)).byteOffset,
      floats(views.input(names.m)).byteOffset,
      floats(views.input(names.v)).byteOffset,
      floats(views.output(`new_${names.weight}`)).byteOffset,
      floats(views.output(`new_${names.m}`)).byteOffset,
      floats(views.output(`new_${names.v}`)).byteOffset,
      names.decay ? decaying : lasting,
    ];
    for (let begin = 0; begin < weight.length; begin += TASK_ELEMENTS) {
      const end = Math.min(weight.length, begin + TASK_ELEMENTS);
      calls.push({ kernel: "adamw", numbers: [...numbers, begin, end] });
    }
  }
  pool.run(calls);
}

function sumOfSquares(views: KernelViews, isAdded: boolean, { arena, pool }: Machine): void {
  const sums = arena.allocate(8 * views.inputNames.length);
  const calls = views.inputNames.map((name, index): KernelCall => {
    const numbers = floats(views.input(name));
    const place = sums + 8 * index;
    return { kernel: "squareSum", numbers: [numbers.byteOffset, numbers.length, place] };
  });
  pool.run(calls);
  const total = arena.doubles(sums, calls.length).reduce((sum, value) => sum + value, 0);
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
