import type { Driver } from "../../chip/chip.ts";
import {
  CLASS_NAMES,
  E5RT_FUNCTIONS,
  MESSAGES,
  NEURAL_ENGINE_FRAMEWORK,
  OBJC_LIBRARIES,
  ROUTE_CLASS_NAMES,
} from "../../engine/ane/probe.ts";
import type { AneLibrary, ClassName } from "../../engine/ane/probe.ts";
import { foreign, openLibrary, optionalFunction } from "../../ffi/foreign.ts";
import type { ForeignFunction } from "../../ffi/foreign.ts";
import { held, notHeld, unknown } from "./probe.ts";
import type { Probe } from "./probe.ts";

const LIBOBJC = "/usr/lib/libobjc.A.dylib";

const pathOf = (library: AneLibrary, systemPath: string): string =>
  library.isNamed ? library.path : systemPath;

const means = (what: string): Probe["means"] => ({
  held: `The driver can use ${what}.`,
  "did not hold": `The driver cannot work without ${what} and says so before it starts.`,
  unknown: `Whether the driver can use ${what} is not known.`,
});

/** What these probes have in common, */
const SYMBOL = {
  group: "symbols",
  failure: "did not hold",
  level: "quick",
  means: means("it"),
} as const;

/** and those that only look something up: many are asked in one process. */
const LOOKED_UP = { ...SYMBOL, batch: "symbols", expectedMs: 5 } as const;

function libraryProbe(id: string, driver: Driver, systemPath: string): Probe {
  return {
    id,
    ...SYMBOL,
    title: `${systemPath} opens, without an entitlement`,
    driver,
    source: driver === "e5rt" ? "ANEForge's shim" : "maderix/ANE, Orion, Espresso and ane-infer",
    how: "dlopen",
    needs: [],
    run: async ({ library }) => {
      const path = pathOf(library, systemPath);
      openLibrary(path);
      return held(library.isNamed ? `${path} stands for it` : "it opens");
    },
  };
}

/** A function that is looked up and not called. */
function functionProbe(
  name: string,
  prototype: string,
  driver: Driver,
  systemPath: string,
  needs: readonly string[],
): Probe {
  return {
    id: `symbol.${name}`,
    ...LOOKED_UP,
    title: `function ${name}`,
    driver,
    source: "the driver calls it",
    how: "dlsym",
    needs,
    run: async ({ library }) =>
      optionalFunction(pathOf(library, systemPath), prototype) === undefined
        ? notHeld("it is not there")
        : held("it is there"),
  };
}

function classProbe(name: ClassName): Probe {
  return {
    id: `class.${name}`,
    ...LOOKED_UP,
    title: `class ${name}`,
    driver: "in-memory",
    source: "the driver sends it messages",
    how: "objc_getClass",
    needs: ["in-memory.library", "symbol.objc_getClass"],
    run: async ({ library }) => {
      openLibrary(pathOf(library, NEURAL_ENGINE_FRAMEWORK));
      const getClass = optionalFunction(
        pathOf(library, LIBOBJC),
        OBJC_LIBRARIES[LIBOBJC].objc_getClass,
      );
      const found = getClass?.(name) ?? null;
      return found === null ? notHeld("it is not there") : held("it is there");
    },
  };
}

/** Messages that a system may lack, with the class that must answer and whether itself or its instances. */
const PRIVATE_MESSAGES = Object.entries(
  MESSAGES as Readonly<Record<string, { readonly to?: string }>>,
).flatMap(([selector, { to }]) =>
  to === undefined
    ? []
    : [{ selector, to, receiver: to.slice(1), isClassMessage: to.startsWith("+") }],
);

function messageProbe({
  selector,
  to,
  receiver,
  isClassMessage,
}: (typeof PRIVATE_MESSAGES)[number]): Probe {
  return {
    id: `message.${to}.${selector}`,
    ...LOOKED_UP,
    title: `${to.slice(0, 1)}[${receiver} ${selector}]`,
    driver: "in-memory",
    source: "the driver sends it",
    how: "asks the class; the type encoding of the method is recorded where the runtime tells it",
    needs: [`class.${receiver}`],
    run: async ({ library }) => {
      openLibrary(pathOf(library, NEURAL_ENGINE_FRAMEWORK));
      const runtime = pathOf(library, LIBOBJC);
      const { objc_getClass, sel_registerName } = OBJC_LIBRARIES[LIBOBJC];
      const getClass = optionalFunction(runtime, objc_getClass);
      const getSelector = optionalFunction(runtime, sel_registerName);
      const ask = optionalFunction(runtime, "bool objc_msgSend(void *, void *, void *)");
      if (getClass === undefined || getSelector === undefined || ask === undefined) {
        return unknown(`${runtime} lacks the functions that tell of methods`);
      }
      const type = getClass(receiver);
      const question = isClassMessage ? "respondsToSelector:" : "instancesRespondToSelector:";
      if (ask(type, getSelector(question), getSelector(selector)) !== true)
        return notHeld("nobody answers it");
      const getMethod = optionalFunction(
        runtime,
        `void *class_get${isClassMessage ? "Class" : "Instance"}Method(void *, void *)`,
      );
      const getEncoding = optionalFunction(runtime, "const char *method_getTypeEncoding(void *)");
      const method = getMethod?.(type, getSelector(selector)) as bigint | null | undefined;
      const encoding = typeof method === "bigint" ? encodingOf(getEncoding, method) : undefined;
      return held(encoding === undefined ? "it is answered" : `it is answered, as ${encoding}`, {
        ...(encoding !== undefined && { encoding }),
      });
    },
  };
}

function encodingOf(get: ForeignFunction | undefined, method: bigint): string | undefined {
  const encoding = get?.(method);
  return typeof encoding === "string" ? encoding : undefined;
}

const koffiProbe = (driver: Driver): Probe => ({
  ...SYMBOL,
  id: `${driver}.koffi`,
  title: "koffi loads: functions can be called at all",
  driver,
  source: "npm",
  how: "require",
  means: means("foreign functions"),
  needs: [],
  run: async () => held(`koffi ${foreign().version}`),
});

const ESPRESSO = "/System/Library/PrivateFrameworks/Espresso.framework/Espresso";

export const SYMBOL_PROBES: readonly Probe[] = [
  koffiProbe("e5rt"),
  koffiProbe("in-memory"),
  {
    ...libraryProbe("e5rt.library", "e5rt", ESPRESSO),
    assumption: "e5rt.library",
    needs: ["e5rt.koffi"],
  },
  {
    ...libraryProbe("in-memory.library", "in-memory", NEURAL_ENGINE_FRAMEWORK),
    needs: ["in-memory.koffi"],
  },
  ...Object.entries(E5RT_FUNCTIONS).map(([name, { c }]) =>
    functionProbe(name, c, "e5rt", ESPRESSO, ["e5rt.library"]),
  ),
  ...Object.entries(OBJC_LIBRARIES).flatMap(([path, prototypes]) =>
    Object.entries(prototypes as Readonly<Record<string, string>>).map(([name, c]) =>
      functionProbe(name, c, "in-memory", path, ["in-memory.library"]),
    ),
  ),
  ...[...CLASS_NAMES, ...ROUTE_CLASS_NAMES].map(classProbe),
  ...PRIVATE_MESSAGES.map(messageProbe),
];
