import { modelOf, withOrigin } from "../../model/index.ts";
import type { Model, ModelConfig } from "../../model/index.ts";

/** The model a run trains: its parameters, and where they come from. Everything else of the run is handed this one. */
export function trainedModel(
  { seed }: { readonly seed: number },
  config: ModelConfig,
  folder?: string,
): Model {
  return withOrigin(
    modelOf(config),
    folder === undefined ? { kind: "drawn", seed } : { kind: "file", folder },
  );
}
