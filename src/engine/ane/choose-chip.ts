import { chipByName } from "../../chip/chips.ts";
import type { Chip } from "../../chip/chip.ts";
import { EngineError } from "../errors.ts";
import { identifyProcessor } from "./identity.ts";
import type { AneLibrary } from "./library.ts";

/**
 * The chip whose rules programs are written for: the one that is given, that of `ANECDOTE_ANE_CHIP`, m4 for a named
 * library, or this Mac's. Throws `EngineError` `engine.ane.chip` for a processor nobody knows, `ChipError` for a name.
 */
export async function chooseChip(given: string | undefined, library: AneLibrary): Promise<Chip> {
  if (given !== undefined) return chipByName(given);
  const named = process.env["ANECDOTE_ANE_CHIP"];
  if (named !== undefined && named !== "") return chipByName(named);
  if (library.isNamed) return chipByName("m4");
  const found = await identifyProcessor();
  if (found.chip !== undefined) return found.chip;
  throw new EngineError("engine.ane.chip", `nothing is known of the chip "${found.processor}"`, {
    remedy: "Name the nearest one: ANECDOTE_ANE_CHIP=m4",
  });
}
