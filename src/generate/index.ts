export { GenerateError } from "./errors.ts";
export { generateFromFolder, withGenerator } from "./from-folder.ts";
export type { FolderOptions } from "./from-folder.ts";
export { Generator } from "./generator.ts";
export type { GenerateOptions, GeneratedText, GeneratorParts, StopReason } from "./generator.ts";
export { GREEDY, sampleToken } from "./sampling.ts";
export type { SamplingOptions } from "./sampling.ts";
