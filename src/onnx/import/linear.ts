import type { Operand } from "../../mil/program.ts";
import { importEinsum } from "./einsum.ts";
import type { Import, ImportSite } from "./site.ts";

/** `linear` takes inputs of rank 1 to 3. */
const LINEAR_RANK = 3;

interface Factors {
  readonly x: Operand;
  readonly y: Operand;
  readonly transposeX: boolean;
  readonly transposeY: boolean;
}

/** A product; a constant matrix on the right makes it a `linear` layer, which every engine treats best. */
function product(site: ImportSite, { x, y, transposeX, transposeY }: Factors): Operand {
  const weight = site.known(y);
  const isLayer =
    weight !== undefined &&
    site.known(x) === undefined &&
    !transposeX &&
    site.shapeOf(y).length === 2 &&
    site.shapeOf(x).length <= LINEAR_RANK &&
    site.shapeOf(x).length > 0;
  if (!isLayer) {
    return site.op("matmul", { x, y, transpose_x: transposeX, transpose_y: transposeY });
  }
  return site.op("linear", { x, weight: transposeY ? weight : site.transpose(weight, [1, 0]) });
}

const gemm: Import = (site) => {
  const alpha = site.float("alpha", 1);
  const beta = site.float("beta", 1);
  const transposeX = site.flag("transA", false);
  const transposeY = site.flag("transB", false);
  const x = site.input(0);
  const weight = site.known(site.input(1));
  const addend = site.has(2) && beta !== 0 ? site.scaled(site.input(2), beta) : undefined;
  const bias = addend === undefined ? undefined : site.known(addend);
  const outputs = site.shape(1)[transposeY ? 0 : 1];
  const isLayer =
    weight !== undefined &&
    bias !== undefined &&
    !transposeX &&
    site.known(x) === undefined &&
    site.shapeOf(bias).length === 1 &&
    site.shapeOf(bias)[0] === outputs;
  if (isLayer) {
    const matrix = site.scaled(transposeY ? weight : site.transpose(weight, [1, 0]), alpha);
    return site.op("linear", { x, weight: matrix, bias });
  }
  const result = site.scaled(product(site, { x, y: site.input(1), transposeX, transposeY }), alpha);
  return addend === undefined ? result : site.add(result, addend);
};

/** int32 numbers of a quantized operand, its zero point taken away. */
function centred(site: ImportSite, index: number, zeroPoint: number, alongRows: boolean): Operand {
  const numbers = site.cast(site.input(index), "int32");
  if (!site.has(zeroPoint)) return numbers;
  const zero = site.cast(site.input(zeroPoint), "int32");
  const count = site.shape(zeroPoint)[0] ?? 1;
  const shaped = alongRows && count > 1 ? site.reshape(zero, [count, 1]) : zero;
  return site.sub(numbers, shaped);
}

export const IMPORT_LINEAR = {
  MatMul: (site) =>
    product(site, {
      x: site.input(0),
      y: site.input(1),
      transposeX: false,
      transposeY: false,
    }),
  Gemm: gemm,
  /** ONNX Runtime's own operator. */
  FusedMatMul: (site) => {
    if (site.flag("transBatchA", false) || site.flag("transBatchB", false)) {
      throw site.fail("transposed batches have no MIL form");
    }
    const result = product(site, {
      x: site.input(0),
      y: site.input(1),
      transposeX: site.flag("transA", false),
      transposeY: site.flag("transB", false),
    });
    return site.scaled(result, site.float("alpha", 1));
  },
  MatMulInteger: (site) =>
    site.op("matmul", { x: centred(site, 0, 2, true), y: centred(site, 1, 3, false) }),
  Einsum: importEinsum,
} as const satisfies Record<string, Import>;
