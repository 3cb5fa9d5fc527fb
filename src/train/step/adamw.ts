import { FunctionBuilder } from "../../mil/builder.ts";
import type { MilFunction, Value } from "../../mil/program.ts";
import { scalarType, staticShape, tensorType } from "../../mil/types.ts";
import type { TensorType } from "../../mil/types.ts";
import type { WeightSpec } from "../../model/weights.ts";
import type { HostKernel, MomentType } from "../../plan/plan.ts";
import { bfloat16Numbers, bfloat16Table } from "../../plan/unpack.ts";
import { singles } from "./gradient-functions.ts";
import { ditherOf, momentPatterns } from "./moment-patterns.ts";

/** Settings of AdamW that stand in the program; the others are inputs. */
export interface AdamwSettings {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** How m and v are kept from one update to the next. Default "fp32". */
  readonly momentType?: MomentType | undefined;
}

/** Scalar inputs of every AdamW program, fp32 []. */
export const ADAMW_SCALARS = [
  "learning_rate",
  "weight_decay",
  "bias_correction1",
  "bias_correction2",
  "gradient_scale",
] as const;
type AdamwScalar = (typeof ADAMW_SCALARS)[number];

export interface AdamwProgram {
  readonly function: MilFunction;
  readonly kernel: HostKernel;
}

/** Names of one weight's inputs; outputs are `new_` and the same names, the gradient excepted. */
export function adamwNames({ parameter }: WeightSpec) {
  return {
    weight: parameter,
    gradient: `gradient_${parameter}`,
    m: `m_${parameter}`,
    v: `v_${parameter}`,
  };
}

/** The type of a weight's moments: bf16 stands as patterns. */
export function momentTensor(type: TensorType, momentType: MomentType = "fp32"): TensorType {
  return momentType === "fp32" ? type : tensorType("uint16", staticShape(type));
}

/**
 * AdamW with decoupled decay (Loshchilov and Hutter, 2019) for weights of a stage:
 * w -= rate * (decay * w + (m / c1) / (sqrt(v / c2) + epsilon)), where m and v are running means of the
 * scaled gradient and of its square and c1, c2 correct their start at zero. Moments of 16 bits are computed with in fp32,
 * and the new ones move the weight before they are rounded.
 */
export function adamwProgram(
  name: string,
  weights: readonly WeightSpec[],
  { beta1, beta2, epsilon, momentType = "fp32" }: AdamwSettings,
  gradientType: (weight: WeightSpec) => TensorType = ({ type }) => type,
): AdamwProgram {
  const f = new FunctionBuilder(name);
  const scalars = Object.fromEntries(
    ADAMW_SCALARS.map((name) => [name, f.input(name, scalarType("fp32"))]),
  ) as Record<AdamwScalar, Value>;
  const outputs: Record<string, Value> = {};
  const inverse1 = f.op("real_div", { x: 1, y: scalars.bias_correction1 });
  const inverse2 = f.op("real_div", { x: 1, y: scalars.bias_correction2 });
  const shrink = f.op("sub", {
    x: 1,
    y: f.op("mul", { x: scalars.learning_rate, y: scalars.weight_decay }),
  });
  const table = momentType === "fp32" ? undefined : bfloat16Table(f);
  for (const spec of weights) {
    const names = adamwNames(spec);
    const weight = f.input(names.weight, spec.type);
    const gradient = singles(f, f.input(names.gradient, gradientType(spec)));
    const [oldM, oldV] = [names.m, names.v].map((name) => {
      const kept = f.input(name, momentTensor(spec.type, momentType));
      return table === undefined ? kept : bfloat16Numbers(f, kept, table);
    }) as [Value, Value];
    const scaled = f.op("mul", { x: gradient, y: scalars.gradient_scale });
    const m = f.op("add", {
      x: f.op("mul", { x: oldM, y: beta1 }),
      y: f.op("mul", { x: scaled, y: 1 - beta1 }),
    });
    const v = f.op("add", {
      x: f.op("mul", { x: oldV, y: beta2 }),
      y: f.op("mul", { x: f.op("mul", { x: scaled, y: scaled }), y: 1 - beta2 }),
    });
    const root = f.op("sqrt", { x: f.op("mul", { x: v, y: inverse2 }) });
    const direction = f.op("real_div", {
      x: f.op("mul", { x: m, y: inverse1 }),
      y: f.op("add", { x: root, y: epsilon }),
    });
    const shrunk = spec.decays ? f.op("mul", { x: weight, y: shrink }) : weight;
    outputs[`new_${names.weight}`] = f.op("sub", {
      x: shrunk,
      y: f.op("mul", { x: direction, y: scalars.learning_rate }),
    });
    const dither = table === undefined ? undefined : ditherOf(f, weight);
    const kept = (moment: Value): Value =>
      dither === undefined ? moment : momentPatterns(f, moment, dither);
    outputs[`new_${names.m}`] = kept(m);
    outputs[`new_${names.v}`] = kept(v);
  }
  return {
    function: f.finish(outputs),
    kernel: {
      kind: "adamw",
      beta1,
      beta2,
      epsilon,
      momentType,
      parameters: weights.map((spec) => ({ ...adamwNames(spec), decay: spec.decays })),
    },
  };
}
