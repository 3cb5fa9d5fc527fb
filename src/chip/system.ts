import { ChipError } from "./errors.ts";

/** Versions of macOS on which somebody called the engine as this project does; Apple skipped 16 to 25. */
export const MACOS_VERSIONS = [14, 15, 26, 27] as const;
export type MacosVersion = (typeof MACOS_VERSIONS)[number];

/** Reads "27", "27.0.1", "macOS 26". Throws `ChipError` `chip.macos` naming the nearest known version. */
export function macosVersion(text: string): MacosVersion {
  const major = Number(/^\s*(?:macos\s*)?(\d{1,3})(?:\.\d+)*\s*$/i.exec(text.slice(0, 64))?.[1]);
  const found = MACOS_VERSIONS.find((version) => version === major);
  if (found !== undefined) return found;
  const nearest = [...MACOS_VERSIONS].sort((a, b) => Math.abs(a - major) - Math.abs(b - major))[0];
  throw new ChipError(
    "chip.macos",
    `nothing is known of macOS "${text.slice(0, 64)}".${Number.isFinite(major) ? ` The nearest is ${nearest}.` : ""}`,
    { remedy: `Versions: ${MACOS_VERSIONS.join(", ")}.` },
  );
}
