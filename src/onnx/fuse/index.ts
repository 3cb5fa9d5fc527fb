import type { MilFunction, Operation } from "../../mil/program.ts";
import { Uses } from "./match.ts";
import type { EmitFusion, Match } from "./match.ts";
import { FUSIONS, READING_FUSIONS } from "./table.ts";

export interface Fusions {
  readonly consumed: ReadonlySet<Operation>;
  readonly roots: ReadonlyMap<Operation, EmitFusion>;
}

/**
 * Patterns of the fusion table, found from the last op to the first, so that the largest wins. `isReading`: of the table for
 * graphs with given constants.
 */
export function findFusions(fn: MilFunction, isReading = false): Fusions {
  const table = isReading ? READING_FUSIONS : FUSIONS;
  const uses = new Uses(fn);
  const consumed = new Set<Operation>();
  const roots = new Map<Operation, EmitFusion>();
  for (const operation of fn.operations.toReversed()) {
    if (consumed.has(operation)) continue;
    for (const find of table[operation.type] ?? []) {
      const match = find(operation, uses);
      if (match === undefined) continue;
      const inside = new Set([operation, ...match.inner]);
      const isTaken = match.inner.some((inner) => consumed.has(inner) || roots.has(inner));
      if (
        isTaken ||
        !match.inner.every((inner) => staysInside(inner, operation, inside, match, uses))
      )
        continue;
      for (const inner of match.inner) consumed.add(inner);
      roots.set(operation, match.emit);
      break;
    }
  }
  return { consumed, roots };
}

/** Whether nobody outside the pattern needs what an inner op makes. */
function staysInside(
  inner: Operation,
  root: Operation,
  inside: ReadonlySet<Operation>,
  match: Match,
  uses: Uses,
): boolean {
  return inner.outputs.every((output) => {
    const outside = uses.readers(output).filter((reader) => !inside.has(reader));
    // What the fused node gives exists only from the root's place on.
    if (match.given?.includes(output) === true)
      return outside.every((reader) => uses.place(reader) > uses.place(root));
    return !uses.isOutput(output) && outside.length === 0;
  });
}
