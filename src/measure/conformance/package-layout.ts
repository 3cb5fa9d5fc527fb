import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { readNpyFile } from "../../files/npy.ts";
import type { NpyArray } from "../../files/npy.ts";
import { float16Value } from "../../util/float16.ts";
import { MeasureError } from "../errors.ts";
import type { ExpectedTensor, LoadedTest, SuiteTest } from "./conformance-test.ts";

const lineSchema = z.object({
  area: z.string(),
  name: z.string(),
  package: z.string(),
  atol: z.number(),
  rtol: z.number(),
  inputs: z.record(z.string(), z.string()),
  outputs: z.array(z.string().nullable()),
});
type Line = z.infer<typeof lineSchema>;

/** Tests whose expected numbers are written by hand with four digits: 7.899 stands for the 7.9 of its formula. */
const WRITTEN_BY_HAND: ReadonlySet<string> = new Set([
  "image_resizing/CropResize/25d0ea14a687",
  "image_resizing/CropResize/ad11296ed10e",
  "image_resizing/CropResize/c9c0570adde4",
]);
const FOUR_DIGITS = 2e-4;

function readManifest(folder: string): readonly Line[] {
  const path = join(folder, "manifest.jsonl");
  return readFileSync(path, "utf8")
    .split("\n")
    .flatMap((text, index) => {
      if (text.trim() === "") return [];
      const parsed = lineSchema.safeParse(parse(text));
      if (parsed.success) return [parsed.data];
      throw new MeasureError(
        "measure.suite.manifest",
        `${path}, line ${index + 1}: ${z.prettifyError(parsed.error)}`,
      );
    });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const idOf = ({ area, name, package: file }: Line): string =>
  `${area}/${name}/${file.replace(/\.mlpackage$/, "")}`;

/** The manifest's programs; an area is a family. */
export function listPackageTests(folder: string): readonly SuiteTest[] {
  return readManifest(folder).map((line) => ({ id: idOf(line), family: line.area }));
}

const MANIFESTS = new Map<string, ReadonlyMap<string, Line>>();

export function loadPackageTest(folder: string, id: string): LoadedTest {
  const lines =
    MANIFESTS.get(folder) ?? new Map(readManifest(folder).map((line) => [idOf(line), line]));
  MANIFESTS.set(folder, lines);
  const line = lines.get(id);
  if (line === undefined) {
    throw new MeasureError("measure.suite.test", `${folder} has no test "${id}"`);
  }
  const arrays = new Map(
    Object.entries(line.inputs).map(([name, file]) => [name, readNpyFile(join(folder, file))]),
  );
  const expected = line.outputs.map((file) =>
    file === null ? undefined : expectedOf(readNpyFile(join(folder, file))),
  );
  return {
    path: join(folder, line.package),
    bindsConstants: false,
    expectsExact: true,
    dataSets: [
      {
        arrays,
        expected,
        tolerance: {
          absolute: line.atol,
          relative: WRITTEN_BY_HAND.has(id) ? Math.max(line.rtol, FOUR_DIGITS) : line.rtol,
          ofLargest: 0,
        },
      },
    ],
  };
}

function expectedOf({ type, shape, data }: NpyArray): ExpectedTensor {
  const kind = type.startsWith("f") ? "float" : type === "b1" ? "bool" : "integer";
  const numbers =
    data instanceof Uint16Array && type === "f2"
      ? Float64Array.from(data, (bits) => float16Value(bits))
      : Float64Array.from(data, Number);
  return { kind, shape, numbers };
}
