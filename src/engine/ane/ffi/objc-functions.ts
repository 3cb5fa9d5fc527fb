import type { AssumptionId } from "../assumptions.ts";
import type { Pointer } from "../../../ffi/foreign.ts";

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

/** A private class whose messages a system may lack: `+` for messages to the class, `-` to its instances. */
type Target = `${"+" | "-"}${PrivateClassName}`;

interface Message {
  /** Type of the result, then of the operands after receiver and selector. */
  readonly c: readonly [result: string, ...operands: readonly string[]];
  readonly source: AssumptionId;
  /** Whoever must answer it. Absent for classes that every macOS has. */
  readonly to?: Target;
}

const ID = "void *";
const ERROR = "_Out_ void **";
const QUALITY = "uint32_t";

/** Every message that is sent: `objc_msgSend` has one prototype for each. */
export const MESSAGES = {
  "instancesRespondToSelector:": { c: ["bool", ID], source: "in-memory.selectors" },
  "respondsToSelector:": { c: ["bool", ID], source: "in-memory.selectors" },
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
  "fileURLWithPath:isDirectory:": { c: [ID, ID, "bool"], source: "in-memory.client-compile" },
  description: { c: [ID], source: "in-memory.text" },
  "modelWithMILText:weights:optionsPlist:": {
    c: [ID, ID, ID, ID],
    source: "in-memory.text",
    to: "+_ANEInMemoryModelDescriptor",
  },
  "inMemoryModelWithDescriptor:": {
    c: [ID, ID],
    source: "in-memory.classes",
    to: "+_ANEInMemoryModel",
  },
  hexStringIdentifier: { c: [ID], source: "in-memory.files", to: "-_ANEInMemoryModel" },
  "compileWithQoS:options:error:": {
    c: ["bool", QUALITY, ID, ERROR],
    source: "in-memory.quality-of-service",
    to: "-_ANEInMemoryModel",
  },
  "loadWithQoS:options:error:": {
    c: ["bool", QUALITY, ID, ERROR],
    source: "in-memory.quality-of-service",
    to: "-_ANEInMemoryModel",
  },
  "unloadWithQoS:error:": {
    c: ["bool", QUALITY, ERROR],
    source: "in-memory.quality-of-service",
    to: "-_ANEInMemoryModel",
  },
  "evaluateWithQoS:options:request:error:": {
    c: ["bool", QUALITY, ID, ID, ERROR],
    source: "in-memory.quality-of-service",
    to: "-_ANEInMemoryModel",
  },
  "objectWithIOSurface:": { c: [ID, ID], source: "in-memory.classes", to: "+_ANEIOSurfaceObject" },
  "requestWithInputs:inputIndices:outputs:outputIndices:weightsBuffer:perfStats:procedureIndex:": {
    c: [ID, ID, ID, ID, ID, ID, ID, ID],
    source: "in-memory.binding-order",
    to: "+_ANERequest",
  },
  sharedConnection: { c: [ID], source: "in-memory.client", to: "+_ANEClient" },
  alloc: { c: [ID], source: "in-memory.direct", to: "+_ANEClient" },
  "initWithRestrictedAccessAllowed:": {
    c: [ID, "bool"],
    source: "in-memory.direct",
    to: "-_ANEClient",
  },
  "modelAtURL:key:": { c: [ID, ID, ID], source: "in-memory.client-compile", to: "+_ANEModel" },
  "compileModel:options:qos:error:": {
    c: ["bool", ID, ID, QUALITY, ERROR],
    source: "in-memory.client-compile",
    to: "-_ANEClient",
  },
  "loadModel:options:qos:error:": {
    c: ["bool", ID, ID, QUALITY, ERROR],
    source: "in-memory.client-compile",
    to: "-_ANEClient",
  },
  "unloadModel:options:qos:error:": {
    c: ["bool", ID, ID, QUALITY, ERROR],
    source: "in-memory.client-compile",
    to: "-_ANEClient",
  },
  "evaluateWithModel:options:request:qos:error:": {
    c: ["bool", ID, ID, ID, QUALITY, ERROR],
    source: "in-memory.client",
    to: "-_ANEClient",
  },
  "doEvaluateDirectWithModel:options:request:qos:error:": {
    c: ["bool", ID, ID, ID, QUALITY, ERROR],
    source: "in-memory.direct",
    to: "-_ANEClient",
  },
} as const satisfies Readonly<Record<string, Message>>;
export type Selector = keyof typeof MESSAGES;

/** Classes without which nothing runs. */
export const CLASS_NAMES = [
  "NSString",
  "NSData",
  "NSNumber",
  "NSArray",
  "NSDictionary",
  "NSURL",
  "_ANERequest",
  "_ANEIOSurfaceObject",
] as const;
/** Classes that some ways need (in-memory/routes.ts). */
export const ROUTE_CLASS_NAMES = [
  "_ANEInMemoryModelDescriptor",
  "_ANEInMemoryModel",
  "_ANEClient",
  "_ANEModel",
] as const;
export type ClassName = (typeof CLASS_NAMES | typeof ROUTE_CLASS_NAMES)[number];
type PrivateClassName = Extract<ClassName, `_ANE${string}`>;
