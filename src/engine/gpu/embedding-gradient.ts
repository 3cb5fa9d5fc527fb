import { FunctionBuilder } from "../../mil/builder.ts";
import { tensorLiteral } from "../../mil/literal.ts";
import type { MilFunction, Value } from "../../mil/program.ts";
import { staticShape } from "../../mil/types.ts";
import type { HostKernel, Plan, PlanProgram } from "../../plan/plan.ts";

/** Most elements of a one-hot matrix: the rows of a larger table are computed piece by piece. */
const ONE_HOT_ELEMENTS = 1 << 24;

/**
 * The plan with embedding gradients as products: an adding scatter adds in the order in which the device's threads
 * come, so that its bits change from run to run.
 */
export function withoutScatters(plan: Plan): Plan {
  const programs = new Map(
    [...plan.programs].map(([name, program]) => [name, withProduct(program)] as const),
  );
  return { ...plan, programs };
}

function withProduct(program: PlanProgram): PlanProgram {
  const { hostKernel } = program;
  if (hostKernel?.kind !== "embedding_gradient") return program;
  return { ...program, function: productOf(program.function, hostKernel) };
}

/** Rows of `gradient` [N, C] added at rows `indices` [N] of zeros [V, C], as one-hot [V, N] times `gradient`. */
function productOf(
  fn: MilFunction,
  kernel: Extract<HostKernel, { readonly kind: "embedding_gradient" }>,
): MilFunction {
  const [indicesPort] = fn.inputs.filter(({ name }) => name === kernel.indices);
  const [gradientPort] = fn.inputs.filter(({ name }) => name === kernel.gradient);
  const [table] = fn.outputs;
  if (indicesPort === undefined || gradientPort === undefined || table?.type.kind !== "tensor")
    return fn;
  const f = new FunctionBuilder(fn.name);
  const ports = new Map(fn.inputs.map(({ name, type }) => [name, f.input(name, type)]));
  const indices = ports.get(kernel.indices);
  const gradient = ports.get(kernel.gradient);
  if (indices === undefined || gradient === undefined) return fn;
  const [vocabularySize = 1] = staticShape(table.type);
  const rowCount = indicesPort.type.kind === "tensor" ? (staticShape(indicesPort.type)[0] ?? 1) : 1;
  const row = f.op("reshape", { x: indices, shape: [1, rowCount] });
  const pieceRows = Math.max(1, Math.floor(ONE_HOT_ELEMENTS / rowCount));
  const pieces: Value[] = [];
  for (let first = 0; first < vocabularySize; first += pieceRows) {
    const count = Math.min(pieceRows, vocabularySize - first);
    const rows = Int32Array.from({ length: count }, (_, index) => first + index);
    const column = f.constant(tensorLiteral("int32", [count, 1], rows), `rows_${first}`);
    const isRow = f.op("equal", { x: column, y: row });
    const oneHot = f.op("cast", { x: isRow, dtype: "fp32" });
    pieces.push(f.op("matmul", { x: oneHot, y: gradient }));
  }
  const [only] = pieces;
  const product =
    pieces.length === 1 && only !== undefined ? only : f.op("concat", { values: pieces, axis: 0 });
  return f.finish({ [table.name]: product });
}
