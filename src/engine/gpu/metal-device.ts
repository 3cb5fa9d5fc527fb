import { bindFunctions, foreign, openLibrary } from "../../ffi/foreign.ts";
import type { ForeignUse } from "../../ffi/foreign.ts";
import type { GpuDevice } from "./gpu-device.ts";

const METAL: ForeignUse = {
  code: "engine.gpu.metal",
  subject: "the name of the Metal device",
  withoutKoffi: "Install it: npm install koffi.",
  withoutLibrary: "Metal is part of macOS.",
  withoutFunctions: "This macOS is older than 10.11.",
};

/** The device that Metal gives by default: `[MTLCreateSystemDefaultDevice() name]`. Nothing where there is none. */
export function metalDevice(): GpuDevice | undefined {
  const metal = bindFunctions(
    "/System/Library/Frameworks/Metal.framework/Metal",
    { MTLCreateSystemDefaultDevice: "void *MTLCreateSystemDefaultDevice()" },
    METAL,
  );
  const runtime = openLibrary("/usr/lib/libobjc.A.dylib", METAL);
  const selector = runtime.func("void *sel_registerName(const char *)");
  const object = runtime.func("void *objc_msgSend(void *, void *)");
  const device = metal.MTLCreateSystemDefaultDevice();
  if (device === null) return undefined;
  const name = object(device, selector("name"));
  if (name === null) return { name: "Metal device", kind: "integrated" };
  // The characters belong to an object of the pool, and are read before anything drains it.
  const characters = object(name, selector("UTF8String")) as bigint;
  const text = foreign(METAL).decode(characters, "char", -1);
  return { name: String(text), kind: "integrated" };
}
