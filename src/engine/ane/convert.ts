import type { DataType } from "../../mil/types.ts";
import type { InputConversion } from "../../passes/engine/ports.ts";
import {
  float16Bits,
  float16ToFloat32,
  float16Value,
  float32ToFloat16,
} from "../../util/float16.ts";
import type { BufferView } from "../engine.ts";

const ONE = 0x3c00;

/** Fills a port from the elements of a plan's buffer. */
export function fillPort(
  conversion: InputConversion,
  source: BufferView,
  dataType: DataType,
  port: Uint16Array,
): void {
  switch (conversion.kind) {
    case "half":
      toHalves(source, dataType, port);
      return;
    case "valid":
      for (let i = 0; i < source.length; i++) port[i] = (source[i] ?? -1) < 0 ? 0 : ONE;
      return;
    case "one-hot": {
      const { first, depth } = conversion;
      port.fill(0, 0, source.length * depth);
      for (let row = 0; row < source.length; row++) {
        const index = source[row] ?? -1;
        const column = index - first;
        if (index >= 0 && column >= 0 && column < depth) port[row * depth + column] = ONE;
      }
    }
  }
}

function toHalves(source: BufferView, dataType: DataType, port: Uint16Array): void {
  if (source instanceof Float32Array) float32ToFloat16(source, port);
  else if (dataType === "fp16") port.set(source);
  else for (let i = 0; i < source.length; i++) port[i] = float16Bits(source[i] ?? 0);
}

/** Writes a result into a plan's buffer, or adds it. */
export function takeResult(
  port: Uint16Array,
  how: "write" | "add",
  target: BufferView,
  dataType: DataType,
): void {
  if (dataType === "fp16") {
    if (how === "write") {
      target.set(port);
      return;
    }
    for (let i = 0; i < target.length; i++)
      target[i] = float16Bits(float16Value(target[i] ?? 0) + float16Value(port[i] ?? 0));
  } else if (how === "add") {
    for (let i = 0; i < target.length; i++)
      target[i] = (target[i] ?? 0) + float16Value(port[i] ?? 0);
  } else if (target instanceof Float32Array) {
    float16ToFloat32(port, target);
  } else {
    for (let i = 0; i < target.length; i++) target[i] = float16Value(port[i] ?? 0);
  }
}

/** The sum of all elements in double precision, one after the other. */
export function sumOfHalves(port: Uint16Array): number {
  let sum = 0;
  for (let i = 0; i < port.length; i++) sum += float16Value(port[i] ?? 0);
  return sum;
}
