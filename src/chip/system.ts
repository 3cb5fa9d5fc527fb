import { didYouMean } from "../util/nearest.ts";
import { ChipError } from "./errors.ts";

/** Versions of macOS on which somebody called the engine as this project does; Apple skipped 16 to 25. */
export const MACOS_VERSIONS = [14, 15, 26, 27] as const;
export type MacosVersion = (typeof MACOS_VERSIONS)[number];

/** What Apple calls them. */
const NAMES: Readonly<Record<string, MacosVersion>> = { sonoma: 14, sequoia: 15, tahoe: 26 };

/** Reads "27", "27.0.1", "macOS 26", "Sequoia". Throws `ChipError` `chip.macos` naming the nearest known version. */
export function macosVersion(text: string): MacosVersion {
  const told = text
    .slice(0, 64)
    .trim()
    .toLowerCase()
    .replace(/^macos\s*/, "");
  const name = Object.entries(NAMES).find(([known]) => known === told);
  if (name !== undefined) return name[1];
  const major = Number(/^(\d{1,3})(?:\.\d+)*$/.exec(told)?.[1]);
  const found = MACOS_VERSIONS.find((version) => version === major);
  if (found !== undefined) return found;
  const nearest = [...MACOS_VERSIONS].sort((a, b) => Math.abs(a - major) - Math.abs(b - major))[0];
  throw new ChipError(
    "chip.macos",
    `nothing is known of macOS "${text.slice(0, 64)}".${Number.isFinite(major) ? ` The nearest is ${nearest}.` : didYouMean(told, Object.keys(NAMES))}`,
    {
      remedy: `Versions: ${MACOS_VERSIONS.join(", ")}; names: ${Object.keys(NAMES).join(", ")}.`,
    },
  );
}
