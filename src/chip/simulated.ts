import type { Chip } from "./chip.ts";
import { chipByName } from "./chips.ts";

const PREFIX = "sim:";

/** Whether an engine's name is one of `sim:<chip>`. */
export const isSimulated = (engine: string): boolean => engine.startsWith(PREFIX);

/** The chip that `sim:<chip>` simulates, nothing for other engines. Throws `ChipError` for an unknown chip. */
export function simulatedChip(engine: string): Chip | undefined {
  return isSimulated(engine) ? chipByName(engine.slice(PREFIX.length)) : undefined;
}

/** The name of the engine that simulates a chip. */
export const simulatedName = ({ id }: Pick<Chip, "id">): string => `${PREFIX}${id}`;
