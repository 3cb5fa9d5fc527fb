import type { AssumptionId } from "../assumptions.ts";
import type { Pointer } from "./foreign.ts";

/** Objective-C objects, selectors, surfaces and autorelease pools. */
export type ObjectPointer<Class extends string = string> = Pointer<`objc ${Class}`>;
export type Surface = Pointer<"IOSurfaceRef">;
export type Pool = Pointer<"autorelease pool">;

/** C functions by the library they are in on macOS. A named library has them all. */
export const OBJC_LIBRARIES = {
  "/usr/lib/libobjc.A.dylib": {
    objc_getClass: "void *objc_getClass(const char *)",
    sel_registerName: "void *sel_registerName(const char *)",
    objc_retain: "void *objc_retain(void *)",
    objc_release: "void objc_release(void *)",
    objc_autoreleasePoolPush: "void *objc_autoreleasePoolPush()",
    objc_autoreleasePoolPop: "void objc_autoreleasePoolPop(void *)",
  },
  "/System/Library/Frameworks/Foundation.framework/Foundation": {
    NSTemporaryDirectory: "void *NSTemporaryDirectory()",
  },
  "/System/Library/Frameworks/CoreFoundation.framework/CoreFoundation": {
    CFRelease: "void CFRelease(void *)",
  },
  "/System/Library/Frameworks/IOSurface.framework/IOSurface": {
    IOSurfaceCreate: "void *IOSurfaceCreate(void *)",
    IOSurfaceLock: "int IOSurfaceLock(void *, uint32_t, void *)",
    IOSurfaceUnlock: "int IOSurfaceUnlock(void *, uint32_t, void *)",
    IOSurfaceGetBaseAddress: "void *IOSurfaceGetBaseAddress(void *)",
    IOSurfaceGetAllocSize: "size_t IOSurfaceGetAllocSize(void *)",
  },
} as const;

type Libraries = typeof OBJC_LIBRARIES;
export type ObjcFunctionName = {
  [Path in keyof Libraries]: keyof Libraries[Path];
}[keyof Libraries];

/** Defines the private classes (`in-memory.classes`). */
export const NEURAL_ENGINE_FRAMEWORK =
  "/System/Library/PrivateFrameworks/AppleNeuralEngine.framework/AppleNeuralEngine";

interface Message {
  /** Type of the result, then of the operands after receiver and selector. */
  readonly c: readonly [result: string, ...operands: readonly string[]];
  readonly source: AssumptionId;
}

const ID = "void *";
const ERROR = "_Out_ void **";
const QUALITY = "uint32_t";

/** Every message that is sent: `objc_msgSend` has one prototype for each. */
export const MESSAGES = {
  "stringWithUTF8String:": { c: [ID, "const char *"], source: "in-memory.text" },
  UTF8String: { c: ["const char *"], source: "in-memory.text" },
  "dataWithBytes:length:": { c: [ID, "const void *", "size_t"], source: "in-memory.text" },
  "numberWithInt:": { c: [ID, "int"], source: "in-memory.binding-order" },
  "numberWithLongLong:": { c: [ID, "int64_t"], source: "in-memory.surface-layout" },
  "arrayWithObjects:count:": {
    c: [ID, "const void *", "size_t"],
    source: "in-memory.binding-order",
  },
  dictionary: { c: [ID], source: "in-memory.text" },
  "dictionaryWithObjects:forKeys:count:": {
    c: [ID, "const void *", "const void *", "size_t"],
    source: "in-memory.text",
  },
  description: { c: [ID], source: "in-memory.text" },
  "modelWithMILText:weights:optionsPlist:": { c: [ID, ID, ID, ID], source: "in-memory.text" },
  "inMemoryModelWithDescriptor:": { c: [ID, ID], source: "in-memory.classes" },
  hexStringIdentifier: { c: [ID], source: "in-memory.files" },
  "compileWithQoS:options:error:": {
    c: ["bool", QUALITY, ID, ERROR],
    source: "in-memory.quality-of-service",
  },
  "loadWithQoS:options:error:": {
    c: ["bool", QUALITY, ID, ERROR],
    source: "in-memory.quality-of-service",
  },
  "unloadWithQoS:error:": { c: ["bool", QUALITY, ERROR], source: "in-memory.quality-of-service" },
  "objectWithIOSurface:": { c: [ID, ID], source: "in-memory.classes" },
  "requestWithInputs:inputIndices:outputs:outputIndices:weightsBuffer:perfStats:procedureIndex:": {
    c: [ID, ID, ID, ID, ID, ID, ID, ID],
    source: "in-memory.binding-order",
  },
  "evaluateWithQoS:options:request:error:": {
    c: ["bool", QUALITY, ID, ID, ERROR],
    source: "in-memory.quality-of-service",
  },
} as const satisfies Readonly<Record<string, Message>>;
export type Selector = keyof typeof MESSAGES;

export const CLASS_NAMES = [
  "NSString",
  "NSData",
  "NSNumber",
  "NSArray",
  "NSDictionary",
  "_ANEInMemoryModelDescriptor",
  "_ANEInMemoryModel",
  "_ANERequest",
  "_ANEIOSurfaceObject",
] as const;
export type ClassName = (typeof CLASS_NAMES)[number];
