import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { parseAst, transformWithEsbuild } from "vite";
import { describe, expect, it } from "vitest";
import { PUBLIC_OPS } from "../../src/mil/op-signature.ts";
import { OPS, opRow } from "../../src/mil/ops/index.ts";

const SOURCES = join(import.meta.dirname, "../../src");
const OP_NAMES: ReadonlySet<unknown> = new Set([...Object.keys(OPS), ...PUBLIC_OPS]);

/**
 * Lists that are no facts about ops, by file: names that other formats happen to share, what a measurement
 * takes up, and codes of a kernel. Everything else belongs in a column of the op's row.
 */
const OTHER_LISTS: Readonly<Record<string, string>> = {
  "chip/legality/system-rules.ts":
    "what one version of a system was seen to refuse, a fact of the system",
  "engine/sim/elementwise.ts": "codes of the WebAssembly kernel",
  "generate/constraint/json-schema.ts": "keywords of JSON Schema",
  "grad/rules/gather-scatter.ts": "modes of a scatter",
  "inspect/hwx/field-meaning.ts": "names of the hardware's registers",
  "inspect/hwx/model.ts": "kinds of HWX layers",
  "measure/engine-bench/suites.ts": "the ops a suite measures",
  "mil/ops/gather-scatter.ts": "modes of a scatter",
  "mil/ops/signatures.ts": "the vocabulary itself",
  "model/config.ts": "activations by Hugging Face's names, as config.json has them",
  "onnx/import/import-model.ts": "what may pass on a 64-bit constant of a file",
  "onnx/import/recurrent.ts": "activations of ONNX's recurrent operators",
  "onnx/fuse/scatter.ts": "modes of a scatter",
};

function* sources(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (entry.name !== "assembly" && entry.name !== "generated") yield* sources(path);
    } else if (entry.name.endsWith(".ts")) yield path;
  }
}

interface Node {
  readonly type: string;
  readonly [key: string]: unknown;
}

const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && "type" in value;

const isTrue = (value: unknown): boolean => isNode(value) && value["value"] === true;

/** Names of ops in an array, or as keys of an object that only says `true`. */
function namesIn(node: Node): readonly string[] {
  const elements: readonly unknown[] =
    node.type === "ArrayExpression" && Array.isArray(node["elements"]) ? node["elements"] : [];
  const properties: readonly unknown[] =
    node.type === "ObjectExpression" && Array.isArray(node["properties"]) ? node["properties"] : [];
  const names = [
    ...elements.flatMap((element) => (isNode(element) ? [element["value"]] : [])),
    ...properties.flatMap((property) =>
      isNode(property) && isTrue(property["value"]) && isNode(property["key"])
        ? [property["key"]["name"] ?? property["key"]["value"]]
        : [],
    ),
  ];
  return [...new Set(names)].flatMap((name) =>
    typeof name === "string" && OP_NAMES.has(name) ? [name] : [],
  );
}

/** Lists of two or more names of ops; `ops: [...]` is the column of a chip's legality rule. */
function* listsIn(value: unknown, key: unknown): Generator<readonly string[]> {
  if (Array.isArray(value)) {
    for (const one of value) yield* listsIn(one, undefined);
    return;
  }
  if (!isNode(value)) return;
  const names = namesIn(value);
  if (names.length >= 2 && key !== "ops") yield names;
  const named = isNode(value["key"]) ? value["key"]["name"] : undefined;
  for (const [name, child] of Object.entries(value))
    if (name !== "type") yield* listsIn(child, value.type === "Property" ? named : undefined);
}

async function listsOf(text: string, name: string): Promise<readonly (readonly string[])[]> {
  const { code } = await transformWithEsbuild(text, name, { sourcemap: false });
  return [...listsIn(parseAst(code), undefined)];
}

describe("facts about ops", () => {
  it("stand in the op's row: no file keeps a list of op names by hand", async () => {
    const found: string[] = [];
    for (const path of sources(SOURCES)) {
      const here = relative(SOURCES, path);
      if (Object.hasOwn(OTHER_LISTS, here)) continue;
      for (const names of await listsOf(readFileSync(path, "utf8"), path))
        found.push(`${here}: ${names.join(" ")}`);
    }
    expect(found).toEqual([]);
  });

  it("are found wherever a list hides, and rules of a chip name the ops they are about", async () => {
    const lists = await listsOf(
      `export const A: ReadonlySet<string> = new Set(["add", "mul"]);
       function f(type: string) { return ["reshape", "x", "tile"].includes(type); }
       const IS = { exp: true, log: true, add: 1 };
       export const rule = { ops: ["conv", "matmul"], other: ["conv", "x"] };`,
      "lists.ts",
    );
    expect(lists).toEqual([
      ["add", "mul"],
      ["reshape", "tile"],
      ["exp", "log"],
    ]);
  });

  it("agree with what the rows compute", () => {
    for (const [name, row] of Object.entries(OPS)) {
      const traits = opRow(name);
      if (traits?.pointwise === true || traits?.broadcasts === true)
        expect([name, traits.kind]).toEqual([name, "elementwise"]);
      if (traits?.pointwise === true)
        expect([name, Object.keys(row.parameters)[0]]).toEqual([name, "x"]);
      if (traits?.addsTo !== undefined)
        expect([name, Object.keys(row.parameters)]).toEqual([
          name,
          expect.arrayContaining([traits.addsTo, "updates", "mode"]),
        ]);
      for (const operand of traits?.product?.operands ?? [])
        expect([name, Object.keys(row.parameters)]).toEqual([
          name,
          expect.arrayContaining([operand]),
        ]);
    }
  });
});
