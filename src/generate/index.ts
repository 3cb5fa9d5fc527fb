export { GenerateError } from "./errors.ts";
export { folderSampling, generateFromFolder, withGenerator } from "./from-folder.ts";
export type { FolderOptions } from "./from-folder.ts";
export { inFormat, WEIGHT_FORMATS } from "./weight-format.ts";
export type { WeightFormat } from "./weight-format.ts";
export { Chat } from "./chat.ts";
export type { ChatOptions } from "./chat.ts";
export { CONTEXT_OVERFLOWS } from "./context-overflow.ts";
export type { ContextOverflow } from "./context-overflow.ts";
export { Generator } from "./generator.ts";
export type { GenerationSession, GeneratorParts } from "./generator.ts";
export type {
  GenerateOptions,
  GeneratedText,
  StopReason,
  WrittenPiece,
  WrittenToken,
} from "./writing.ts";
export { Decoder } from "./decoder.ts";
export type { DecoderOptions, PreparedShapes } from "./decoder.ts";
export type { NextToken } from "./cache-shape.ts";
export { Sequence } from "./sequence.ts";
export { GREEDY, sampleToken } from "./sampling.ts";
export type { SamplingOptions } from "./sampling.ts";
export type { PlannedSequence } from "./cache-growth.ts";
export type { TokenConstraint } from "./constraint/token-constraint.ts";
export type { ServiceOptions } from "./service/text-service.ts";
export type { ScoredToken, TokenScore } from "./token-scores.ts";
export type { Turns } from "./turns.ts";
export type { CacheSizes } from "./sequence.ts";
export type { ServedAdapter } from "./service/messages.ts";
