import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import type { NpyArray, NpyType } from "../../files/npy.ts";
import { openOnnxFile } from "../../files/open-program.ts";
import { TensorProtoSchema } from "../../onnx/generated/onnx_pb.ts";
import type { GraphProto, ValueInfoProto } from "../../onnx/generated/onnx_pb.ts";
import type { OnnxFile } from "../../onnx/read-model.ts";
import { tensorNumbers } from "../../onnx/tensor-numbers.ts";
import type { TensorNumbers } from "../../onnx/tensor-numbers.ts";
import { milTypeOf } from "../../onnx/type-codes.ts";
import { isFloat } from "../../mil/types.ts";
import { AnecdoteError } from "../../util/errors.ts";
import { float16Bits } from "../../util/float16.ts";
import { MeasureError } from "../errors.ts";
import type {
  DataSet,
  ExpectedTensor,
  LoadedTest,
  SuiteTest,
  Tolerance,
} from "./conformance-test.ts";

const DEPTH_LIMIT = 3;

/** Every folder with a `model.onnx`, by its path; the folder above it names the family. */
export function listOnnxTests(folder: string): readonly SuiteTest[] {
  const found: SuiteTest[] = [];
  const visit = (path: string, depth: number): void => {
    if (existsSync(join(path, "model.onnx"))) {
      const id = relative(folder, path) || ".";
      const leftOut = reasonToLeaveOut(join(path, "model.onnx"));
      const family = dirname(id);
      found.push({ id, family, ...(leftOut !== undefined && { leftOut }) });
      return;
    }
    if (depth === DEPTH_LIMIT) return;
    const entries = readdirSync(path, { withFileTypes: true });
    for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1)))
      if (entry.isDirectory()) visit(join(path, entry.name), depth + 1);
  };
  visit(folder, 0);
  return found;
}

/** Operators whose results no two implementations share. */
const RANDOM: ReadonlySet<string> = new Set([
  "Bernoulli",
  "Multinomial",
  "RandomNormal",
  "RandomNormalLike",
  "RandomUniform",
  "RandomUniformLike",
]);

function reasonToLeaveOut(path: string): string | undefined {
  let file: OnnxFile;
  try {
    file = openOnnxFile(path);
  } catch (error) {
    // A model that cannot be read is a test to run: it is refused there, by name.
    if (error instanceof AnecdoteError) return undefined;
    throw error;
  }
  const { graph } = file;
  for (const port of [...dataInputs(graph), ...graph.output]) {
    if (!isNumberTensor(port)) return `"${port.name}" is not a tensor of numbers`;
  }
  const random = operatorsOf(graph).find((name) => RANDOM.has(name));
  return random === undefined ? undefined : `${random} is random`;
}

function isNumberTensor({ type }: ValueInfoProto): boolean {
  if (type?.value.case !== "tensorType") return false;
  try {
    milTypeOf(type.value.value.elemType, "");
    return true;
  } catch (error) {
    if (error instanceof AnecdoteError) return false;
    throw error;
  }
}

function operatorsOf(graph: GraphProto): readonly string[] {
  return graph.node.flatMap(({ opType, attribute }) => [
    opType,
    ...attribute.flatMap(({ g }) => (g === undefined ? [] : operatorsOf(g))),
  ]);
}

function dataInputs(graph: GraphProto): readonly ValueInfoProto[] {
  const initialized = new Set(graph.initializer.map(({ name }) => name));
  return graph.input.filter(({ name }) => !initialized.has(name));
}

/** The ONNX project's own: `onnx.backend.test.loader`, rtol 1e-3 and atol 1e-7. */
const TOLERANCE: Tolerance = { absolute: 1e-7, relative: 1e-3, ofLargest: 0 };
/** An element type's own step where that is coarser. */
const COARSE: Readonly<Record<number, Tolerance>> = {
  10: { absolute: 1e-5, relative: 2e-3, ofLargest: 0 },
  16: { absolute: 1e-5, relative: 1e-2, ofLargest: 0 },
};

export function loadOnnxTest(folder: string, id: string): LoadedTest {
  const path = join(folder, id, "model.onnx");
  const { graph } = openOnnxFile(path);
  const sets = readdirSync(join(folder, id))
    .filter((name) => name.startsWith("test_data_set_"))
    .toSorted();
  if (sets.length === 0) {
    throw new MeasureError("measure.suite.data", `${join(folder, id)} has no test_data_set_0`);
  }
  const dataSets = sets.map((name) => loadDataSet(join(folder, id, name), graph));
  return { path, bindsConstants: true, expectsExact: false, dataSets };
}

function loadDataSet(folder: string, graph: GraphProto): DataSet {
  const ports = dataInputs(graph);
  const arrays = new Map<string, NpyArray>();
  ports.forEach(({ name }, index) => {
    const tensor = readTensor(join(folder, `input_${index}.pb`));
    if (tensor !== undefined) arrays.set(name, arrayOf(tensor));
  });
  const outputs = graph.output.map((_, index) => readTensor(join(folder, `output_${index}.pb`)));
  const coarsest = outputs.flatMap((output) => {
    const found = output === undefined ? undefined : COARSE[output.elementType];
    return found === undefined ? [] : [found];
  });
  return {
    arrays,
    expected: outputs.map((tensor) => (tensor === undefined ? undefined : expectedOf(tensor))),
    tolerance: {
      absolute: Math.max(TOLERANCE.absolute, ...coarsest.map(({ absolute }) => absolute)),
      relative: Math.max(TOLERANCE.relative, ...coarsest.map(({ relative: part }) => part)),
      ofLargest: 0,
    },
  };
}

function readTensor(path: string): TensorNumbers | undefined {
  if (!existsSync(path)) return undefined;
  return tensorNumbers(fromBinary(TensorProtoSchema, readFileSync(path)), undefined);
}

function expectedOf({ elementType, shape, numbers }: TensorNumbers): ExpectedTensor {
  const type = milTypeOf(elementType, "a result");
  const kind = isFloat(type) ? "float" : type === "bool" ? "bool" : "integer";
  return { kind, shape, numbers: Float64Array.from(Array.from(numbers, Number)) };
}

const NPY_TYPES: Readonly<Record<number, NpyType>> = {
  1: "f4",
  2: "u1",
  3: "i1",
  4: "u2",
  5: "i2",
  6: "i4",
  7: "i8",
  9: "b1",
  11: "f8",
  12: "u4",
  13: "u8",
  21: "u1",
  22: "i1",
  25: "u1",
  26: "i1",
};

/** A tensor as the array a user would give: floats that NumPy does not have as fp32. */
function arrayOf({ elementType, shape, numbers }: TensorNumbers): NpyArray {
  if (elementType === 10) {
    const bits = Uint16Array.from(Array.from(numbers, Number), float16Bits);
    return { type: "f2", shape, data: bits };
  }
  return { type: NPY_TYPES[elementType] ?? "f4", shape, data: numbers.slice() };
}
