import type { Driver } from "../../chip/chip.ts";
import { messageOf } from "../../util/errors.ts";
import { E5RT_FUNCTIONS } from "./ffi/e5rt-functions.ts";
import { openLibrary, optionalFunction } from "../../ffi/foreign.ts";
import { CLASS_NAMES, NEURAL_ENGINE_FRAMEWORK, OBJC_LIBRARIES } from "./ffi/objc-functions.ts";
import { findLibrary } from "./library.ts";

/** Whether what a driver calls is there. Nothing of it is called, but for the look-up of classes. */
export interface DriverAvailability {
  readonly driver: Driver;
  /** Every library it needs opens, and none of its functions and classes is missing. */
  readonly available: boolean;
  readonly libraries: readonly LibraryAvailability[];
  /** Why nothing could be looked at. */
  readonly reason?: string;
}

export interface LibraryAvailability {
  readonly path: string;
  readonly opens: boolean;
  readonly symbolCount: number;
  readonly missing: readonly string[];
  readonly reason?: string;
}

/** `named` as in `findLibrary`: a library in place of the system's. Never throws. */
export function driverAvailability(driver: Driver, named?: string): DriverAvailability {
  try {
    const library = findLibrary(named);
    const libraries =
      driver === "e5rt"
        ? [functionsOf(library.path, E5RT_PROTOTYPES)]
        : objcLibraries(library.isNamed ? library.path : undefined);
    const available = libraries.every(({ opens, missing }) => opens && missing.length === 0);
    return { driver, available, libraries };
  } catch (error) {
    return { driver, available: false, libraries: [], reason: messageOf(error) };
  }
}

const E5RT_PROTOTYPES: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(E5RT_FUNCTIONS).map(([name, { c }]) => [name, c]),
);

function functionsOf(
  path: string,
  prototypes: Readonly<Record<string, string>>,
): LibraryAvailability {
  const symbolCount = Object.keys(prototypes).length;
  try {
    openLibrary(path);
  } catch (error) {
    return { path, opens: false, symbolCount, missing: [], reason: messageOf(error) };
  }
  const missing = Object.entries(prototypes)
    .filter(([, prototype]) => optionalFunction(path, prototype) === undefined)
    .map(([name]) => name);
  return { path, opens: true, symbolCount, missing };
}

function objcLibraries(named: string | undefined): readonly LibraryAvailability[] {
  const libraries = Object.entries(OBJC_LIBRARIES).map(([path, prototypes]) =>
    functionsOf(named ?? path, prototypes),
  );
  return [...libraries, classesOf(named)];
}

function classesOf(named: string | undefined): LibraryAvailability {
  const path = named ?? NEURAL_ENGINE_FRAMEWORK;
  const symbolCount = CLASS_NAMES.length;
  try {
    openLibrary(path);
  } catch (error) {
    return { path, opens: false, symbolCount, missing: [], reason: messageOf(error) };
  }
  const getClass = optionalFunction(
    named ?? "/usr/lib/libobjc.A.dylib",
    OBJC_LIBRARIES["/usr/lib/libobjc.A.dylib"].objc_getClass,
  );
  const missing = CLASS_NAMES.filter((name) => getClass === undefined || getClass(name) === null);
  return { path, opens: true, symbolCount, missing };
}
