import { expect, test } from "vitest";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { differentiate } from "../../src/grad/differentiate.ts";
import { valueAndGradient } from "../../src/grad/value-and-gradient.ts";
import { FunctionBuilder, shaped } from "../../src/mil/builder.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";

test("a product of sums", () => {
  const f = new FunctionBuilder("main");
  const x = f.input("x", shaped("fp32", 2, 3));
  const w = f.input("w", shaped("fp32", 3, 4));
  const y = f.op("softmax", { x: f.op("matmul", { x, y: w }), axis: -1 });
  const fn = f.finish({ y });
  const both = valueAndGradient(fn, { withRespectTo: ["x", "w"] });
  const t = (name: string, ...shape: number[]) =>
    [
      name,
      hostTensor(
        "fp32",
        shape,
        new Float64Array(shape.reduce((a, b) => a * b, 1)).map((_, i) => Math.sin(i)),
      ),
    ] as const;
  const out = evaluateFunction(both, new Map([t("x", 2, 3), t("w", 3, 4), t("d_y", 2, 4)]));
  expect([...out.keys()]).toEqual(["y", "d_x", "d_w"]);
  for (const recompute of ["none", "full"] as const) {
    const d = differentiate(fn, { withRespectTo: ["x", "w"], recompute });
    const f1 = evaluateFunction(d.forward, new Map([t("x", 2, 3), t("w", 3, 4)]));
    const ins = new Map([t("x", 2, 3), t("w", 3, 4), t("d_y", 2, 4), ...f1]);
    for (const k of [...ins.keys()])
      if (!d.backward.inputs.some((i) => i.name === k)) ins.delete(k);
    const b = evaluateFunction(d.backward, ins);
    expect(b.get("d_w")).toEqual(out.get("d_w"));
    console.log(
      recompute,
      d.taps,
      d.backward.operations.map((o) => o.type),
    );
  }
});
