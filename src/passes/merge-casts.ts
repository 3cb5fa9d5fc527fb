import type { DataType } from "../mil/types.ts";
import { asResult, operandOf } from "../mil/match.ts";
import { rewriting } from "./rewrite.ts";

/** Types that hold every number of another one. */
const HOLDS: Readonly<Partial<Record<DataType, readonly DataType[]>>> = {
  fp32: ["fp16", "bf16", "int8", "uint8", "int16", "uint16", "bool"],
  fp16: ["int8", "uint8", "bool"],
  int32: ["int8", "uint8", "int16", "uint16", "bool"],
  int16: ["int8", "uint8", "bool"],
  uint16: ["uint8", "bool"],
};

/** A cast to the type at hand is none; a cast through a wider type is one cast. */
export const mergeCasts = rewriting("merge casts", (operation, { emit, call, makerOf }) => {
  if (operation.type !== "cast") return undefined;
  const x = operandOf(operation, "x");
  const same = asResult(operation, x);
  if (same !== undefined) return same;
  const source = operandOf(makerOf(x, "cast"), "x");
  if (source?.type.kind !== "tensor" || x?.type.kind !== "tensor") return undefined;
  const isWider = HOLDS[x.type.dataType]?.includes(source.type.dataType) === true;
  if (!isWider) return undefined;
  return asResult(operation, source) ?? emit.op("cast", { x: source, dtype: call.string("dtype") });
});
