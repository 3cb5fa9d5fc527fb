import type { Chip, Driver } from "../../chip/chip.ts";
import { EngineError } from "../../engine/errors.ts";
import type { AneDriver, EngineSource } from "../../engine/ane/probe.ts";
import type { MilFunction } from "../../mil/program.ts";
import { padded, program } from "./number-case.ts";
import { documentedProbe, held, notHeld, unknown } from "./probe.ts";
import type { DocumentedCase, Probe } from "./probe.ts";
import { LoadedProgram, halfCount, writeNumbers } from "./run-program.ts";

/** What happens to a program by its description: it runs, or is stopped at some point. */
export type Fate = "runs" | "is refused";

export interface RefusalCase extends DocumentedCase {
  readonly build: () => MilFunction | EngineSource;
  /** Nothing where nobody knows for the chip, or sources disagree. */
  readonly documented: (chip: Chip, driver: Driver) => Fate | undefined;
}

/** The op that the engine lacks beyond doubt; with the Neural Engine alone in the mask it must not compile. */
export const LACKING = (): MilFunction =>
  program([[8, 64]], (f, x) => f.op("cumsum", { x, axis: 1, exclusive: false, reverse: false }));

export function refusalProbe(entry: RefusalCase): Probe {
  return {
    ...documentedProbe(entry, "Sources disagree or are silent; now it is known for this machine."),
    group: "refusals",
    how: "compiles, loads and runs the program; an error or the end of the process is a refusal",
    run: async ({ open, chip, driver: name }) => {
      const fate = await fateOf(open(), entry.build());
      return judgeFate(fate, entry.documented(chip, name));
    },
    judgeDeath: ({ chip, driver: name }, how) =>
      judgeFate({ fate: "is refused", detail: how }, entry.documented(chip, name)),
  };
}

/** What became of a program, with the runtime's words. */
interface FateFound {
  readonly fate: Fate;
  readonly detail: string;
}

function judgeFate({ fate, detail }: FateFound, documented: Fate | undefined) {
  const measured = { fate };
  const told = detail === "" ? `it ${fate}` : `it ${fate}: ${detail}`;
  if (documented === undefined) return unknown(told, measured);
  return fate === documented ? held(told, measured) : notHeld(told, measured);
}

async function fateOf(driver: AneDriver, source: MilFunction | EngineSource): Promise<FateFound> {
  const main = "main" in source ? source.main : source;
  let loaded: LoadedProgram | undefined;
  const refusal = await refusalOf(async () => {
    loaded = await LoadedProgram.load(driver, source);
    loaded.inputs.forEach((buffer, index) => {
      const port = main.inputs[index];
      if (port !== undefined) writeNumbers(buffer, padded(halfCount(port), [], 0.5));
    });
    await loaded.execute();
  }).finally(() => loaded?.release());
  return { fate: refusal === undefined ? "runs" : "is refused", detail: refusal ?? "" };
}

/** Why the engine refuses the work, or nothing where it does it. What is no refusal is thrown on. */
export async function refusalOf(work: () => unknown): Promise<string | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    return reasonOf(error.message);
  }
}

/** The runtime's words without the driver's. */
export function reasonOf(message: string): string {
  const said = /It said:\s*(?<words>[\s\S]*)$/.exec(message)?.groups?.["words"] ?? message;
  const flat = said.replaceAll(/\s+/g, " ").trim();
  return flat.length > 160 ? `${flat.slice(0, 160)} …` : flat;
}
