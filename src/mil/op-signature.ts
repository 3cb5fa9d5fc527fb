import { OP_SIGNATURES } from "./ops/signatures.ts";
import { OPSETS } from "./program.ts";
import type { Opset } from "./program.ts";
import { isDataType } from "./types.ts";
import type { DataType } from "./types.ts";

/** What one opset says about a parameter. */
export interface SignatureParameter {
  readonly name: string;
  readonly constant: boolean;
  readonly optional: boolean;
  /** Element types allowed; absent where any is. */
  readonly types?: readonly DataType[];
  /** Parameters of one domain must have one element type. */
  readonly domain?: string;
}

/** Parameters of an op as Apple's documentation gives them. */
export interface OpSignature {
  /** The opset that introduced this form of the op. */
  readonly since: Opset;
  readonly parameters: readonly SignatureParameter[];
}

const CACHE = new Map<string, readonly OpSignature[]>();

/** Every revision of an op's signature, the oldest first; empty for an op that is not public. */
export function signaturesOf(op: string): readonly OpSignature[] {
  const cached = CACHE.get(op);
  if (cached !== undefined) return cached;
  const lines: readonly string[] = isPublicOp(op) ? OP_SIGNATURES[op] : [];
  const signatures = lines.map(parseSignature);
  if (lines.length > 0) CACHE.set(op, signatures);
  return signatures;
}

/** Names of the public ops but `const`. */
export type PublicOpName = keyof typeof OP_SIGNATURES;

/** The 166 public ops beside `const`, which the program itself holds. */
export const PUBLIC_OPS: readonly PublicOpName[] = Object.freeze(
  Object.keys(OP_SIGNATURES).filter(isPublicOp),
);

/** Whether a name is in the public vocabulary of coremltools. */
export function isPublicOp(op: string): op is PublicOpName {
  return Object.hasOwn(OP_SIGNATURES, op);
}

/**
 * The signature of an op in an opset: the newest that is not newer. Nothing where the op came later. An opset
 * this version does not know counts as the newest one.
 */
export function signatureIn(op: string, opset: string): OpSignature | undefined {
  const wanted = opsetIndex(opset);
  return signaturesOf(op).findLast(({ since }) => opsetIndex(since) <= wanted);
}

function opsetIndex(opset: string): number {
  const index = OPSETS.findIndex((name) => name === opset);
  return index === -1 ? OPSETS.length : index;
}

function parseSignature(line: string): OpSignature {
  const [head = "", ...domainTexts] = line.split(" | ");
  const [first = "", ...parameterTexts] = head.split(" ");
  const domains = new Map(
    domainTexts.map((text): [string, readonly DataType[]] => {
      const [name = "", types = ""] = text.split("=");
      return [name, types.split(",").filter(isDataType)];
    }),
  );
  const since = OPSETS.find((name) => name === first) ?? OPSETS[0];
  return { since, parameters: parameterTexts.map((text) => parseParameter(text, domains)) };
}

function parseParameter(
  text: string,
  domains: ReadonlyMap<string, readonly DataType[]>,
): SignatureParameter {
  const constant = text.startsWith("!");
  const [spelled = "", kind = ""] = text.slice(constant ? 1 : 0).split(":");
  const optional = spelled.endsWith("?");
  const name = optional ? spelled.slice(0, -1) : spelled;
  const domainTypes = domains.get(kind);
  if (domainTypes !== undefined) {
    return { name, constant, optional, types: domainTypes, domain: kind };
  }
  const types = kind.split(",").filter(isDataType);
  return types.length > 0 ? { name, constant, optional, types } : { name, constant, optional };
}
