import { cpSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { profilePath, readMachineProfile } from "../../src/engine/ane/machine-profile.ts";
import { createEngine } from "../../src/engine/create.ts";
import { runFunction } from "../../src/engine/run-function.ts";
import { readNpyFile } from "../../src/files/npy.ts";
import { openProgram, wholeProgram } from "../../src/files/open-program.ts";
import { prepareRun } from "../../src/files/prepare-run.ts";
import { diffFiles, inspectFile } from "../../src/inspect.ts";
import { parseReport } from "../../src/measure/engine-bench/report.ts";
import { parseMeasuredRows } from "../../src/measure/published/measured-row.ts";
import { loadTokenizer } from "../../src/text/index.ts";
import { Random } from "../../src/util/random.ts";
import { temporaryFolder } from "../helpers/cli.ts";

// What version 0.1.0 (commit aa70b67) wrote with `convert`, `tokenizer train`, `doctor` and `bench engine`.
const FIXTURES = fileURLToPath(new URL("../fixtures/first-round", import.meta.url));
const at = (...path: readonly string[]): string => join(FIXTURES, ...path);

describe("files of version 0.1.0", () => {
  it.each(["llama.mlpackage", "llama.mil", "llama.mlmodel", "llama.onnx"])(
    "%s is opened, told of, and runs to the numbers of then",
    async (name) => {
      const path = at("convert", name);
      const opened = openProgram(path);
      try {
        const operations = wholeProgram(opened).functions[0]?.operations ?? [];
        expect(operations.length).toBeGreaterThan(100);
      } finally {
        opened.close();
      }
      const report = inspectFile(path);
      expect(report.kind === "summary" && report.summary.weights.length).toBeGreaterThan(9);
      const { fn, inputs } = prepareRun({ path, arrays: new Map(), random: new Random(1) });
      const engine = await createEngine("reference");
      try {
        const [logits] = [...(await runFunction(engine, fn, inputs)).values()];
        const { data, shape } = readNpyFile(at("convert", "logits.npy"));
        expect(logits?.shape).toEqual(shape);
        const wanted = Array.from(data, Number);
        // The ONNX file says the same in other ops, so its last bits may differ.
        const tolerance = name.endsWith(".onnx") ? 1e-6 : 0;
        for (const [index, number] of (logits?.toArray() ?? []).entries())
          expect(Math.abs(number - (wanted[index] ?? NaN))).toBeLessThanOrEqual(tolerance);
      } finally {
        await engine.close();
      }
    },
  );

  it("a package and its text are one program", () => {
    const packaged = at("convert", "llama.mlpackage");
    expect(diffFiles(packaged, at("convert", "llama.mil")).equal).toBe(true);
    expect(diffFiles(packaged, at("convert", "llama.mlmodel")).equal).toBe(true);
  });

  it.each([
    ["bpe", [282, 265, 101, 97]],
    ["char", [20, 10, 7, 1, 19, 7, 3]],
    ["byte", [116, 104, 101, 32, 115, 101, 97]],
  ] as const)("the tokenizer by %s splits as then, and back", (kind, ids) => {
    const { tokenizer } = loadTokenizer(at("tokenizers", kind));
    expect(Array.from(tokenizer.encode("the sea"))).toEqual(ids);
    expect(tokenizer.decode(Uint32Array.from(ids))).toBe("the sea");
  });

  it("a machine's profile is used, a doctor's report and a bench's are read", () => {
    const root = temporaryFolder();
    cpSync(at("machine", "cache"), root, { recursive: true });
    const key = { chip: "m4", osBuild: "24G84", library: "/usr/lib/e5rt.dylib" };
    expect(readdirSync(join(root, "machine"))).toContain(profilePath(key, root).split("/").at(-1));
    expect(readMachineProfile(key, root)).toMatchObject({
      state: "used",
      profile: { drivers: { "in-memory": { compileBudget: 100 } } },
    });
    const json = (...path: readonly string[]): unknown =>
      JSON.parse(readFileSync(at(...path), "utf8"));
    expect(json("machine", "doctor.json")).toMatchObject({
      version: "0.1.0",
      findings: expect.arrayContaining([expect.objectContaining({ what: "cpu engine" })]),
    });
    expect(parseReport(json("report.json"), "report.json").cases.length).toBeGreaterThan(0);
    expect(parseMeasuredRows(json("rows.json")).length).toBeGreaterThan(0);
  });
});
