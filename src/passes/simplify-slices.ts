import { operandsIn } from "../mil/program.ts";
import type { Operand, Operation, Value } from "../mil/program.ts";
import { asResult, knownShape, operandOf, rankOf, scalarConstant } from "../mil/match.ts";
import { rewriting } from "./rewrite.ts";
import type { RewriteContext } from "./rewrite.ts";

const valuesOf = ({ inputs }: Operation): readonly Operand[] => operandsIn(inputs.get("values"));

/** All parts of one split, in order, along the same axis. */
function joinedSplit(operation: Operation, { call, makerOf }: RewriteContext): Operand | undefined {
  const values = valuesOf(operation);
  const [first] = values;
  const split = makerOf(first, "split");
  const source = operandOf(split, "x");
  const shape = knownShape(source);
  if (split === undefined || source === undefined || shape === undefined) return undefined;
  if (split.outputs.length !== values.length || call.bool("interleave")) return undefined;
  if (!split.outputs.every((output, index) => output === values[index])) return undefined;
  return source;
}

/** Parts of inner joins along the same axis, put in place of them. */
function flattened(operation: Operation, context: RewriteContext): Value | undefined {
  const { call, emit, makerOf, isReadOnce } = context;
  if (call.bool("interleave")) return undefined;
  const rank = operation.outputs.map(rankOf)[0] ?? 0;
  const axis = call.axis("axis", rank);
  let changed = false;
  const values = valuesOf(operation).flatMap((value) => {
    const inner = makerOf(value, "concat");
    if (inner === undefined || !isReadOnce(value)) return [value];
    const innerAxis = axisOf(inner, rank);
    if (innerAxis !== axis) return [value];
    changed = true;
    return [...valuesOf(inner)];
  });
  return changed ? emit.op("concat", { values, axis }) : undefined;
}

/** The axis of a plain concat; nothing for one that interleaves. */
function axisOf(operation: Operation, rank: number): number | undefined {
  const interleave = operandOf(operation, "interleave");
  if (interleave !== undefined && scalarConstant(interleave) !== 0) return undefined;
  const axis = scalarConstant(operandOf(operation, "axis"));
  return axis !== undefined && axis < 0 ? axis + rank : axis;
}

/** A join of one tensor or of all parts of a split, a slice of everything and a split into one part are nothing. */
export const simplifySlices = rewriting("simplify slices", (operation, context) => {
  const [result] = operation.outputs;
  if (result === undefined) return undefined;
  const same = (operand: Operand | undefined): Value | undefined => asResult(operation, operand);
  switch (operation.type) {
    case "concat": {
      const values = valuesOf(operation);
      const whole = same(values.length === 1 ? values[0] : joinedSplit(operation, context));
      return whole ?? flattened(operation, context);
    }
    case "stack": {
      const [only, ...others] = valuesOf(operation);
      const shape = knownShape(result);
      if (only === undefined || others.length > 0 || shape === undefined) return undefined;
      return context.emit.op("reshape", { x: only, shape });
    }
    case "split":
      return operation.outputs.length === 1 ? same(operandOf(operation, "x")) : undefined;
    case "slice_by_index": {
      const hasSteps = operation.inputs.has("stride");
      if (hasSteps && context.call.ints("stride").some((step) => step !== 1)) return undefined;
      return knownShape(result) === undefined ? undefined : same(operandOf(operation, "x"));
    }
    case "slice_by_size":
    case "tile":
    case "pad":
      return knownShape(result) === undefined ? undefined : same(operandOf(operation, "x"));
    default:
      return undefined;
  }
});
