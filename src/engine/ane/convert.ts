import type { DataType } from "../../mil/types.ts";
import type { InputConversion } from "../../lower/ports.ts";
import { float16Bits, float16Value } from "../../util/float16.ts";
import type { HalfConverter } from "../host/half-converter.ts";
import type { BufferView } from "../engine.ts";
import { fillOneHot } from "../host/one-hot.ts";

const ONE = 0x3c00;

/** Fills a port from the elements of a plan's buffer. */
export function fillPort(
  conversion: InputConversion,
  source: BufferView,
  dataType: DataType,
  port: Uint16Array,
  converter: HalfConverter,
): void {
  switch (conversion.kind) {
    case "half":
      toHalves(source, dataType, port, converter);
      return;
    case "valid":
      for (let i = 0; i < source.length; i++) port[i] = (source[i] ?? -1) < 0 ? 0 : ONE;
      return;
    case "one-hot":
      fillOneHot(source, conversion, port, ONE);
  }
}

function toHalves(
  source: BufferView,
  dataType: DataType,
  port: Uint16Array,
  converter: HalfConverter,
): void {
  if (source instanceof Float32Array) converter.toHalves(source, port);
  else if (dataType === "fp16") port.set(source);
  else for (let i = 0; i < source.length; i++) port[i] = float16Bits(source[i] ?? 0);
}

/** Writes a result, times `factor`, into a plan's buffer, or adds it. */
export function takeResult(
  port: Uint16Array,
  { how, factor }: { readonly how: "write" | "add"; readonly factor: number },
  target: BufferView,
  dataType: DataType,
  converter: HalfConverter,
): void {
  if (dataType === "fp16") {
    if (how === "write" && factor === 1) {
      target.set(port);
      return;
    }
    for (let i = 0; i < target.length; i++) {
      const before = how === "add" ? float16Value(target[i] ?? 0) : 0;
      target[i] = float16Bits(before + factor * float16Value(port[i] ?? 0));
    }
  } else if (target instanceof Float32Array) {
    if (how === "add") converter.add(port, target, factor);
    else converter.toSingles(port, target, factor);
  } else if (how === "add") {
    for (let i = 0; i < target.length; i++)
      target[i] = (target[i] ?? 0) + factor * float16Value(port[i] ?? 0);
  } else {
    for (let i = 0; i < target.length; i++) target[i] = factor * float16Value(port[i] ?? 0);
  }
}

/** Writes the sum of all elements, added up in double precision one after the other, or adds it. */
export function takeSum(
  port: Uint16Array,
  how: "sum" | "add-sum",
  target: BufferView,
  dataType: DataType,
): void {
  const isHalf = dataType === "fp16";
  const before = target[0] ?? 0;
  let sum = how === "sum" ? 0 : isHalf ? float16Value(before) : before;
  for (let i = 0; i < port.length; i++) sum += float16Value(port[i] ?? 0);
  target[0] = isHalf ? float16Bits(sum) : sum;
}
