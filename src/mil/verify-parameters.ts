import { didYouMean } from "../util/nearest.ts";
import { signatureIn, signaturesOf } from "./op-signature.ts";
import type { OpSignature, SignatureParameter } from "./op-signature.ts";
import type { OpRow } from "./op-row.ts";
import type { Operand, Operation } from "./program.ts";
import type { DataType } from "./types.ts";

export interface ParameterProblem {
  readonly code: string;
  readonly message: string;
}

/**
 * Checks the parameters of an op against its signature in `opset`: unknown, missing and too new ones,
 * constants, element types. An op without a signature (`write_state`) is checked against its row.
 */
export function checkParameters(
  operation: Operation,
  row: OpRow,
  opset: string,
  isConstant: (operand: Operand) => boolean,
): readonly ParameterProblem[] {
  const all = signaturesOf(operation.type);
  const signature = all.length === 0 ? signatureOfRow(row) : signatureIn(operation.type, opset);
  if (signature === undefined) {
    return [
      {
        code: "mil.verify.opset",
        message: `${operation.type} came with ${all[0]?.since}, the function has opset ${opset}`,
      },
    ];
  }
  const given = argumentsOf(operation, row);
  const problems: ParameterProblem[] = [];
  const known = new Map(signature.parameters.map((parameter) => [parameter.name, parameter]));
  for (const name of given.keys()) {
    if (!known.has(name)) problems.push(unknownParameter(operation.type, name, opset, known));
  }
  const domains = new Map<string, { readonly name: string; readonly type: DataType }>();
  for (const parameter of signature.parameters) {
    const operands = given.get(parameter.name);
    if (operands === undefined) {
      if (!parameter.optional) {
        problems.push({
          code: "mil.verify.missing",
          message: `parameter "${parameter.name}" is missing`,
        });
      }
      continue;
    }
    for (const operand of operands) {
      if (parameter.constant && !isConstant(operand)) {
        problems.push({
          code: "mil.verify.constant",
          message: `parameter "${parameter.name}" must be a constant`,
        });
      }
      checkType(parameter, operand, domains, opset, problems);
    }
  }
  return problems;
}

/** Arguments by name; parameters that ios16 writes as attributes count too. */
function argumentsOf(operation: Operation, row: OpRow): ReadonlyMap<string, readonly Operand[]> {
  const given = new Map<string, readonly Operand[]>();
  for (const [name, literal] of operation.attributes) {
    if (Object.hasOwn(row.parameters, name)) given.set(name, [literal]);
  }
  for (const [name, argument] of operation.inputs) {
    given.set(name, Array.isArray(argument) ? argument : [argument]);
  }
  return given;
}

function unknownParameter(
  op: string,
  name: string,
  opset: string,
  known: ReadonlyMap<string, SignatureParameter>,
): ParameterProblem {
  const later = signaturesOf(op).find(({ parameters }) =>
    parameters.some((parameter) => parameter.name === name),
  );
  return {
    code: "mil.verify.parameter",
    message:
      later === undefined
        ? `${op} has no parameter "${name}".${didYouMean(name, known.keys())}`
        : `${op} has no parameter "${name}" in opset ${opset}; ${later.since}'s form of it has one`,
  };
}

function checkType(
  parameter: SignatureParameter,
  operand: Operand,
  domains: Map<string, { readonly name: string; readonly type: DataType }>,
  opset: string,
  problems: ParameterProblem[],
): void {
  const { type } = operand;
  const tensor = type.kind === "state" ? type.wrapped : type;
  if (tensor.kind !== "tensor" || parameter.types === undefined) return;
  const { dataType } = tensor;
  if (!parameter.types.includes(dataType)) {
    problems.push({
      code: "mil.verify.type",
      message: `parameter "${parameter.name}" takes ${parameter.types.join(", ")} in opset ${opset}, not ${dataType}`,
    });
    return;
  }
  if (parameter.domain === undefined) return;
  const other = domains.get(parameter.domain);
  if (other === undefined) {
    domains.set(parameter.domain, { name: parameter.name, type: dataType });
  } else if (other.type !== dataType) {
    problems.push({
      code: "mil.verify.type",
      message: `parameters "${other.name}" and "${parameter.name}" must have one element type, not ${other.type} and ${dataType}`,
    });
  }
}

/** What a row itself says, for ops that coremltools writes but does not register. */
function signatureOfRow(row: OpRow): Pick<OpSignature, "parameters"> {
  return {
    parameters: Object.entries(row.parameters).map(([name, spec]) => ({
      name,
      constant: spec.constant,
      optional: spec.optional,
      ...(spec.types !== undefined && { types: spec.types }),
    })),
  };
}
