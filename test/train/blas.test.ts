import { describe, expect, it } from "vitest";
import { joinSettings } from "../../src/train/run/run-group.ts";
import { resumeNotices } from "../../src/train/run/resume-notices.ts";
import type { TrainerState } from "../../src/runs/state.ts";

describe("a run's library for large products", () => {
  it("may not be one whose bits depend on threads where any number of processes gives the same", () => {
    const tree = (blas: string): object => joinSettings({ sum_order: "tree", blas }, true);
    expect(() => tree("libopenblas.so.0")).toThrow(
      expect.objectContaining({ code: "train.group.blas" }),
    );
    for (const blas of ["auto", "off"]) expect(tree(blas)).toEqual({ join: "never" });
    expect(joinSettings({ sum_order: "serial", blas: "libopenblas.so.0" }, false)).toEqual({});
  });

  it("is told where a checkpoint was made with another one, and not where the flag alone differs", () => {
    const engine = { name: "cpu", device: "x", runtime: "onnxruntime with A", threads: 1 };
    const state = { engine, config: { blas: "auto", begin_tokens: 0 } } as unknown as TrainerState;
    const config = { output_dir: "run", blas: "libA.so", begin_tokens: 0 };
    const told = (runtime: string): readonly string[] =>
      resumeNotices({ state, engine: { ...engine, runtime }, config, dataDigest: undefined });
    expect(told("onnxruntime with A")).toEqual([]);
    expect(told("onnxruntime")).toEqual([
      'the checkpoint was made with runtime "onnxruntime with A", this is "onnxruntime": the run goes on, but not bit for bit',
    ]);
  });
});
