export { decodeHwx, TEXT_BYTE_LIMIT } from "./decode.ts";
export { diffHwx, hwxDiffText, type Difference, type HwxDiff, type TaskPair } from "./diff.ts";
export {
  graphToMermaid,
  graphToSvg,
  hwxGraph,
  type GraphEdge,
  type GraphNode,
  type GraphOptions,
  type HwxGraph,
} from "./graph.ts";
export { hwxToJson, type JsonOptions, type JsonValue } from "./json.ts";
export { hwxListing, type ListingOptions } from "./listing.ts";
export type * from "./model.ts";
export {
  extractWeights,
  locateWeights,
  type ExtractedWeights,
  type WeightTile,
} from "./weights.ts";
export type { HwxTarget } from "./chips.ts";
export type { Provenance } from "./map/types.ts";
