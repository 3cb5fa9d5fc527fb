export { BlobBuilder } from "./blob-builder.ts";
export { BLOB_TYPE_CODES, BlobFile, isBlobDataType } from "./blob-file.ts";
export type { BlobDataType, BlobRecord } from "./blob-file.ts";
export type { ModelMetadata } from "./description.ts";
export { decodeElements, encodeElements } from "./element-bytes.ts";
export { CoreMlError } from "./errors.ts";
export { readFlexibleShapes, withFlexibleShapes } from "./flexible-shapes.ts";
export type { FlexibleShape } from "./flexible-shapes.ts";
export type {
  FeatureDescription,
  FeatureType,
  FunctionDescription,
  Metadata,
  Model,
  ModelDescription,
} from "./generated/model_pb.ts";
export { mapLiterals } from "./map-literals.ts";
export { buildModel, parseModel, serializeModel } from "./model-message.ts";
export type { ModelContents, ModelOptions } from "./model-message.ts";
export { openModel } from "./open-model.ts";
export type { ModelFormat, OpenedModel } from "./open-model.ts";
export { OPSET_NAMES, opsetFromModel, opsetToModel } from "./opset-names.ts";
export { readProgram } from "./program-reader.ts";
export { writeProgram } from "./program-writer.ts";
export { saveModelFile, savePackage, saveText, textWeightsPath } from "./save-model.ts";
export type { SaveOptions, SaveTextOptions } from "./save-model.ts";
export {
  loadWeights,
  moveWeights,
  weightFilesOf,
  weightProblems,
  WEIGHT_FILE_PATH,
  Weights,
} from "./weights.ts";
export type { WeightLocation, WeightProblem } from "./weights.ts";
export type { LiteralPlace, Replace } from "./map-literals.ts";
export type { MovedWeights } from "./weights.ts";
export type { WriteProgramOptions } from "./program-writer.ts";
