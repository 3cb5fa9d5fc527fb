import type { DataType } from "../mil/types.ts";
import { sameType } from "../mil/types.ts";
import { operandOf } from "./match.ts";
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
  const [result] = operation.outputs;
  const x = operandOf(operation, "x");
  if (x === undefined || result === undefined) return undefined;
  if (x.kind === "value" && sameType(x.type, result.type)) return x;
  const source = operandOf(makerOf(x, "cast"), "x");
  if (source?.type.kind !== "tensor" || x.type.kind !== "tensor") return undefined;
  const isWider = HOLDS[x.type.dataType]?.includes(source.type.dataType) === true;
  if (!isWider) return undefined;
  if (source.kind === "value" && sameType(source.type, result.type)) return source;
  return emit.op("cast", { x: source, dtype: call.string("dtype") });
});
