import type { Opset } from "../../mil/program.ts";
import { tensorType } from "../../mil/types.ts";
import type { TensorType } from "../../mil/types.ts";
import { didYouMean } from "../../util/nearest.ts";
import { OnnxError } from "../errors.ts";
import type { GraphProto, ValueInfoProto } from "../generated/onnx_pb.ts";
import { portOf } from "../read-model.ts";
import type { TensorNumbers } from "../tensor-numbers.ts";
import { milTypeOf } from "../type-codes.ts";
import { identifier } from "./graph-names.ts";

/** What an ONNX model does not say itself, and how its program is written. */
export interface ImportOptions {
  /** Sizes of inputs, by the input's name; needed where the model leaves them open. */
  readonly shapes?: ReadonlyMap<string, readonly number[]>;
  /** Sizes by the names that the model gives them ("batch_size"). */
  readonly dimensions?: ReadonlyMap<string, number>;
  readonly opset?: Opset;
  readonly functionName?: string;
  /**
   * Numbers of inputs, by the input's name: those that MIL needs as constants (axes, sizes, pads) take them and are no
   * inputs of the program. The others stay inputs.
   */
  readonly bindable?: ReadonlyMap<string, TensorNumbers>;
}

/** A size for an input or a dimension that the model does not have is a slip of the pen. */
export function checkOptions(
  graph: GraphProto,
  initialized: ReadonlySet<string>,
  { shapes, dimensions }: ImportOptions,
): void {
  const ports = graph.input.filter(({ name }) => !initialized.has(name)).map(portOf);
  const names = ports.flatMap(({ name }) => [name, identifier(name)]);
  for (const name of shapes?.keys() ?? []) {
    if (!names.includes(name)) {
      throw new OnnxError(
        "onnx.import.shape",
        `the model has no input "${name}".${didYouMean(name, names)}`,
        { remedy: `Inputs: ${ports.map((port) => port.name).join(", ")}.` },
      );
    }
  }
  const open = ports.flatMap(({ shape }) => shape ?? []).filter((size) => typeof size === "string");
  for (const name of dimensions?.keys() ?? []) {
    if (!open.includes(name)) {
      throw new OnnxError(
        "onnx.import.dimension",
        `the model has no size "${name}".${didYouMean(name, open)}`,
      );
    }
  }
}

/**
 * The type of an input, `portName` in MIL's spelling, with sizes that the options give where the model leaves them open.
 * Throws `OnnxError` `onnx.import.symbolic` for sizes that nobody gives.
 */
export function inputType(
  info: ValueInfoProto,
  portName: string,
  { shapes, dimensions }: ImportOptions,
): TensorType {
  const port = portOf(info);
  const given = shapes?.get(port.name) ?? shapes?.get(portName);
  const dataType = milTypeOf(port.elementType, `input "${port.name}"`);
  if (given !== undefined) {
    const declared = port.shape;
    const fits =
      declared === undefined ||
      (declared.length === given.length &&
        declared.every((size, axis) => typeof size === "string" || size === given[axis]));
    if (!fits) {
      throw new OnnxError(
        "onnx.import.shape",
        `input "${port.name}" is declared [${declared.join(", ")}]; [${given.join(", ")}] does not fit`,
      );
    }
    return tensorType(dataType, given);
  }
  const sizes = port.shape?.map((size) =>
    typeof size === "string" ? (dimensions?.get(size) ?? size) : size,
  );
  if (sizes === undefined || sizes.some((size) => typeof size === "string")) {
    const open = sizes?.map((size) => (typeof size === "number" ? size : 1)) ?? [1];
    throw new OnnxError(
      "onnx.import.symbolic",
      `input "${port.name}" has open sizes: [${sizes?.join(", ") ?? "any rank"}]`,
      { remedy: `Give them all, as in --shape ${port.name}=${open.join("x")}.` },
    );
  }
  return tensorType(
    dataType,
    sizes.map((size) => Number(size)),
  );
}
