/** Text to token ids and back, data sets of tokens, windows and batches over them, and a built-in story corpus. */
export { TextError } from "./errors.ts";

export type {
  DecodeOptions,
  EncodeOptions,
  Place,
  SpecialTokenIds,
  StreamDecoder,
  StreamEncoder,
  StreamOptions,
  Template,
  Tokenizer,
  TokenizerSource,
} from "./tokenizer.ts";
export type {
  AddedTokenJson,
  ComponentJson,
  ModelJson,
  TokenizerConfigJson,
  TokenizerJson,
} from "./tokenizer-json.ts";
export { trainBpe } from "./bpe-trainer.ts";
export type { BpeTrainingOptions } from "./bpe-trainer.ts";
export {
  beginningWithEnd,
  byteTokenizer,
  characterTokenizer,
  END_OF_TEXT,
} from "./simple-tokenizers.ts";
export type { DescribedTokenizer } from "./simple-tokenizers.ts";
export { hasTokenizer } from "./has-tokenizer.ts";
export { loadTokenizer, saveTokenizer } from "./tokenizer-files.ts";
export {
  ChatTemplate,
  hasChatTemplate,
  openChatTemplate,
  renderChat,
  withChatTemplate,
  withTemplateOf,
} from "./chat-template.ts";
export { CHAT_TEMPLATES, chatTemplateSource } from "./chat-presets.ts";
export type {
  ChatOptions,
  ChatSpan,
  RenderedChat,
  RenderedTurns,
  TemplateOwner,
  TurnEnd,
} from "./chat-template.ts";
export type { ChatMessage, ChatPart, ChatTool } from "./chat-messages.ts";

export {
  BEGIN_TOKENS,
  judgingFrame,
  marksOf,
  startTokens,
  trainingFrame,
} from "./document-frame.ts";
export type {
  BeginTokens,
  DocumentFrame,
  DocumentMark,
  DocumentMarks,
  TrainedBeginnings,
} from "./document-frame.ts";
export { dataNotes } from "./data-notes.ts";
export { corpusName, findCorpusFiles } from "./corpus-files.ts";
export { keepStandardInput, STANDARD_INPUT } from "./corpus-source.ts";
export type { CorpusFile, CorpusFiles, CorpusFormat, CorpusPaths } from "./corpus-files.ts";
export { openDataset, trainingDigest, trainingTexts, withLead } from "./dataset.ts";
export type { Dataset, DatasetFileReport, OpenDatasetOptions } from "./dataset.ts";
export { cachedTokens } from "./token-cache.ts";
export type { CachedTokens, TokenFileFacts, TokenizeOptions } from "./token-cache.ts";
export { openTokenFile } from "./token-file.ts";
export type { OpenTokenFileOptions, TokenFile, TokenWidth } from "./token-file.ts";
export { joinTokens, memoryTokens, scanTokens, sliceTokens } from "./token-view.ts";
export type { TokenView } from "./token-view.ts";

export { SAMPLINGS, windowSampler } from "./windows.ts";
export type { SamplerOptions, SamplerState, Sampling, WindowSampler } from "./windows.ts";
export {
  checkBatch,
  countTargets,
  IGNORED_TARGET,
  lossCountOf,
  MAXIMUM_DOCUMENTS,
} from "./batch.ts";
export type { Batch, Batches, BatchPairs, Packing } from "./batch.ts";
export { evaluationBatches, evaluationRowCount, WindowBatches } from "./batches.ts";
export type { BatchOptions, EvaluationOptions } from "./batches.ts";
export { exampleSplit, pairSplit, windowSplit } from "./data-split.ts";
export type { DataSplit, EpochBatches, WindowSplitOptions } from "./data-split.ts";

export { PairBatches } from "./examples/pair-batches.ts";
export { ExampleBatches, exampleEvaluationBatches } from "./examples/example-batches.ts";
export type {
  ExampleBatchOptions,
  ExampleRowOptions,
  ExampleState,
} from "./examples/example-batches.ts";
export { checkExamples } from "./examples/check-examples.ts";
export type {
  CheckOptions,
  DataCheck,
  LengthBucket,
  RowProblem,
  ShownExample,
  ShownPiece,
  SplitCheck,
} from "./examples/check-examples.ts";
export { encodeExample } from "./examples/example-encoder.ts";
export type { EncodedExample, ExampleEncoderOptions } from "./examples/example-encoder.ts";
export { DATA_FORMATS, EXAMPLE_FORMS } from "./examples/example.ts";
export type {
  DataFormat,
  Example,
  ExampleForm,
  FieldNames,
  Message,
  Side,
} from "./examples/example.ts";
export { examplesDigest, ExampleStore } from "./examples/example-set.ts";
export type { ExampleSet } from "./examples/example-set.ts";
export {
  exampleFormOf,
  exampleNotes,
  exampleTexts,
  fateOf,
  openExamples,
  readExamples,
} from "./examples/open-examples.ts";
export type {
  DropReason,
  DroppedRow,
  ExampleData,
  ExampleDataOptions,
  ExampleReport,
  Fate,
  ReadExample,
} from "./examples/open-examples.ts";

export { COMBINATION_COUNT, combinationCount, isHeldOut } from "./stories/combinations.ts";
export type { Combination, StorySplit } from "./stories/combinations.ts";
export { judgeStory } from "./stories/consistency.ts";
export type { StoryCast, StoryJudgement } from "./stories/consistency.ts";
export { storyEntropy } from "./stories/entropy.ts";
export type { StoryEntropy, StoryEntropyOptions } from "./stories/entropy.ts";
export { generateStories } from "./stories/generate.ts";
export type { GenerateOptions, Story } from "./stories/generate.ts";
export { NgramIndex, ngramOverlap } from "./stories/ngram-overlap.ts";
export { recogniseStory } from "./stories/recognise.ts";
export type { Recognition } from "./stories/recognise.ts";

export { downloadHubFile } from "../hub/hub-download.ts";
export type { DownloadedFile, DownloadOptions, DownloadProgress } from "../hub/hub-download.ts";
export type { HubEnvironment, HubFile } from "../hub/hub-environment.ts";
export { downloadTinyStories, TINY_STORIES } from "./tiny-stories.ts";
export type { PairRowOptions, PairState } from "./examples/pair-batches.ts";
export type { Bindings } from "./stories/grammar.ts";
