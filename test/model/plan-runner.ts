import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import type { HostTensor } from "../../src/mil/host-tensor.ts";
import { elementCount, staticShape } from "../../src/mil/types.ts";
import type { Plan } from "../../src/plan/plan.ts";

/** Runs a plan's sections by evaluating each dispatch's function: the plan's meaning, spelled out. */
export class PlanRunner {
  readonly plan: Plan;
  readonly buffers = new Map<string, Float64Array>();
  readonly #precision: "declared" | "float64";

  constructor(plan: Plan, precision: "declared" | "float64" = "declared") {
    this.plan = plan;
    this.#precision = precision;
    for (const { name, type } of plan.buffers.values())
      this.buffers.set(name, new Float64Array(elementCount(staticShape(type))));
  }

  view(name: string): Float64Array {
    const buffer = this.buffers.get(name);
    if (buffer === undefined) throw new Error(`no buffer ${name}`);
    return buffer;
  }

  run(section: string): void {
    for (const dispatch of this.plan.sections.get(section) ?? []) {
      const fn = this.plan.programs.get(dispatch.program)?.function;
      if (fn === undefined) throw new Error(`no program ${dispatch.program}`);
      const inputs = new Map<string, HostTensor>();
      for (const { name, type } of fn.inputs) {
        const binding = dispatch.inputs.get(name);
        if (binding === undefined || type.kind !== "tensor") throw new Error(`no input ${name}`);
        const shape = staticShape(type);
        const end = binding.offset + elementCount(shape);
        const data = this.view(binding.buffer).slice(binding.offset, end);
        inputs.set(name, hostTensor(type.dataType, shape, data));
      }
      const results = evaluateFunction(fn, inputs, { precision: this.#precision });
      for (const [name, binding] of dispatch.outputs) {
        const result = results.get(name);
        if (result === undefined) throw new Error(`no output ${name}`);
        const target = this.view(binding.buffer);
        result.data.forEach((value, index) => {
          const at = binding.offset + index;
          target[at] = binding.mode === "accumulate" ? (target[at] ?? 0) + value : value;
        });
      }
    }
  }
}
