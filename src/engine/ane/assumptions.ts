import type { Driver } from "../../chip/chip.ts";

/**
 * How well something is known. `measured`: on silicon, by the source. `read`: in the source's code that runs on
 * silicon. `claimed`: in prose. `inferred`: our own conclusion. `contradicted`: sources disagree; the value here is
 * the one we act on.
 */
export type Evidence = "measured" | "read" | "claimed" | "inferred" | "contradicted";

export interface Assumption {
  readonly says: string;
  readonly evidence: Evidence;
  readonly source: string;
  readonly driver: Driver | "both";
  /** Where a source saw something else. */
  readonly contradictedBy?: string;
}

const ANEFORGE_SHIM = "ANEForge (github.com/sbryngelson/ANEForge), Objective-C++ shim";
const ANEFORGE_DOCS = "ANEForge documentation";
const BRIDGES = "maderix/ANE, Orion, Espresso and ane-infer (public repositories)";
const ORION_TESTS = "Orion's tests on M4 Max, macOS 15";
const ANEFORGE_BENCH = "ANEForge measurements on M1 to M6, macOS 15.6 to 27.0";

/**
 * Everything the drivers take for granted about the real thing, none of which this project could try on a Mac.
 * Code names an entry where it relies on it; the self-test on a Mac re-checks them one by one.
 */
export const ASSUMPTIONS = {
  "e5rt.library": {
    says: "e5rt_* are plain C functions of /System/Library/PrivateFrameworks/Espresso.framework/Espresso and need no entitlement",
    evidence: "read",
    source: ANEFORGE_SHIM,
    driver: "e5rt",
  },
  "e5rt.status": {
    says: "functions return a signed 64-bit code; 0 is success",
    evidence: "read",
    source: ANEFORGE_SHIM,
    driver: "e5rt",
  },
  "e5rt.out-first": {
    says: "create and alloc take the out pointer first; compile, retain and get take it last",
    evidence: "contradicted",
    source: ANEFORGE_SHIM,
    contradictedBy: "the preamble of the shim's own header says out pointers go last",
    driver: "e5rt",
  },
  "e5rt.release-address": {
    says: "release functions take the address of the handle",
    evidence: "read",
    source: ANEFORGE_SHIM,
    driver: "e5rt",
  },
  "e5rt.error-text": {
    says: "the readable reason of a failure is only written to stderr",
    evidence: "read",
    source: ANEFORGE_SHIM,
    driver: "e5rt",
  },
  "e5rt.mask": {
    says: "device mask 0x4 is the Neural Engine alone: what it cannot run fails to compile instead of falling back",
    evidence: "measured",
    source: ANEFORGE_BENCH,
    driver: "e5rt",
  },
  "e5rt.segmenter": {
    says: 'the segmenter option is "graph"',
    evidence: "read",
    source: ANEFORGE_SHIM,
    driver: "e5rt",
  },
  "e5rt.weights-path": {
    says: "constants stand in weights.bin beside model.mil, named @model_path/weights.bin and the offset of the blob's descriptor",
    evidence: "contradicted",
    source: "ANEForge compiler",
    contradictedBy: "two ANEForge pages say that e5rt takes no weight files",
    driver: "e5rt",
  },
  "e5rt.cache-reuse": {
    says: "without forced recompilation, compile takes what the cache folder already holds",
    evidence: "inferred",
    source: "the option's name; ANEForge always forces recompilation",
    driver: "e5rt",
  },
  "e5rt.cache-process": {
    says: "a bundle another process compiled may be refused; compiling again with force helps",
    evidence: "claimed",
    source: ANEFORGE_DOCS,
    driver: "e5rt",
  },
  "e5rt.function-name": {
    says: 'the function and the operation are named "main"; ports are named as the MIL parameters and results',
    evidence: "read",
    source: ANEFORGE_SHIM,
    driver: "e5rt",
  },
  "e5rt.many-operations": {
    says: "one program function makes several operations, each with ports of its own",
    evidence: "inferred",
    source:
      "the API's split of functions and operations; ANEForge compiles one library an operation",
    driver: "e5rt",
  },
  "e5rt.release-early": {
    says: "compiler, its configuration and its options may be released once the operation exists",
    evidence: "read",
    source: ANEFORGE_SHIM,
    driver: "e5rt",
  },
  "e5rt.buffer": {
    says: "buffer objects of type 0 are plain memory at a stable address, sized up to a multiple of 64 bytes, at least 64",
    evidence: "measured",
    source: ANEFORGE_BENCH,
    driver: "e5rt",
  },
  "e5rt.shared-buffer": {
    says: "one buffer object may be bound to an output port of one operation and to input ports of others",
    evidence: "inferred",
    source: "ANEForge binds one buffer object to an output and an input port of the same operation",
    driver: "e5rt",
  },
  "e5rt.event-name": {
    says: "an operation's completion event has a name, is bound before encoding, and binding it may fail without harm",
    evidence: "read",
    source: ANEFORGE_SHIM,
    driver: "e5rt",
  },
  "e5rt.stream-order": {
    says: "operations encoded on one stream run one after the other in the order of encoding",
    evidence: "measured",
    source: ANEFORGE_BENCH,
    driver: "e5rt",
  },
  "e5rt.execute-thread": {
    says: "execute_sync may be called from another thread than the one that made the stream, one call at a time",
    evidence: "inferred",
    source: "ANEForge promises no thread safety a program and keeps one dispatch in flight",
    driver: "e5rt",
  },
  "e5rt.dense-ports": {
    says: "port memory is dense and row-major in the declared shape",
    evidence: "read",
    source: ANEFORGE_SHIM,
    driver: "e5rt",
  },
  "e5rt.program-cap": {
    says: "a process loads at most 128 programs; each operation counts as one; releasing frees its place at once",
    evidence: "contradicted",
    source: `${ANEFORGE_BENCH}; that operations of one function count one by one is our cautious reading`,
    contradictedBy: "other projects see 110 to 226 loaded programs, depending on the system",
    driver: "e5rt",
  },
  "e5rt.release-order": {
    says: "stream, then each operation's ports, its event, the operation, its options, function, library; buffers outlive the ports they were bound to",
    evidence: "inferred",
    source: `${ANEFORGE_SHIM}, which releases each buffer just before its port`,
    driver: "e5rt",
  },
  "in-memory.classes": {
    says: "AppleNeuralEngine.framework has _ANEInMemoryModelDescriptor, _ANEInMemoryModel, _ANERequest and _ANEIOSurfaceObject, and needs no entitlement",
    evidence: "read",
    source: BRIDGES,
    driver: "in-memory",
  },
  "in-memory.text": {
    says: "the MIL text is given as NSData, the weights as a dictionary that is never nil, the options as nil",
    evidence: "measured",
    source: ORION_TESTS,
    driver: "in-memory",
  },
  "in-memory.files": {
    says: "before it compiles, the folder named by hexStringIdentifier in NSTemporaryDirectory holds model.mil and every weight file",
    evidence: "read",
    source: BRIDGES,
    driver: "in-memory",
  },
  "in-memory.no-weights": {
    says: "a program without weights is described with an empty dictionary of weights, also one of a product and a slice",
    evidence: "measured",
    source:
      "jmanhype/ane-lora-training, M4, macOS 15.3.1: nothing in its place breaks programs with matmul and slices",
    driver: "in-memory",
  },
  "in-memory.weight-files": {
    says: "the constants of a program stand in one weight file; several files in one program are refused",
    evidence: "contradicted",
    source: "True2456/qwen-ane, M5 Max, macOS 27.0: Code=10 verifyBundleAtPath",
    contradictedBy: "the same project's engine uses two files",
    driver: "in-memory",
  },
  "in-memory.same-text": {
    says: "two programs of one text and different weights are two programs, each with its own numbers",
    evidence: "contradicted",
    source: BRIDGES,
    contradictedBy:
      "True2456/qwen-ane, M5 Max: the second is taken for the first, which is resident",
    driver: "in-memory",
  },
  "in-memory.quality-of-service": {
    says: "quality of service 21 and empty options compile, load, evaluate and unload",
    evidence: "read",
    source: BRIDGES,
    driver: "in-memory",
  },
  "in-memory.load-retry": {
    says: "loading may fail once for no reason and works after 100 ms",
    evidence: "read",
    source: "maderix/ANE, C bridge",
    driver: "in-memory",
  },
  "in-memory.binding-order": {
    says: "surfaces are bound in the alphabetical order of the MIL names, inputs and outputs each with indices from 0",
    evidence: "measured",
    source: `${ORION_TESTS}; Espresso`,
    driver: "in-memory",
  },
  "in-memory.equal-surfaces": {
    says: "all input surfaces of a program have one size, and all output surfaces",
    evidence: "contradicted",
    source: ORION_TESTS,
    contradictedBy:
      "maderix/ANE issue 47 (M1): inputs ascending and outputs descending; its attention test uses different sizes",
    driver: "in-memory",
  },
  "in-memory.surface-minimum": {
    says: "a surface has at least 49152 bytes",
    evidence: "measured",
    source: ORION_TESTS,
    driver: "in-memory",
  },
  "in-memory.surface-layout": {
    says: "a surface is one row of bytes (height 1, one byte an element, pixel format 0); a larger one than the tensor is read as packed data",
    evidence: "read",
    source: BRIDGES,
    contradictedBy:
      "axiom lays surfaces out as rows of 64 bytes or more; one report wants 128 on M5",
    driver: "in-memory",
  },
  "in-memory.read-lock": {
    says: "the host may lock a surface for reading while an evaluation reads it",
    evidence: "inferred",
    source: "IOSurface's rules for readers of one surface; other projects never do both at once",
    driver: "in-memory",
  },
  "in-memory.surface-keys": {
    says: "the property keys of IOSurfaceCreate are the strings IOSurfaceWidth, IOSurfaceHeight, IOSurfaceBytesPerElement, IOSurfaceBytesPerRow, IOSurfaceAllocSize and IOSurfacePixelFormat",
    evidence: "inferred",
    source: "the names of the constants kIOSurface*",
    driver: "in-memory",
  },
  "in-memory.no-alias": {
    says: "one surface must not be input and output of one request, and requests are never changed",
    evidence: "measured",
    source: "Espresso on M3 Max",
    driver: "in-memory",
  },
  "in-memory.shared-model": {
    says: "several requests with surfaces of their own share one loaded model",
    evidence: "read",
    source: "maderix/ANE, dynamic pipeline",
    driver: "in-memory",
  },
  "in-memory.selectors": {
    says: "the private classes answer +instancesRespondToSelector: and +respondsToSelector: truthfully",
    evidence: "inferred",
    source: "they are NSObject's messages; header dumps show no forwarding in these classes",
    driver: "in-memory",
  },
  "in-memory.client": {
    says: "the client of +[_ANEClient sharedConnection] evaluates a loaded _ANEInMemoryModel: model, options, request, quality of service, error",
    evidence: "measured",
    source:
      "dev-erik/ANE on M4 Max (about as fast as the model's own message); public probes of _ANEClient",
    driver: "in-memory",
  },
  "in-memory.direct": {
    says: "a client made with initWithRestrictedAccessAllowed:YES evaluates directly and takes an _ANEInMemoryModel; it is not used by default",
    evidence: "contradicted",
    source: "ane-infer on M5 (10 % faster); rustane uses it by default",
    contradictedBy:
      "slower on M4 Max (dev-erik/ANE), equal on M3 Max (Espresso); on M3 Ultra throughput falls after 100000 evaluations (rustane)",
    driver: "in-memory",
  },
  "in-memory.client-compile": {
    says: 'a client compiles, loads and unloads an _ANEModel of a folder with model.mil when the options name kANEFModelType "kANEFModelMIL" and kANEFNetPlistFilenameKey "model.mil"; it is not used by default',
    evidence: "contradicted",
    source:
      "our reading of _ANEInMemoryModel's code, which does this with these keys; public probes of _ANEClient on compiled models (dev-erik/ANE), with any key and empty options for loading",
    contradictedBy:
      "dev-erik/ANE: a hand-made _ANEModel wanted model.espresso.net, with options that did not name the type",
    driver: "in-memory",
  },
  "in-memory.threads": {
    says: "objects made on one thread may be compiled, loaded and evaluated on another, one call at a time, each inside an autorelease pool of that thread",
    evidence: "read",
    source: "maderix/ANE, whose second thread compiles while the first evaluates (M4)",
    driver: "in-memory",
  },
  "in-memory.compile-budget": {
    says: "about 119 programs may be compiled in one process",
    evidence: "contradicted",
    source: BRIDGES,
    contradictedBy:
      "the field guide: 226 loaded on macOS 26.3, where releasing programs gave their places back; maderix/ANE issue 54: a leak of _ANEInMemoryModel that compiling through _ANEClient avoids",
    driver: "in-memory",
  },
  "machine-programs": {
    says: "programs that all processes hold at once share one budget, as large as a process's",
    evidence: "contradicted",
    source:
      "ANE-Training (M3 Pro): after long loops the budget of compiled programs is gone for all processes until a restart",
    contradictedBy:
      "qwen-ane (127) and ANEForge (128) give their limits by process, and tried no second one",
    driver: "both",
  },
} as const satisfies Readonly<Record<string, Assumption>>;

export type AssumptionId = keyof typeof ASSUMPTIONS;

/** Programs loaded at once; below 128, since other users of the process may load some too (`e5rt.program-cap`). */
export const LOADED_PROGRAM_LIMIT = 120;

/** Programs that all processes of ours hold together on one machine (`machine-programs`). */
export const MACHINE_PROGRAM_LIMIT = 120;

/** Compilations of one process; others stop at 95 to 115 (`in-memory.compile-budget`). */
export const COMPILE_BUDGET = 100;
/** Bytes (`in-memory.surface-minimum`). */
export const SURFACE_MINIMUM = 49152;
