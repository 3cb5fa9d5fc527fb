import { EngineError } from "../../errors.ts";
import type { DeviceBuffer } from "../driver.ts";
import type { ObjectPointer, Surface } from "../ffi/objc-functions.ts";
import type { EngineThread } from "./engine-thread.ts";
import type { ObjcRuntime } from "./objc.ts";

const LOCK_READ_ONLY = 1;

/** A surface and the object that wraps it for requests. */
export class SurfaceBuffer implements DeviceBuffer {
  readonly byteLength: number;
  readonly object: ObjectPointer;
  readonly #objc: ObjcRuntime;
  readonly #thread: EngineThread;
  readonly #surface: Surface;
  #isReleased = false;

  constructor(objc: ObjcRuntime, thread: EngineThread, byteLength: number) {
    this.#objc = objc;
    this.#thread = thread;
    this.byteLength = byteLength;
    const failure = (why: string): EngineError =>
      new EngineError("engine.ane.memory", `a surface of ${byteLength} bytes: ${why}`);
    const { surface, object } = objc.pooled(() => {
      const number = (value: number): ObjectPointer =>
        objc.ask("NSNumber", "numberWithLongLong:", value);
      const properties = objc.dictionary([
        ["IOSurfaceWidth", number(byteLength)],
        ["IOSurfaceHeight", number(1)],
        ["IOSurfaceBytesPerElement", number(1)],
        ["IOSurfaceBytesPerRow", number(byteLength)],
        ["IOSurfaceAllocSize", number(byteLength)],
        ["IOSurfacePixelFormat", number(0)],
      ]);
      const made = objc.call("IOSurfaceCreate", properties) as Surface | null;
      if (made === null) throw failure("the system makes none");
      try {
        return {
          surface: made,
          object: objc.retain(objc.ask("_ANEIOSurfaceObject", "objectWithIOSurface:", made)),
        };
      } catch (error) {
        objc.call("CFRelease", made);
        throw error;
      }
    });
    this.#surface = surface;
    this.object = object;
    try {
      const size = Number(objc.call("IOSurfaceGetAllocSize", surface));
      if (size < byteLength) throw failure(`the system made one of ${size}`);
      this.access("write", (halves) => halves.fill(0));
    } catch (error) {
      this.release();
      throw error;
    }
  }

  /** The address is good while the surface is locked. */
  access<Result>(mode: "read" | "write", use: (halves: Uint16Array) => Result): Result {
    if (this.#isReleased)
      throw new EngineError("engine.closed", "the engine's surface is released");
    const objc = this.#objc;
    const options = mode === "read" ? LOCK_READ_ONLY : 0;
    const status = Number(objc.call("IOSurfaceLock", this.#surface, options, null));
    if (status !== 0) {
      throw new EngineError("engine.ane.memory", `IOSurfaceLock failed with ${status}`);
    }
    try {
      const address = objc.call("IOSurfaceGetBaseAddress", this.#surface) as bigint | null;
      if (address === null) throw new EngineError("engine.ane.memory", "a surface has no address");
      return use(new Uint16Array(objc.memory(address, this.byteLength & ~1)));
    } finally {
      objc.call("IOSurfaceUnlock", this.#surface, options, null);
    }
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#thread.afterwards(() => {
      this.#objc.release(this.object);
      this.#objc.call("CFRelease", this.#surface);
    });
  }
}
