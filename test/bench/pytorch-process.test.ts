import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";

interface PytorchProcess {
  readonly blasCores: (
    arch: string,
    flagsOf: () => ReadonlySet<string> | undefined,
  ) => readonly (string | undefined)[];
  readonly widestCapability: (
    arch: string,
    flagsOf: () => ReadonlySet<string> | undefined,
  ) => string | undefined;
  readonly howItEnded: (code: number | null, signal: string | null) => string;
}

const script = new URL("../../bench/pytorch-process.mjs", import.meta.url);
const { blasCores, widestCapability, howItEnded } = (await import(script.href)) as PytorchProcess;

describe("the benchmark against PyTorch", () => {
  it("takes the widest vectors that the processor has, all of their parts", () => {
    const of = (flags: string): string | undefined =>
      widestCapability("x64", () => new Set(flags.split(" ")));
    expect(of("sse4_2 avx2 fma avx512f avx512bw avx512vl avx512dq")).toBe("avx512");
    expect(of("sse4_2 avx2 fma avx512f")).toBe("avx2");
    expect(of("sse4_2 avx2 fma")).toBe("avx2");
    expect(of("sse4_2 avx")).toBe("default");
  });

  it("leaves the choice to PyTorch where flags cannot be read, or the processor is another", () => {
    expect(widestCapability("x64", () => undefined)).toBeUndefined();
    expect(widestCapability("arm64", () => new Set(["avx2", "fma"]))).toBeUndefined();
  });

  it("tries wider kernels of the BLAS only where the processor has all that they use", () => {
    const of = (flags: string): readonly (string | undefined)[] =>
      blasCores("x64", () => new Set(flags.split(" ")));
    expect(of("avx2 fma avx512f avx512bw avx512vl avx512dq")).toEqual([undefined, "SKYLAKEX"]);
    expect(of("avx2 fma avx512f")).toEqual([undefined]);
    expect(blasCores("arm64", () => new Set(["avx512f"]))).toEqual([undefined]);
  });

  it.skipIf(process.platform === "win32")("tells a signal as such", () => {
    const { status, signal } = spawnSync("/bin/sh", ["-c", "kill -ILL $$"]);
    expect(howItEnded(status, signal)).toMatch(/SIGILL.*processor does not have/);
    expect(howItEnded(2, null)).toBe("ended with code 2");
  });
});
