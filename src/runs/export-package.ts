import { statSync } from "node:fs";
import { savePackage } from "../coreml/index.ts";
import { requireFreeOutputs } from "../files/output-file.ts";
import { programOf } from "../mil/builder.ts";
import { verifyProgram } from "../mil/verify.ts";
import {
  cachedContextLength,
  fusedWeights,
  modelOf,
  openModel,
  readModelConfig,
} from "../model/index.ts";
import type { AdapterSource } from "../model/index.ts";
import { packageWeights } from "../model/compressed-weights.ts";
import type { PackageType } from "../model/compressed-weights.ts";
import { statefulForward } from "../model/stateful-forward.ts";

/** How a stateful package is written. */
export interface PackageExportOptions {
  /** Default: float16. */
  readonly type?: PackageType;
  /** Positions that the states hold, T. Default: what texts of the model may have, at most 512. */
  readonly cacheLength?: number;
  /** Tokens a run takes, R. Default 1. */
  readonly rowCount?: number;
  /** Replaces a package that exists. Default false. */
  readonly overwrite?: boolean;
  /** Added to the model's weights; a folder's own adapter always is. */
  readonly adapters?: readonly AdapterSource[];
}

/** What a stateful package holds. */
export interface PackageExport {
  readonly output: string;
  readonly type: PackageType;
  readonly cacheLength: number;
  readonly rowCount: number;
  /** Keys and values, two a layer. */
  readonly states: number;
  readonly byteLength: number;
}

const DEFAULT_CACHE_LENGTH = 512;

/**
 * Writes a model that goes on with a text as a Core ML package: `tokens` int32 [1, R] and `position` int32 [1] to
 * `logits` fp16 [1, R, V], keys and values in states, the function of `statefulForward`. For iOS 18, macOS 15 and
 * later. Throws `ModelError` for numbers beyond fp16 and sizes that the model's context does not hold.
 */
export function exportPackage(
  folder: string,
  output: string,
  {
    type = "float16",
    rowCount = 1,
    overwrite = false,
    adapters = [],
    ...sizes
  }: PackageExportOptions,
): PackageExport {
  requireFreeOutputs({ paths: [output], inputs: [folder], overwrite });
  const config = readModelConfig(folder);
  const cacheLength =
    sizes.cacheLength ?? Math.min(cachedContextLength(config), DEFAULT_CACHE_LENGTH);
  const { viewOf: numbersOf } = fusedWeights(openModel(folder, adapters));
  const main = statefulForward(
    modelOf(config),
    { rowCount, cacheLength, dataType: "fp16" },
    packageWeights(type, numbersOf),
  );
  const program = programOf(main);
  verifyProgram(program);
  const files = savePackage(output, program, {
    metadata: {
      shortDescription: `${config.family}, ${config.layerCount} layers; keys and values of ${cacheLength} positions are states`,
    },
  });
  return {
    ...{ output, type, cacheLength, rowCount, states: 2 * config.layerCount },
    byteLength: files.reduce((sum, path) => sum + statSync(path).size, 0),
  };
}
