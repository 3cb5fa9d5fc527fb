import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import os from "node:os";
import { join } from "node:path";
import * as z from "zod";
import { DRIVERS } from "../../chip/chip.ts";
import type { Driver } from "../../chip/chip.ts";
import { readSmallFile } from "../../util/byte-source.ts";
import { messageOf } from "../../util/errors.ts";
import { laterVersion } from "../../util/format-version.ts";
import { writeWholeFile } from "../../util/atomic-file.ts";
import { NO_WEIGHTS } from "./in-memory/settings.ts";
import { WEIGHT_FILE_WAYS } from "./weight-file-ways.ts";
import { COMPILATION_NAMES, EVALUATION_NAMES } from "./in-memory/routes.ts";
import { cacheFolder } from "./program-folder.ts";

/** A profile has some hundred bytes. */
const MAXIMUM_BYTES = 1 << 16;

/** What a driver does otherwise than by default on one machine. Absent: as the assumption has it. */
const e5rtSettings = z.strictObject({
  /** Operations held at once (`e5rt.program-cap`). */
  operationLimit: z.int().min(1).max(4096).optional(),
  /** The compile cache cannot be trusted (`e5rt.cache-reuse`). */
  forceRecompilation: z.boolean().optional(),
});
const inMemorySettings = z.strictObject({
  /** All surfaces of one side of a program have one size (`in-memory.equal-surfaces`). */
  equalSizes: z.boolean().optional(),
  /** Bytes of the smallest surface (`in-memory.surface-minimum`). */
  minimumBytes: z
    .int()
    .min(2)
    .max(1 << 20)
    .optional(),
  /** Programs compiled in one process (`in-memory.compile-budget`). */
  compileBudget: z.int().min(1).max(4096).optional(),
  /** What stands for the weights of a program without any (`in-memory.no-weights`). */
  noWeights: z.enum(NO_WEIGHTS).optional(),
  /** Whether constants share a file (`in-memory.weight-files`). */
  weightFiles: z.enum(WEIGHT_FILE_WAYS).optional(),
  /** Who compiles and loads (in-memory/routes.ts). */
  compilation: z.enum(COMPILATION_NAMES).optional(),
  /** Who runs what was loaded. */
  evaluation: z.enum(EVALUATION_NAMES).optional(),
});

/** Format of a profile: it changes with the meaning of a field. */
const SCHEMA = 1;

const profileSchema = z.strictObject({
  schema: z.literal(SCHEMA),
  /** The chip's id, the build of the operating system and the library that was tried. */
  chip: z.string(),
  osBuild: z.string(),
  library: z.string(),
  /** When, ISO 8601, and by which version of Anecdote. */
  made: z.iso.datetime(),
  version: z.string(),
  drivers: z.strictObject({
    e5rt: e5rtSettings.optional(),
    "in-memory": inMemorySettings.optional(),
  }),
  /** Drivers whose self-test as a whole says that training runs can rely on them. Absent in older profiles: none. */
  passed: z.array(z.enum(DRIVERS)).optional(),
});

/** What `anecdote doctor` found out about one machine, as choices for the drivers. */
export type MachineProfile = z.infer<typeof profileSchema>;
export type DriverSettings = MachineProfile["drivers"];

/** What a profile holds for: another chip, system or library may answer otherwise. */
export interface ProfileKey {
  readonly chip: string;
  readonly osBuild: string;
  readonly library: string;
}

export type ProfileLookup =
  | { readonly state: "used"; readonly path: string; readonly profile: MachineProfile }
  | { readonly state: "absent"; readonly path: string }
  | { readonly state: "ignored"; readonly path: string; readonly reason: string };

/** The file of a chip and a library: one, whatever the system's build, so that an outdated one is noticed. */
export function profilePath({ chip, library }: ProfileKey, root = cacheFolder()): string {
  const hash = createHash("sha256").update(library).digest("hex").slice(0, 12);
  return join(root, "machine", `${chip}-${hash}.json`);
}

/** The saved profile for a key. A broken file, and one of another system build, is ignored with the reason. */
export function readMachineProfile(key: ProfileKey, root?: string): ProfileLookup {
  const path = profilePath(key, root);
  if (!existsSync(path)) return { state: "absent", path };
  let profile: MachineProfile;
  try {
    const json: unknown = JSON.parse(
      Buffer.from(readSmallFile(path, MAXIMUM_BYTES)).toString("utf8"),
    );
    const later = laterVersion((json as { readonly schema?: unknown } | null)?.schema, SCHEMA);
    if (later !== undefined) return { state: "ignored", path, reason: `it ${later}` };
    profile = profileSchema.parse(json);
  } catch (error) {
    const detail = error instanceof z.ZodError ? z.prettifyError(error) : messageOf(error);
    return {
      state: "ignored",
      path,
      reason: `it is broken: ${detail.replaceAll(/\s*\n\s*/g, " ")}`,
    };
  }
  if (profile.chip !== key.chip || profile.library !== key.library) {
    return {
      state: "ignored",
      path,
      reason: `it is of ${profile.chip} with ${profile.library}, this is ${key.chip} with ${key.library}`,
    };
  }
  if (profile.osBuild !== key.osBuild) {
    return {
      state: "ignored",
      path,
      reason: `it was made on system build ${profile.osBuild}, this is ${key.osBuild}`,
    };
  }
  return { state: "used", path, profile };
}

export interface SaveOptions {
  /** Default: the cache folder. */
  readonly root?: string;
  /** How the whole self-test of a driver ended; of others the earlier answer stays. */
  readonly passed?: Readonly<Partial<Record<Driver, boolean>>>;
}

/**
 * Saves what was found out about one or both drivers; what an earlier profile of the same build says of the other
 * driver stays. Returns the path. Throws `FileError`.
 */
export function saveMachineProfile(
  key: ProfileKey,
  drivers: DriverSettings,
  version: string,
  { root, passed = {} }: SaveOptions = {},
): string {
  const earlier = readMachineProfile(key, root);
  const before = earlier.state === "used" ? (earlier.profile.passed ?? []) : [];
  const profile: MachineProfile = {
    schema: SCHEMA,
    ...key,
    made: new Date().toISOString(),
    version,
    drivers: { ...(earlier.state === "used" && earlier.profile.drivers), ...drivers },
    passed: DRIVERS.filter((driver) => passed[driver] ?? before.includes(driver)),
  };
  writeWholeFile(earlier.path, `${JSON.stringify(profileSchema.parse(profile), undefined, 2)}\n`);
  return earlier.path;
}

/** "machine profile of 2026-11-28", for start lines and `doctor`. */
export function describeProfile(lookup: ProfileLookup): string {
  switch (lookup.state) {
    case "used":
      return `machine profile of ${lookup.profile.made.slice(0, 10)}`;
    case "absent":
      return "no machine profile, defaults; `anecdote doctor` makes one";
    case "ignored":
      return `machine profile ${lookup.path} ignored: ${lookup.reason}; \`anecdote doctor\` makes a new one`;
  }
}

/** "24G84"; on other systems the kernel's release. */
export function systemBuild(): string {
  if (process.platform !== "darwin") return os.release();
  try {
    return execFileSync("/usr/sbin/sysctl", ["-n", "kern.osversion"], {
      encoding: "utf8",
      timeout: 5000,
    }).trim();
  } catch {
    return os.release();
  }
}
