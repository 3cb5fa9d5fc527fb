import {
  E5rtCalls,
  NEURAL_ENGINE_MASK,
  canonicalSource,
  programFiles,
  writeProgramFolder,
} from "../../engine/ane/probe.ts";
import type { AneLibrary, CallSite, Handle } from "../../engine/ane/probe.ts";
import type { MilFunction } from "../../mil/program.ts";
import type { Probe } from "./probe.ts";

export const SITE: CallSite = { code: "engine.ane.probe", doing: "probing" };
const CALL_LIMIT_MS = 60_000;

/** The runtime's functions without the driver's order around them. */
export function openCalls(library: AneLibrary): E5rtCalls {
  return new E5rtCalls(library.path, CALL_LIMIT_MS);
}

export interface RawProgram {
  readonly library: Handle<"program_library">;
  readonly release: () => void;
}

/** A program compiled call by call into `folder`. */
export async function compileRaw(
  calls: E5rtCalls,
  fn: MilFunction,
  folder: string,
  settings: { readonly mask?: bigint; readonly isForced?: boolean } = {},
): Promise<RawProgram> {
  const files = programFiles(canonicalSource(fn.name, fn), "@model_path/weights.bin");
  const { modelPath, cachePath } = writeProgramFolder(folder, files);
  const config = calls.create<"compiler_config_options">(
    SITE,
    "e5rt_e5_compiler_config_options_create",
  );
  calls.check(SITE, "e5rt_e5_compiler_config_options_set_cache_bundle_location", config, cachePath);
  const compiler = calls.create<"compiler">(SITE, "e5rt_e5_compiler_create_with_config", config);
  const options = calls.create<"compiler_options">(SITE, "e5rt_e5_compiler_options_create");
  calls.check(
    SITE,
    "e5rt_e5_compiler_options_set_compute_device_types_mask",
    options,
    settings.mask ?? NEURAL_ENGINE_MASK,
  );
  calls.check(
    SITE,
    "e5rt_e5_compiler_options_set_force_recompilation",
    options,
    settings.isForced === true ? 1 : 0,
  );
  calls.check(SITE, "e5rt_e5_compiler_options_set_segmenter", options, "graph");
  const library = await calls.retainLong<"program_library">(
    SITE,
    "e5rt_e5_compiler_compile",
    compiler,
    modelPath,
    options,
  );
  return {
    library,
    release: () => {
      calls.release("e5rt_program_library_release", library);
      calls.release("e5rt_e5_compiler_options_release", options);
      calls.release("e5rt_e5_compiler_release", compiler);
      calls.release("e5rt_e5_compiler_config_options_release", config);
    },
  };
}

/** What the answers to a rule about the order of calls mean. */
export const breaks = (what: string): Probe["means"] => ({
  held: "The driver's order of calls is right.",
  "did not hold": `${what} Please report it.`,
  unknown: "The driver goes on as if it held.",
});
