// What scripts that hold this project against another program have in common: where that one stands, and which models.
import { parseArgs } from "node:util";
import { build, isStale } from "./build.mjs";
import { DRAWN_MODELS } from "./drawn-models.mjs";

/**
 * The script's options: `--FLAG DIR`, `--only NAME,NAME`, `--json` and its own. Ends the process with 2 where the folder is
 * not said, and builds what is stale.
 */
export async function foreignOptions({ flag, missing, ...options }) {
  const { values } = parseArgs({
    options: {
      ...{ [flag]: { type: "string" }, only: { type: "string" } },
      ...{ json: { type: "boolean", default: false }, ...options },
    },
  });
  if (values[flag] === undefined) {
    console.error(`error: say where ${missing}: --${flag} DIR`);
    process.exit(2);
  }
  if (isStale()) await build();
  return values;
}

/** The models with drawn weights that `--only` names, or all. */
export function chosenModels({ only }) {
  const chosen = only?.split(",");
  return DRAWN_MODELS.filter(({ name }) => chosen?.includes(name) ?? true);
}
