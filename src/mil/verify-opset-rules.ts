import type { OpCall } from "./op-call.ts";
import { signatureIn } from "./op-signature.ts";
import { OPSETS } from "./program.ts";
import type { Opset } from "./program.ts";

/** Rules beyond names and types that an opset brings or lifts; each throws `MilError`. */
type OpsetRule = (call: OpCall, opset: string) => void;

const atLeast = (opset: string, wanted: Opset): boolean => {
  const index = OPSETS.findIndex((name) => name === opset);
  return index === -1 || index >= OPSETS.indexOf(wanted);
};

const padTypeSince: OpsetRule = (call, opset) => {
  if (
    !atLeast(opset, "ios16") &&
    call.has("pad_type") &&
    call.string("pad_type") === "same_lower"
  ) {
    throw call.fail(`pad_type "same_lower" came with ios16, the opset is ${opset}`);
  }
};

/** Source: the checks of coremltools' op classes that ask for the opset or were added by a later one. */
const RULES: Readonly<Record<string, OpsetRule>> = {
  avg_pool: padTypeSince,
  l2_pool: padTypeSince,
  max_pool: padTypeSince,
  conv: padTypeSince,
  cast: (call, opset) => {
    const allowed: readonly string[] = signatureIn("cast", opset)?.parameters[0]?.types ?? [];
    const wanted = call.string("dtype");
    if (!allowed.includes(wanted)) {
      throw call.fail(
        `dtype must be one of ${allowed.join(", ")} in opset ${opset}, not ${wanted}`,
      );
    }
  },
  clip: (call, opset) => {
    if (!atLeast(opset, "ios17") || !call.isKnown("alpha") || !call.isKnown("beta")) return;
    if (call.float("alpha") >= call.float("beta")) {
      throw call.fail(`alpha must be below beta from ios17 on, not ${call.float("alpha")}`);
    }
  },
};

/** Throws `MilError` where an op breaks a rule that depends on the opset. */
export function checkOpsetRules(call: OpCall, opset: string): void {
  if (Object.hasOwn(RULES, call.type)) RULES[call.type]?.(call, opset);
}
