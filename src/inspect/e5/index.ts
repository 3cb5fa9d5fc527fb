export { decodeE5Analytics, type E5Analytics, type E5Operation } from "./analytics.ts";
export {
  decodeAneHash,
  decodeE5Bundle,
  type E5Bundle,
  type E5File,
  type E5FileKind,
  type E5Hashes,
} from "./bundle.ts";
export { e5BundleToJson } from "./json.ts";
export { e5AnalyticsListing, e5BundleListing, e5ManifestListing } from "./listing.ts";
export { decodeE5Manifest, type E5Manifest } from "./manifest.ts";
export type { FlatField } from "./flatbuffer.ts";
export type { E5SymbolDescription } from "./manifest.ts";
