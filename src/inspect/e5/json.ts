import { hwxToJson, type JsonOptions, type JsonValue } from "../hwx/json.ts";
import type { E5Bundle } from "./bundle.ts";

/** A bundle folder as JSON; manifests, hashes and analytics are plain data as they are, programs as `hwxToJson`. */
export function e5BundleToJson(bundle: E5Bundle, options: JsonOptions = {}): JsonValue {
  const { format, name, targets, files, manifests, hashes, analytics, problems } = bundle;
  const data = { format, name, targets, files, manifests, hashes, analytics, problems };
  return {
    ...(data as unknown as { readonly [key: string]: JsonValue }),
    programs: bundle.programs.map(({ path, program }) => ({
      path,
      program: hwxToJson(program, options),
    })),
  };
}
