/** MIL: types, programs, the op table, a builder, a verifier, text. */
export { FunctionBuilder, programOf, shaped } from "./builder.ts";
export type { OpOptions } from "./builder.ts";
export { MilError } from "./errors.ts";
export { hostTensor } from "./host-tensor.ts";
export type { HostTensor } from "./host-tensor.ts";
export {
  boolLiteral,
  int32Literal,
  int32sLiteral,
  numericLiteral,
  scalarLiteral,
  stringLiteral,
  tensorLiteral,
} from "./literal.ts";
export { OPS, isOpName, opRow } from "./ops/index.ts";
export type { OpName, OpRowOf } from "./ops/index.ts";
export type {
  Argument,
  BlobReference,
  Block,
  Literal,
  LiteralItems,
  LiteralPairs,
  MilFunction,
  NumericLiteralData,
  Operand,
  Operation,
  Program,
  StringLiteralData,
  Value,
} from "./program.ts";
export { withInputShapes } from "./specialize.ts";
export { statesAsValues } from "./states-as-values.ts";
export type { StatelessFunction, StateValue } from "./states-as-values.ts";
export { parseProgram, printProgram } from "./text/index.ts";
export { DATA_TYPE_BITS, formatType, scalarType, tensorType } from "./types.ts";
export type { DataType, MilType, TensorType } from "./types.ts";
export { missingOps } from "./missing-ops.ts";
export { PUBLIC_OPS, isPublicOp, signatureIn, signaturesOf } from "./op-signature.ts";
export {
  checkFunction,
  checkProgram,
  formatProblem,
  verifyFunction,
  verifyProgram,
} from "./verify.ts";
export type { OpInputs, OpKind, OpRow, ProductTrait } from "./op-row.ts";
export type { OpSignature, PublicOpName, SignatureParameter } from "./op-signature.ts";
export type { LiteralData, NumericData, Opset } from "./program.ts";
export type {
  DictionaryType,
  Dimension,
  ListType,
  StateType,
  TensorBufferType,
  TupleType,
} from "./types.ts";
export type { MilCheck, MilProblem, Verification } from "./verify.ts";
export type { CallEnvironment, OpCall } from "./op-call.ts";
export type { ParameterKind, ParameterSpec } from "./op-parameters.ts";
export type { TensorList } from "./ops/lists.ts";
export type { ParseOptions } from "./text/parser.ts";
export type { PrintOptions } from "./text/printer.ts";
export type { Precision } from "./evaluate-operation.ts";
