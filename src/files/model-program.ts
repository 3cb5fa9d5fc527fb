import { programOf } from "../mil/builder.ts";
import { numericLiteral } from "../mil/literal.ts";
import { elementCount, staticShape } from "../mil/types.ts";
import {
  cachedContextLength,
  cachedContextReason,
  loadWeights,
  modelOf,
  readModelConfig,
  wholeForward,
} from "../model/index.ts";
import { FilesError } from "./errors.ts";
import type { OpenedProgram } from "./open-program.ts";

/** Sizes of a model's forward pass as a program. */
export interface ForwardSizes {
  /** Default 1. */
  readonly batchSize: number | undefined;
  /** Default: the model's context, at most 256. */
  readonly sequenceLength: number | undefined;
}

const DEFAULT_SEQUENCE_LENGTH = 256;

/**
 * The forward pass of a folder with `config.json` and weights as a program: `tokens` int32 [B, S] to `logits` fp32 [B, S, V], the weights in it. `path` is
 * what the user named, `folder` where the model stands.
 * Throws `FilesError` for a sequence that the model's context does not hold.
 */
export function openModelFolder(
  { path, folder }: { readonly path: string; readonly folder: string },
  { batchSize = 1, sequenceLength: given }: ForwardSizes,
): OpenedProgram {
  const config = readModelConfig(folder);
  // Texts shorter than S fill the rows up, and would be turned as if they had S tokens.
  const contextLength = cachedContextLength(config);
  const sequenceLength = given ?? Math.min(contextLength, DEFAULT_SEQUENCE_LENGTH);
  if (sequenceLength > contextLength) {
    throw new FilesError(
      "cli.convert.sizes",
      `--max-seq-length ${sequenceLength} is longer than the model's context of ${contextLength}${cachedContextReason(config)}`,
      { remedy: `Use --max-seq-length ${contextLength} or less.` },
    );
  }
  const model = modelOf(config);
  const numbers = new Map(
    model.parameters.weights.map(({ name, type }) => [
      name,
      new Float32Array(elementCount(staticShape(type))),
    ]),
  );
  const numbersOf = (name: string): Float32Array => numbers.get(name) ?? new Float32Array(0);
  loadWeights(folder, model, numbersOf);
  const forward = wholeForward(
    model,
    { batchSize, sequenceLength, dataType: "fp32" },
    ({ name }, type) =>
      numericLiteral(type, numbersOf(name).subarray(0, elementCount(staticShape(type)))),
  );
  return {
    format: "model",
    path,
    program: programOf(forward),
    weights: undefined,
    model: undefined,
    metadata: {},
    bound: [],
    portNames: new Map(),
    close: () => undefined,
  };
}
