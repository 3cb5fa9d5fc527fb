import { DRIVERS } from "./chip.ts";
import type { Driver } from "./chip.ts";
import { didYouMean } from "../util/nearest.ts";
import { ChipError } from "./errors.ts";

/** The driver that is meant where none is given: `ANECDOTE_ANE_DRIVER`, or e5rt. Throws `ChipError` `engine.ane.driver`. */
export function chooseDriver(given?: string): Driver {
  const name = given ?? (process.env["ANECDOTE_ANE_DRIVER"] || "e5rt");
  const found = DRIVERS.find((driver) => driver === name);
  if (found !== undefined) return found;
  throw new ChipError(
    "engine.ane.driver",
    `there is no driver "${name}".${didYouMean(name, DRIVERS)}`,
    { remedy: `Drivers: ${DRIVERS.join(", ")}.` },
  );
}
