import { existsSync, readFileSync } from "node:fs";

/**
 * The ATEN_CPU_CAPABILITY for the widest vectors of this processor. PyTorch 1.13 takes AVX2 by itself where AVX-512 is
 * faster for us, and believes the variable without a look at the processor: AVX-512 where there is none ends in SIGILL.
 * Undefined, where the processor's flags cannot be read or it is no x64: PyTorch chooses.
 */
export function widestCapability(arch = process.arch, flagsOf = readFlags) {
  if (arch !== "x64") return undefined;
  const flags = flagsOf();
  if (flags === undefined) return undefined;
  // What PyTorch compiles its AVX-512 kernels with.
  if (["avx512f", "avx512bw", "avx512vl", "avx512dq", "fma"].every((flag) => flags.has(flag)))
    return "avx512";
  return flags.has("avx2") && flags.has("fma") ? "avx2" : "default";
}

/**
 * Names of OpenBLAS's kernels that this processor can run, beside those that it takes by itself (undefined). A library
 * older than its processor takes kernels of half the width: 0.3.21 has AVX2's on a Zen 5. An unknown name is no fault.
 */
export function blasCores(arch = process.arch, flagsOf = readFlags) {
  const flags = arch === "x64" ? flagsOf() : undefined;
  const wide = ["avx512f", "avx512bw", "avx512vl", "avx512dq", "fma"];
  return flags !== undefined && wide.every((flag) => flags.has(flag))
    ? [undefined, "SKYLAKEX"]
    : [undefined];
}

/** "ended with code 1", and of a signal what it means. */
export function howItEnded(code, signal) {
  if (signal === null) return `ended with code ${code}`;
  const reasons = {
    SIGILL:
      "it used an instruction that this processor does not have; try --pytorch-capability default",
    SIGKILL: "often the system, for want of memory",
  };
  return `was ended by ${signal}${reasons[signal] ? ` (${reasons[signal]})` : ""}`;
}

function readFlags() {
  const path = "/proc/cpuinfo";
  if (!existsSync(path)) return undefined;
  const line = /^flags\s*:(.*)$/m.exec(readFileSync(path, "utf8"));
  return line === null ? undefined : new Set(line[1].trim().split(/\s+/));
}
