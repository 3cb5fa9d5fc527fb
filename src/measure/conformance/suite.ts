import { existsSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { MeasureError } from "../errors.ts";
import type { Layout, LoadedTest, Suite } from "./conformance-test.ts";
import { listOnnxTests, loadOnnxTest } from "./onnx-layout.ts";
import { listPackageTests, loadPackageTest } from "./package-layout.ts";

/** Reads what a folder holds. Throws `MeasureError` for one that is laid out in neither way. */
export function openSuite(folder: string): Suite {
  const isManifest = existsSync(join(folder, "manifest.jsonl"));
  const tests = isManifest ? listPackageTests(folder) : listOnnxTests(folder);
  if (tests.length === 0) {
    throw new MeasureError("measure.suite.layout", `${folder} holds no tests`, {
      remedy:
        "A suite is FAMILY/TEST/model.onnx with test_data_set_N folders, or a manifest.jsonl with packages and arrays.",
    });
  }
  return {
    name: basename(resolve(folder)),
    folder,
    layout: isManifest ? "packages" : "onnx",
    tests,
  };
}

export function loadTest(folder: string, layout: Layout, id: string): LoadedTest {
  return layout === "onnx" ? loadOnnxTest(folder, id) : loadPackageTest(folder, id);
}
