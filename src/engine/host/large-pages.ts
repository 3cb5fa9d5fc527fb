import { koffi } from "./ort-api.ts";

/** Smaller memories stand in caches and gain nothing. */
const LEAST_BYTES = 1 << 23;
/** MADV_HUGEPAGE of Linux. */
const WANT_LARGE_PAGES = 14;

type Advise = (start: Uint8Array, byteLength: number, advice: number) => number;
let advise: Advise | undefined;

/**
 * Asks Linux for pages of 2 MiB in place of 4 KiB: the processor fetches ahead within a page only, so a matrix is read
 * faster. Advice that changes no result; where it cannot be given, or the system is set to `never`, memory stays as it is.
 */
export function adviseLargePages(memory: SharedArrayBuffer): void {
  if (process.platform !== "linux" || memory.byteLength < LEAST_BYTES) return;
  try {
    advise ??= koffi().load(null).func("int madvise(void *, size_t, int)") as Advise;
    advise(new Uint8Array(memory), memory.byteLength, WANT_LARGE_PAGES);
  } catch {
    // Without koffi the engine runs through the binding, on pages as they are.
  }
}
