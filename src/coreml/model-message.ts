import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Program } from "../mil/program.ts";
import { messageOf } from "../util/errors.ts";
import { describeProgram } from "./description.ts";
import type { DescribeOptions } from "./description.ts";
import { CoreMlError } from "./errors.ts";
import { ModelSchema } from "./generated/model_pb.ts";
import type { FeatureDescription, Model } from "./generated/model_pb.ts";
import { OPSET_NAMES } from "./opset-names.ts";
import { readProgram } from "./program-reader.ts";
import { writeProgram } from "./program-writer.ts";
import type { WriteProgramOptions } from "./program-writer.ts";

/** Messages inside one another that are read; a block in a block takes two. */
const NESTING_LIMIT = 400;

/** Kinds of models by the number of their field (facts: formats, section 6.2). */
const MODEL_KINDS: ReadonlyMap<number, string> = new Map([
  [200, "pipelineClassifier"],
  [201, "pipelineRegressor"],
  [202, "pipeline"],
  [300, "glmRegressor"],
  [301, "supportVectorRegressor"],
  [302, "treeEnsembleRegressor"],
  [303, "neuralNetworkRegressor"],
  [304, "bayesianProbitRegressor"],
  [400, "glmClassifier"],
  [401, "supportVectorClassifier"],
  [402, "treeEnsembleClassifier"],
  [403, "neuralNetworkClassifier"],
  [404, "kNearestNeighborsClassifier"],
  [500, "neuralNetwork"],
  [501, "itemSimilarityRecommender"],
  [555, "customModel"],
  [556, "linkedModel"],
  [560, "classConfidenceThresholding"],
  [600, "oneHotEncoder"],
  [601, "imputer"],
  [602, "featureVectorizer"],
  [603, "dictVectorizer"],
  [604, "scaler"],
  [606, "categoricalMapping"],
  [607, "normalizer"],
  [609, "arrayFeatureExtractor"],
  [610, "nonMaximumSuppression"],
  [900, "identity"],
  [2000, "textClassifier"],
  [2001, "wordTagger"],
  [2002, "visionFeaturePrint"],
  [2003, "soundAnalysisPreprocessing"],
  [2004, "gazetteer"],
  [2005, "wordEmbedding"],
  [2006, "audioFeaturePrint"],
  [3000, "serializedModel"],
]);

const OLDEST_SPECIFICATION = 5;

/** A model file's message and the program in it. */
export interface ModelContents {
  readonly model: Model;
  readonly program: Program;
}

/** Reads the bytes of a model. Throws `CoreMlError`, for models that are not ML programs with their kind. */
export function parseModel(bytes: Uint8Array, name = "model.mlmodel"): ModelContents {
  let model: Model;
  try {
    model = fromBinary(ModelSchema, bytes, { recursionLimit: NESTING_LIMIT });
  } catch (error) {
    throw new CoreMlError(
      "coreml.protobuf",
      `${name} is not a Core ML model: ${messageOf(error)}`,
      { cause: error },
    );
  }
  if (model.mlProgram === undefined) throw notAProgram(model, name);
  try {
    return { model, program: readProgram(model.mlProgram) };
  } catch (error) {
    const code = error instanceof CoreMlError ? error.code : "coreml.program";
    throw new CoreMlError(code, `${name}: ${messageOf(error)}`, { cause: error });
  }
}

function notAProgram(model: Model, name: string): CoreMlError {
  const kind = model.$unknown
    ?.map(({ no }) => MODEL_KINDS.get(no))
    .find((candidate) => candidate !== undefined);
  if (kind === undefined) {
    return new CoreMlError("coreml.model.kind", `${name} holds no ML program`);
  }
  return new CoreMlError(
    "coreml.model.kind",
    `${name} is a ${kind} model of specification ${model.specificationVersion}; only ML programs are read`,
    {
      remedy: kind.includes("ipeline")
        ? "Take the ML program out of the pipeline and open it by itself."
        : `Convert the original model anew with a deployment target of iOS 15 or later (specification ${OLDEST_SPECIFICATION + 1}).`,
    },
  );
}

/** What a model says of itself beside its program. */
export interface ModelOptions extends DescribeOptions, WriteProgramOptions {
  /** The message the program was read from: its texts, flags and unknown parts are kept. */
  readonly original?: Model | undefined;
  /** The specification to write; the lowest that the program needs when left out. */
  readonly specificationVersion?: number | undefined;
}

/** The message of a program. Throws `CoreMlError` for what Core ML cannot express. */
export function buildModel(program: Program, options: ModelOptions = {}): Model {
  const { original } = options;
  const description = describeProgram(program, {
    base: options.base ?? original?.description,
    metadata: options.metadata,
    defaultFunction: options.defaultFunction,
  });
  const features = [description, ...description.functions].flatMap((part) => [
    ...part.input,
    ...part.output,
  ]);
  const needed = neededSpecification(program, description.functions.length > 0, features);
  const model = create(ModelSchema, {
    specificationVersion:
      options.specificationVersion ?? Math.max(needed, original?.specificationVersion ?? 0),
    description,
    isUpdatable: original?.isUpdatable ?? false,
    mlProgram: writeProgram(program, options),
  });
  if (model.specificationVersion < needed) {
    throw new CoreMlError(
      "coreml.model.specification",
      `the program needs specification ${needed}, ${model.specificationVersion} was asked for`,
    );
  }
  if (original?.$unknown !== undefined) model.$unknown = original.$unknown;
  return model;
}

/** The bytes of a model; equal models give equal bytes. */
export function serializeModel(model: Model): Uint8Array {
  return toBinary(ModelSchema, model);
}

/** The lowest specification that has all a program uses (facts: formats, sections 5.3 and 6.2). */
function neededSpecification(
  program: Program,
  hasFunctions: boolean,
  features: readonly FeatureDescription[],
): number {
  let version = OLDEST_SPECIFICATION + 1;
  for (const milFunction of program.functions) {
    const opset = OPSET_NAMES.find(({ text }) => text === milFunction.opset);
    version = Math.max(version, opset?.specificationVersion ?? 0);
    if (milFunction.inputs.some(({ type }) => type.kind === "state"))
      version = Math.max(version, 9);
  }
  if (hasFunctions) version = Math.max(version, 9);
  for (const { type } of features) {
    if (type?.type.case !== "multiArrayType") continue;
    const { dataType } = type.type.value;
    if (dataType === 65552) version = Math.max(version, 7);
    if (dataType === 131080) version = Math.max(version, 10);
  }
  return version;
}
