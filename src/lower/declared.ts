import type { Operation } from "../mil/program.ts";
import { isFloat } from "../mil/types.ts";
import type { DataType } from "../mil/types.ts";

/** The shape an op's first result was declared with. */
export function declaredShape(operation: Operation): readonly number[] {
  const type = operation.outputs[0]?.type;
  return type?.kind === "tensor" ? type.shape.map(Number) : [];
}

export function declaredType(operation: Operation): DataType | undefined {
  const type = operation.outputs[0]?.type;
  return type?.kind === "tensor" ? type.dataType : undefined;
}

export function declaresFloats(operation: Operation): boolean {
  const dataType = declaredType(operation);
  return dataType !== undefined && isFloat(dataType);
}
