import { FunctionBuilder } from "../../mil/builder.ts";
import { tensorType } from "../../mil/types.ts";
import { functionToOnnx } from "../../onnx/lower-function.ts";

/** The smallest graph that opens the device. */
export function emptyModel(): Uint8Array {
  const f = new FunctionBuilder("open");
  const x = f.input("x", tensorType("fp32", [1]));
  return functionToOnnx(f.finish({ y: f.op("add", { x, y: x }) })).bytes;
}

/** A graph that only a device with fp16 runs. */
export function halfModel(): Uint8Array {
  const f = new FunctionBuilder("half");
  const x = f.input("x", tensorType("fp32", [1]));
  return functionToOnnx(f.finish({ y: f.op("cast", { x, dtype: "fp16" }) }), { isForDevice: true })
    .bytes;
}
