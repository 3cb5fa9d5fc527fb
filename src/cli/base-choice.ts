import type { FrozenChoice } from "../lower/frozen-constants.ts";

/** Where a frozen base's matrices stand, and both prices, as commands print it with `--json`. */
export function baseJson(choice: FrozenChoice): object {
  const { constantCount, weightCount, unpricedCount, programCount, reason } = choice;
  const { inputsMs, constantsMs, compileMs } = choice;
  return {
    constants: constantCount,
    of: weightCount,
    not_priced: unpricedCount,
    engine_programs: programCount,
    reason,
    inputs_ms: inputsMs,
    ...(constantsMs !== undefined && { constants_ms: constantsMs }),
    compile_ms: compileMs,
  };
}
