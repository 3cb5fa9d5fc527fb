import type { AssumptionId } from "../assumptions.ts";
import type { ObjectPointer, Selector } from "../ffi/objc-functions.ts";
import type { Attempt } from "./attempt.ts";

/** Assumption `in-memory.quality-of-service`. */
export const QUALITY = 21;

/** Which connection to the system's daemon a way speaks through. */
export type ClientKind = "none" | "shared" | "restricted";

interface Route {
  readonly client: ClientKind;
  /** Messages that it cannot do without. */
  readonly selectors: readonly Selector[];
  readonly source: AssumptionId;
}

/** What a compiled program's messages are about. */
export interface Receivers {
  /** An `_ANEInMemoryModel`, or an `_ANEModel` where a client compiled it. */
  readonly model: ObjectPointer<"model">;
  readonly client: ObjectPointer<"_ANEClient"> | undefined;
  /** An empty dictionary. */
  readonly noOptions: ObjectPointer<"NSDictionary">;
  /** What tells a client that the folder holds MIL; empty for an in-memory model. */
  readonly compileOptions: ObjectPointer<"NSDictionary">;
}

interface CompilationRow extends Route {
  readonly compile: (receivers: Receivers) => Attempt;
  readonly load: (receivers: Receivers) => Attempt;
  readonly unload: (receivers: Receivers) => Attempt;
}

interface EvaluationRow extends Route {
  /** Which compiled models it takes. */
  readonly compiledBy: readonly CompilationRoute[];
  readonly evaluate: (receivers: Receivers, request: ObjectPointer) => Attempt;
}

export const COMPILATION_NAMES = ["model", "client"] as const;
export type CompilationRoute = (typeof COMPILATION_NAMES)[number];
export const EVALUATION_NAMES = ["model", "client", "direct"] as const;
export type EvaluationRoute = (typeof EVALUATION_NAMES)[number];

const attempt = (
  receiver: ObjectPointer | undefined,
  selector: Selector,
  ...operands: Attempt["operands"]
): Attempt => ({ receiver: receiver ?? null, selector, operands });

/** Ways to a loaded program, best known first. */
export const COMPILATION_ROUTES: Readonly<Record<CompilationRoute, CompilationRow>> = {
  model: {
    client: "none",
    selectors: [
      "modelWithMILText:weights:optionsPlist:",
      "inMemoryModelWithDescriptor:",
      "hexStringIdentifier",
      "compileWithQoS:options:error:",
      "loadWithQoS:options:error:",
      "unloadWithQoS:error:",
    ],
    source: "in-memory.text",
    compile: ({ model, noOptions }) =>
      attempt(model, "compileWithQoS:options:error:", QUALITY, noOptions),
    load: ({ model, noOptions }) =>
      attempt(model, "loadWithQoS:options:error:", QUALITY, noOptions),
    unload: ({ model }) => attempt(model, "unloadWithQoS:error:", QUALITY),
  },
  client: {
    client: "shared",
    selectors: [
      "sharedConnection",
      "modelAtURL:key:",
      "compileModel:options:qos:error:",
      "loadModel:options:qos:error:",
      "unloadModel:options:qos:error:",
    ],
    source: "in-memory.client-compile",
    compile: ({ client, model, compileOptions }) =>
      attempt(client, "compileModel:options:qos:error:", model, compileOptions, QUALITY),
    load: ({ client, model, compileOptions }) =>
      attempt(client, "loadModel:options:qos:error:", model, compileOptions, QUALITY),
    unload: ({ client, model, noOptions }) =>
      attempt(client, "unloadModel:options:qos:error:", model, noOptions, QUALITY),
  },
};

/** Ways to run a loaded program, best known first. */
export const EVALUATION_ROUTES: Readonly<Record<EvaluationRoute, EvaluationRow>> = {
  model: {
    client: "none",
    selectors: ["evaluateWithQoS:options:request:error:"],
    source: "in-memory.quality-of-service",
    compiledBy: ["model"],
    evaluate: ({ model, noOptions }, request) =>
      attempt(model, "evaluateWithQoS:options:request:error:", QUALITY, noOptions, request),
  },
  client: {
    client: "shared",
    selectors: ["sharedConnection", "evaluateWithModel:options:request:qos:error:"],
    source: "in-memory.client",
    compiledBy: ["model", "client"],
    evaluate: ({ client, model, noOptions }, request) =>
      attempt(
        client,
        "evaluateWithModel:options:request:qos:error:",
        model,
        noOptions,
        request,
        QUALITY,
      ),
  },
  direct: {
    client: "restricted",
    selectors: [
      "alloc",
      "initWithRestrictedAccessAllowed:",
      "doEvaluateDirectWithModel:options:request:qos:error:",
    ],
    source: "in-memory.direct",
    compiledBy: ["model", "client"],
    evaluate: ({ client, model, noOptions }, request) =>
      attempt(
        client,
        "doEvaluateDirectWithModel:options:request:qos:error:",
        model,
        noOptions,
        request,
        QUALITY,
      ),
  },
};
