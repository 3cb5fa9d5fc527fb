import { FunctionBuilder } from "../../mil/builder.ts";
import type { MilFunction, Value } from "../../mil/program.ts";
import { scalarType, staticShape } from "../../mil/types.ts";
import type { WeightSpec } from "../../model/weights.ts";
import type { HostKernel } from "../../plan/plan.ts";

/** Settings of Muon that stand in the program; the others are inputs. */
export interface MuonSettings {
  readonly momentum: number;
  /** Steps of the iteration that makes a matrix orthogonal: 1 to 8. */
  readonly iterations: number;
}

export const DEFAULT_MUON: MuonSettings = { momentum: 0.95, iterations: 5 };

/** Scalar inputs of every Muon program, fp32 []. */
export const MUON_SCALARS = ["muon_learning_rate", "weight_decay", "gradient_scale"] as const;
type MuonScalar = (typeof MUON_SCALARS)[number];

/**
 * a, b and c of each iteration X <- a X + (b A + c A A) X with A = X Xᵀ, for singular values from 0.001 to 1: "The
 * Polar Express" (Amsel, Persson, Musco, Gower, 2025). The first ones lift small singular values, the later ones draw
 * all of them to 1.
 */
const COEFFICIENTS: readonly (readonly [number, number, number])[] = [
  [8.28721201814563, -23.595886519098837, 17.300387312530933],
  [4.107059111542203, -2.9478499167379106, 0.5448431082926601],
  [3.9486908534822946, -2.908902115962949, 0.5518191394370137],
  [3.3184196573706015, -2.488488024314874, 0.51004894012372],
  [2.300652019954817, -1.6689039845747493, 0.4188073119525673],
  [1.891301407787398, -1.2679958271945868, 0.37680408948524835],
  [1.8750014808534479, -1.2500016453999487, 0.3750001645474248],
  [1.875, -1.25, 0.375],
];
export const MUON_MOST_ITERATIONS = COEFFICIENTS.length;
/** Rounding may leave singular values above 1, where the polynomials grow: they are computed as if that much smaller. */
const SAFETY = 1.01;
/** An orthogonal matrix's update, times this and the root of its longer side, is as large as one of AdamW. */
const ROOT_MEAN_SQUARE = 0.2;

/** Names of one weight's inputs; outputs are `new_` and the same names, the gradient excepted. */
export function muonNames({ parameter }: Pick<WeightSpec, "parameter">) {
  return { weight: parameter, gradient: `gradient_${parameter}`, m: `m_${parameter}` };
}

/**
 * Muon (Jordan and others, 2024) for matrices of a stage: momentum m <- mu m + g, Nesterov's look ahead u = g + mu m,
 * and w <- w - rate (decay w + 0.2 sqrt(max(rows, columns)) O), where O is u with all singular values near 1. The
 * factor (Liu and others, 2025) makes updates as large as AdamW's, whatever the shape.
 */
export function muonProgram(
  name: string,
  weights: readonly WeightSpec[],
  { momentum, iterations }: MuonSettings,
): { readonly function: MilFunction; readonly kernel: HostKernel } {
  const f = new FunctionBuilder(name);
  const scalars = Object.fromEntries(
    MUON_SCALARS.map((scalar) => [scalar, f.input(scalar, scalarType("fp32"))]),
  ) as Record<MuonScalar, Value>;
  const rate = scalars.muon_learning_rate;
  const outputs: Record<string, Value> = {};
  const shrink = f.op("sub", { x: 1, y: f.op("mul", { x: rate, y: scalars.weight_decay }) });
  for (const spec of weights) {
    const names = muonNames(spec);
    const weight = f.input(names.weight, spec.type);
    const gradient = f.input(names.gradient, spec.type);
    const oldM = f.input(names.m, spec.type);
    const [rows = 1, columns = 1] = staticShape(spec.type);
    const scaled = f.op("mul", { x: gradient, y: scalars.gradient_scale });
    const m = f.op("add", { x: f.op("mul", { x: oldM, y: momentum }), y: scaled });
    const ahead = f.op("add", { x: scaled, y: f.op("mul", { x: m, y: momentum }) });
    const direction = orthogonal(f, ahead, rows <= columns, iterations);
    const kept = spec.decays ? f.op("mul", { x: weight, y: shrink }) : weight;
    const factor = ROOT_MEAN_SQUARE * Math.sqrt(Math.max(rows, columns));
    const step = f.op("mul", { x: rate, y: factor });
    outputs[`new_${names.weight}`] = f.op("sub", {
      x: kept,
      y: f.op("mul", { x: direction, y: step }),
    });
    outputs[`new_${names.m}`] = m;
  }
  return {
    function: f.finish(outputs),
    kernel: { kind: "muon", weights: weights.map((spec) => muonNames(spec).weight) },
  };
}

/** A matrix [R, C] with the same singular vectors and singular values near 1; products are of the shorter side. */
function orthogonal(f: FunctionBuilder, matrix: Value, isWide: boolean, iterations: number): Value {
  const squares = f.op("mul", { x: matrix, y: matrix });
  const sum = f.op("reduce_sum", { x: squares, axes: [0, 1], keep_dims: true });
  // Zeros stay zeros.
  const norm = f.op("add", { x: f.op("sqrt", { x: sum }), y: 1e-20 });
  let x = f.op("real_div", { x: matrix, y: f.op("mul", { x: norm, y: SAFETY }) });
  for (const [a, b, c] of COEFFICIENTS.slice(0, iterations)) {
    const gram = f.op("matmul", { x, y: x, transpose_x: !isWide, transpose_y: isWide });
    const square = f.op("matmul", { x: gram, y: gram });
    const mixed = f.op("add", {
      x: f.op("mul", { x: gram, y: b }),
      y: f.op("mul", { x: square, y: c }),
    });
    const turned = f.op("matmul", isWide ? { x: mixed, y: x } : { x, y: mixed });
    x = f.op("add", { x: f.op("mul", { x, y: a }), y: turned });
  }
  return x;
}
