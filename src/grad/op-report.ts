import { PUBLIC_OPS, signaturesOf } from "../mil/op-signature.ts";
import { OPS, isOpName, opRow } from "../mil/ops/index.ts";
import { hasOnnxForm } from "../onnx/lower/index.ts";
import { GRADIENT_RULES } from "./rules/index.ts";

/** What this version can do with one op. */
export interface OpReport {
  readonly name: string;
  /** First opset that has it. */
  readonly since: string | null;
  /** In the public vocabulary of coremltools. */
  readonly public: boolean;
  /** Executed on the reference engine by a fixture of another library. */
  readonly tested: boolean;
  /** The reference engine runs it. */
  readonly evaluated: boolean;
  /** "zero": constant almost everywhere, so that nothing flows back. */
  readonly derivative: "rule" | "zero" | "none";
  /** Runs on the CPU engine and converts to ONNX. */
  readonly onnx: boolean;
}

/** Names of all ops that are known, sorted: the public ones and those of the table. */
export function opNames(): readonly string[] {
  return [...new Set([...PUBLIC_OPS, ...Object.keys(OPS)])].toSorted();
}

/** What can be done with an op; an unknown name has nothing. */
export function opReport(name: string): OpReport {
  const row = opRow(name);
  const signatures = signaturesOf(name);
  return {
    name,
    since: signatures[0]?.since ?? row?.since ?? null,
    public: signatures.length > 0,
    tested: row?.evaluate !== undefined,
    evaluated: row?.evaluate !== undefined || name === "const",
    derivative: derivativeOf(name),
    onnx: hasOnnxForm(name),
  };
}

function derivativeOf(name: string): OpReport["derivative"] {
  if (!isOpName(name)) return "none";
  const entry: object = GRADIENT_RULES[name];
  if (typeof entry === "function") return "rule";
  return "kind" in entry && entry.kind === "zero" ? "zero" : "none";
}
