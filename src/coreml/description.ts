import { create } from "@bufbuild/protobuf";
import type { MilFunction, Program, Value } from "../mil/program.ts";
import { formatType } from "../mil/types.ts";
import type { DataType, TensorType } from "../mil/types.ts";
import { CoreMlError } from "./errors.ts";
import { readFlexibleShapes } from "./flexible-shapes.ts";
import type { FlexibleShape } from "./flexible-shapes.ts";
import {
  ArrayFeatureTypeSchema,
  EnumeratedShapesSchema,
  FeatureDescriptionSchema,
  FunctionDescriptionSchema,
  MetadataSchema,
  ModelDescriptionSchema,
  ShapeRangeSchema,
  StringEntrySchema,
} from "./generated/model_pb.ts";
import type {
  ArrayFeatureType,
  FeatureDescription,
  FunctionDescription,
  ModelDescription,
} from "./generated/model_pb.ts";

/** Who made a model and what it is. */
export interface ModelMetadata {
  readonly shortDescription?: string;
  readonly version?: string;
  readonly author?: string;
  readonly license?: string;
  readonly userDefined?: ReadonlyMap<string, string>;
}

/** Element types of arrays that go in and out of a model (facts: formats, section 6.2). */
export const ARRAY_TYPE_CODES = {
  fp16: 65552,
  fp32: 65568,
  fp64: 65600,
  int8: 131080,
  int32: 131104,
} as const satisfies Partial<Record<DataType, number>>;

export function readMetadata(description: ModelDescription | undefined): ModelMetadata {
  const metadata = description?.metadata;
  return {
    shortDescription: metadata?.shortDescription ?? "",
    version: metadata?.versionString ?? "",
    author: metadata?.author ?? "",
    license: metadata?.license ?? "",
    userDefined: new Map(metadata?.userDefined.map(({ key, value }) => [key, value])),
  };
}

export interface DescribeOptions {
  /** A description whose texts, image types and unknown parts are kept where they still fit. */
  readonly base?: ModelDescription | undefined;
  readonly metadata?: ModelMetadata | undefined;
  /** Function that runs when none is named; the first one when left out. */
  readonly defaultFunction?: string | undefined;
}

/**
 * The description of a program's inputs, outputs and states. Throws `CoreMlError` for types that Core ML does not
 * pass in or out.
 */
export function describeProgram(program: Program, options: DescribeOptions = {}): ModelDescription {
  const { base } = options;
  const description = create(ModelDescriptionSchema, {
    predictedFeatureName: base?.predictedFeatureName ?? "",
    predictedProbabilitiesName: base?.predictedProbabilitiesName ?? "",
    trainingInput: base?.trainingInput ?? [],
  });
  if (base?.$unknown !== undefined) description.$unknown = base.$unknown;
  const metadata = writeMetadata(options);
  if (metadata !== undefined) description.metadata = metadata;
  const [first] = program.functions;
  if (first === undefined) {
    throw new CoreMlError("coreml.model.empty", "a model has at least one function");
  }
  // Only a lone "main" can do without descriptions by function.
  const isSingle =
    program.functions.length === 1 &&
    (base?.functions.length ?? 0) === 0 &&
    (first.name === "main" || base !== undefined);
  if (isSingle) {
    const interfaceOf = describeFunction(first, base);
    description.input = interfaceOf.input;
    description.output = interfaceOf.output;
    description.state = interfaceOf.state;
    return description;
  }
  description.functions = program.functions.map((milFunction) =>
    describeFunction(
      milFunction,
      base?.functions.find(({ name }) => name === milFunction.name),
    ),
  );
  const wanted = options.defaultFunction ?? base?.defaultFunctionName;
  const names = program.functions.map(({ name }) => name);
  if (options.defaultFunction !== undefined && !names.includes(options.defaultFunction)) {
    throw new CoreMlError(
      "coreml.model.function",
      `there is no function "${options.defaultFunction}"; there are ${names.join(", ")}`,
    );
  }
  description.defaultFunctionName =
    wanted !== undefined && names.includes(wanted) ? wanted : first.name;
  return description;
}

type KnownFeatures = Pick<
  FunctionDescription,
  "input" | "output" | "state" | "predictedFeatureName" | "predictedProbabilitiesName" | "$unknown"
>;

function describeFunction(
  milFunction: MilFunction,
  base: KnownFeatures | undefined,
): FunctionDescription {
  const flexible = readFlexibleShapes(milFunction);
  const describe = (
    value: Value,
    known: readonly FeatureDescription[] | undefined,
    what: string,
  ): FeatureDescription => {
    const original = known?.find(({ name }) => name === value.name);
    if (original !== undefined && stillFits(original, value)) return original;
    return describeValue(value, flexible.get(value.name), original, what);
  };
  const describeAll = (
    values: readonly Value[],
    known: readonly FeatureDescription[] | undefined,
    what: string,
  ): FeatureDescription[] =>
    inOrderOf(
      known,
      values.map((value) => describe(value, known, what)),
    );
  const isState = ({ type }: Value): boolean => type.kind === "state";
  const inputs = milFunction.inputs.filter((value) => !isState(value));
  const message = create(FunctionDescriptionSchema, {
    name: milFunction.name,
    input: describeAll(inputs, base?.input, "input"),
    output: describeAll(milFunction.outputs, base?.output, "output"),
    state: describeAll(milFunction.inputs.filter(isState), base?.state, "state"),
    predictedFeatureName: base?.predictedFeatureName ?? "",
    predictedProbabilitiesName: base?.predictedProbabilitiesName ?? "",
  });
  if (base?.$unknown !== undefined) message.$unknown = base.$unknown;
  return message;
}

/** Features in the order in which a description lists them, new ones last. */
function inOrderOf(
  known: readonly FeatureDescription[] | undefined,
  features: readonly FeatureDescription[],
): FeatureDescription[] {
  const place = (feature: FeatureDescription): number => {
    const index = known?.findIndex(({ name }) => name === feature.name) ?? -1;
    return index === -1 ? features.length : index;
  };
  return features.toSorted((a, b) => place(a) - place(b));
}

function stillFits(original: FeatureDescription, value: Value): boolean {
  const feature = original.type?.type;
  const tensor = value.type.kind === "state" ? value.type.wrapped : value.type;
  if (feature?.case === undefined || tensor.kind !== "tensor") return feature?.case !== undefined;
  const array =
    feature.case === "multiArrayType"
      ? feature.value
      : feature.case === "stateType"
        ? feature.value.type.value
        : undefined;
  // Images, dictionaries and sequences: the program alone cannot say more of them.
  if (array === undefined) return true;
  const codes: Readonly<Record<string, number>> = ARRAY_TYPE_CODES;
  if (array.dataType !== codes[tensor.dataType]) return false;
  return (
    array.shape.length === 0 ||
    (array.shape.length === tensor.shape.length &&
      tensor.shape.every((size, axis) => size === "?" || BigInt(size) === array.shape[axis]))
  );
}

function describeValue(
  value: Value,
  flexible: FlexibleShape | undefined,
  original: FeatureDescription | undefined,
  what: string,
): FeatureDescription {
  const tensor = value.type.kind === "state" ? value.type.wrapped : value.type;
  if (tensor.kind !== "tensor") {
    throw new CoreMlError(
      "coreml.feature.type",
      `${what} "${value.name}" is a ${formatType(tensor)}; models pass tensors in and out`,
    );
  }
  const array = arrayFeature(value.name, tensor, flexible, what);
  return create(FeatureDescriptionSchema, {
    name: value.name,
    shortDescription: original?.shortDescription ?? "",
    type: {
      type:
        value.type.kind === "state"
          ? { case: "stateType", value: { type: { case: "arrayType", value: array } } }
          : { case: "multiArrayType", value: array },
    },
  });
}

function arrayFeature(
  name: string,
  tensor: TensorType,
  flexible: FlexibleShape | undefined,
  what: string,
): ArrayFeatureType {
  const codes: Readonly<Record<string, number>> = ARRAY_TYPE_CODES;
  const dataType = codes[tensor.dataType];
  if (dataType === undefined) {
    throw new CoreMlError(
      "coreml.feature.type",
      `${what} "${name}" is ${formatType(tensor)}; models pass ${Object.keys(codes).join(", ")} in and out`,
      { remedy: `Put a cast to fp32 or int32 at this ${what}.` },
    );
  }
  const isOpen = tensor.shape.includes("?");
  const array = create(ArrayFeatureTypeSchema, { dataType });
  if (!isOpen) array.shape = tensor.shape.map(BigInt);
  // The shape of an output that is not known is left out.
  if (!isOpen || what === "output") return array;
  array.shape = (
    flexible?.defaultShape ?? tensor.shape.map((size) => (size === "?" ? 1 : size))
  ).map(BigInt);
  const sizeRanges = (
    flexible?.ranges ??
    tensor.shape.map((size): readonly [number, number] => (size === "?" ? [1, -1] : [size, size]))
  ).map(([lower, upper]) => ({ lowerBound: BigInt(lower), upperBound: BigInt(upper) }));
  array.shapeFlexibility =
    flexible?.shapes === undefined
      ? { case: "shapeRange", value: create(ShapeRangeSchema, { sizeRanges }) }
      : {
          case: "enumeratedShapes",
          value: create(EnumeratedShapesSchema, {
            shapes: flexible.shapes.map((shape) => ({ shape: shape.map(BigInt) })),
          }),
        };
  return array;
}

function writeMetadata(options: DescribeOptions): ModelDescription["metadata"] {
  const { base, metadata } = options;
  if (metadata === undefined && base?.metadata === undefined) return undefined;
  const userDefined = new Map(base?.metadata?.userDefined.map(({ key, value }) => [key, value]));
  for (const [key, value] of metadata?.userDefined ?? []) userDefined.set(key, value);
  const message = create(MetadataSchema, {
    shortDescription: metadata?.shortDescription ?? base?.metadata?.shortDescription ?? "",
    versionString: metadata?.version ?? base?.metadata?.versionString ?? "",
    author: metadata?.author ?? base?.metadata?.author ?? "",
    license: metadata?.license ?? base?.metadata?.license ?? "",
    userDefined: Array.from(userDefined, ([key, value]) =>
      create(StringEntrySchema, { key, value }),
    ).toSorted(byKey),
  });
  if (base?.metadata?.$unknown !== undefined) message.$unknown = base.metadata.$unknown;
  return message;
}

function byKey(a: { readonly key: string }, b: { readonly key: string }): number {
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}
