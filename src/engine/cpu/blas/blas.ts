import { existsSync, readFileSync } from "node:fs";
import { messageOf } from "../../../util/errors.ts";
import { EngineError } from "../../errors.ts";
import { koffi, loadedForGood } from "../../host/ort-api.ts";
import type { Koffi, Library, NativeFunction, Pointer } from "../../host/ort-api.ts";
import type { Blas, MatrixProduct } from "./library.ts";
import { blasFault, threadsChangeBits } from "./blas-check.ts";

/** "auto": the system's library where it is known to be quick; "off": the runtime's own products; else a path. */
type BlasChoice = string;

const ROW_MAJOR = 101;
const AS_IT_IS = 111;
const TRANSPOSED = 112;

const OPENBLAS = "libopenblas.so.0";

/** What a processor with 512-bit vectors has, and OpenBLAS's kernels for them ask for. */
const WIDE_FLAGS = ["avx512f", "avx512bw", "avx512vl", "avx512dq", "fma"] as const;
/** Kernels of OpenBLAS that use 512 bits, and those that use 256, by the name it gives them. */
const WIDE_CORES: ReadonlySet<string> = new Set(["SkylakeX", "Cooperlake", "Sapphirerapids"]);
const MIDDLE_CORES: ReadonlySet<string> = new Set(["Haswell", "Zen"]);

/**
 * The library that a choice names. A sentence where "auto" finds none that is known to be quicker than the runtime's own
 * products. Throws `EngineError` (`engine.cpu.blas`) for a path that cannot be used.
 */
export function openBlas(choice: BlasChoice, threads: number): Blas | string {
  if (choice === "off") return "not asked for";
  const wanted = choice === "auto" ? systemBlas() : choice;
  if (wanted === undefined) return `none was measured on ${process.platform} on ${process.arch}`;
  // Measured on two quiet cores: a step of gpt2 6L/384 took 0.93 of the time with one thread, and 1.5 times with two.
  if (choice === "auto" && threads > 1) return "with several threads the runtime's own are quicker";
  try {
    const blas = new ForeignBlas(koffi(), wanted, threads);
    const slow = choice === "auto" ? blas.whyNotQuick() : undefined;
    if (slow !== undefined) return slow;
    const addressOf = (array: Uint8Array): Pointer => koffi().address(array);
    const fault = blasFault(blas, addressOf);
    if (fault !== undefined) throw new Error(fault);
    if (choice === "auto" && threadsChangeBits(blas, addressOf))
      return `results of ${blas.version} depend on the number of threads`;
    return blas;
  } catch (error) {
    const reason = messageOf(error).split("\n")[0] ?? "it cannot be loaded";
    if (choice === "auto") return reason;
    throw new EngineError("engine.cpu.blas", `${wanted} cannot multiply matrices: ${reason}`, {
      remedy:
        'Name a library with the C interface of BLAS (cblas_sgemm, 32-bit sizes), or take "auto" or "off".',
      cause: error,
    });
  }
}

function systemBlas(): string | undefined {
  // Others are unmeasured, Apple's Accelerate too: their users can name the library.
  return process.platform === "linux" && process.arch === "x64" ? OPENBLAS : undefined;
}

class ForeignBlas implements Blas {
  readonly version: string;
  readonly #threads: number;
  readonly #core: string | undefined;
  readonly #path: string;
  readonly #sgemm: NativeFunction;
  readonly #scopy: NativeFunction;
  readonly #setThreads: NativeFunction | undefined;

  constructor(koffi: Koffi, path: string, threads: number) {
    const library = loadQuietly(koffi, path);
    this.#path = path;
    this.#threads = threads;
    this.#sgemm = library.func(
      "void cblas_sgemm(int, int, int, int, int, int, float, void *, int, void *, int, float, void *, int)",
    );
    this.#scopy = library.func("void cblas_scopy(int, void *, int, void *, int)");
    this.#setThreads = optional(library, "void openblas_set_num_threads(int)");
    this.#core = text(library, "const char *openblas_get_corename()");
    const [name, number] = text(library, "const char *openblas_get_config()")?.split(" ") ?? [];
    this.version =
      this.#core === undefined
        ? (path.split("/").at(-1) ?? path)
        : `${name ?? "OpenBLAS"} ${number ?? ""} ${this.#core}`;
    this.takeThreads();
  }

  /** Why the runtime's own products are the better choice, as far as it is known. */
  whyNotQuick(): string | undefined {
    const core = this.#core;
    if (core === undefined) return `${this.#path} does not tell its kernels`;
    if (WIDE_CORES.has(core)) return undefined;
    if (hasWideVectors())
      return `OpenBLAS takes its kernels "${core}", half as wide as this processor's vectors (is OPENBLAS_CORETYPE set?)`;
    return MIDDLE_CORES.has(core) ? undefined : `OpenBLAS takes its kernels "${core}"`;
  }

  multiply(product: MatrixProduct, a: Pointer, b: Pointer, c: Pointer): void {
    const { m, n, k, transposeA, transposeB, alpha, beta } = product;
    this.#sgemm(
      ROW_MAJOR,
      transposeA ? TRANSPOSED : AS_IT_IS,
      transposeB ? TRANSPOSED : AS_IT_IS,
      ...[m, n, k, alpha, a, transposeA ? m : k, b, transposeB ? k : n, beta, c, n],
    );
  }

  copy(count: number, from: Pointer, to: Pointer): void {
    this.#scopy(count, from, 1, to, 1);
  }

  takeThreads(count = this.#threads): void {
    this.#setThreads?.(count);
  }
}

/** What OpenMP reads while a library is loaded: threads that wait for the next product sleep. */
const WAIT_POLICY = "OMP_WAIT_POLICY";

/** Opens a library whose threads sleep while they have nothing to do, if the user has not set it otherwise. */
function loadQuietly(koffi: Koffi, path: string): Library {
  if (process.platform === "win32" || process.env[WAIT_POLICY] !== undefined)
    return loadedForGood(koffi, path);
  // The environment that libraries see is not that of a worker, and processes begun later keep the user's.
  const system = koffi.load(null);
  system.func("int setenv(const char *, const char *, int)")(WAIT_POLICY, "passive", 1);
  try {
    return loadedForGood(koffi, path);
  } finally {
    system.func("int unsetenv(const char *)")(WAIT_POLICY);
  }
}

function optional(library: Library, prototype: string): NativeFunction | undefined {
  try {
    return library.func(prototype);
  } catch {
    return undefined;
  }
}

function text(library: Library, prototype: string): string | undefined {
  const answer = optional(library, prototype)?.();
  return typeof answer === "string" ? answer : undefined;
}

function hasWideVectors(): boolean {
  const flags = processorFlags();
  return WIDE_FLAGS.every((flag) => flags.has(flag));
}

function processorFlags(): ReadonlySet<string> {
  const path = "/proc/cpuinfo";
  if (process.arch !== "x64" || !existsSync(path)) return new Set();
  const line = /^flags\s*:(.*)$/m.exec(readFileSync(path, "utf8"));
  return new Set(line?.[1]?.trim().split(/\s+/));
}
