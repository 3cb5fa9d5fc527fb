import { Option } from "commander";
import type { Command } from "commander";
import { DRIVERS } from "../chip/chip.ts";
import type { Driver } from "../chip/chip.ts";
import { didYouMean } from "../util/nearest.ts";
import { UsageError } from "./errors.ts";

/** What a command with this option finds in its flags. */
export interface DriverFlags {
  readonly aneDriver?: string;
  /** The other spelling. */
  readonly driver?: string;
}

/** The option of commands that have no table of options: `--ane-driver`, and `--driver` as in other tools. */
export function addDriverOption(command: Command): Command {
  return command
    .option(
      "--ane-driver <name>",
      `the way into the Neural Engine: ${DRIVERS.join(" or ")} (also --driver)`,
    )
    .addOption(new Option("--driver <name>").hideHelp());
}

/** The driver that was named. Throws `UsageError` with the nearest one where there is none of that name. */
export function namedDriver({ aneDriver, driver }: DriverFlags): Driver | undefined {
  const name = aneDriver ?? driver;
  if (name === undefined) return undefined;
  const found = DRIVERS.find((known) => known === name);
  if (found !== undefined) return found;
  throw new UsageError("cli.driver", `there is no driver "${name}".${didYouMean(name, DRIVERS)}`, {
    remedy: `Drivers: ${DRIVERS.join(", ")}.`,
  });
}
