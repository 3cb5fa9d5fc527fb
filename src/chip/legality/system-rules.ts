import { literalOf } from "../../mil/program.ts";
import type { MilFunction } from "../../mil/program.ts";
import { formatType } from "../../mil/types.ts";
import type { Driver } from "../chip.ts";
import type { MacosVersion } from "../system.ts";
import { finding, isForDriver } from "./check.ts";
import type { Finding } from "./check.ts";
import type { RuleText } from "./rule.ts";

/** What one version of the system refuses or changes, whatever the chip can do. */
export interface SystemRule extends Omit<RuleText, "from" | "to"> {
  /** Versions it was seen on; both ends included, absent means open. */
  readonly from?: MacosVersion;
  readonly to?: MacosVersion;
  /** Ops it is about: asked only of functions that have one. Absent means every function. */
  readonly ops?: readonly string[];
  /** What breaks it, or nothing. `used` are those of `ops` that the function has. */
  readonly applies: (
    fn: MilFunction,
    version: MacosVersion,
    used: readonly string[],
  ) => string | undefined;
}

const QWEN = "qwen-ane (M5 Max, macOS 27.0, in-memory)";
const LORA = "ane-lora-training (M4, macOS 15.3.1, in-memory)";

/** The first version of macOS that reads an opset. */
const OPSET_SYSTEMS: Readonly<Record<string, number>> = {
  ios15: 12,
  ios16: 13,
  ios17: 14,
  ios18: 15,
};

/** Surfaces that one request takes. */
export const SURFACES = 128;
/** Ops of a program that the compiler takes for certain: some more crashed it for all processes. */
export const LONGEST_PROGRAM = 380;
/** Programs that one process holds; the next fails with 0x50004. */
const MODELS = 127;
/** Rows of a convolution's result that compiled, and that did not. */
const CHANNELS = { yes: 62_080, no: 124_160 } as const;

function ports(fn: MilFunction): MilFunction["inputs"] {
  return [...fn.inputs, ...fn.outputs];
}

function portsOf(fn: MilFunction, isRefused: (type: string) => boolean): string | undefined {
  const found = ports(fn).filter(({ type }) => type.kind === "tensor" && isRefused(type.dataType));
  return found.length === 0
    ? undefined
    : found.map(({ name, type }) => `${name} is ${formatType(type)}`).join(", ");
}

/** Those of a rule's ops that the function has. */
function usedOps(fn: MilFunction, ops: readonly string[]): readonly string[] {
  return [...new Set(fn.operations.map(({ type }) => type))].filter((type) => ops.includes(type));
}

const named = (used: readonly string[]): string => `it has ${used.join(", ")}`;

/** Blob files that constants come from. */
function weightFiles(fn: MilFunction): ReadonlySet<string> {
  return new Set(
    fn.operations.flatMap(({ outputs: [output] }) => {
      const data = output === undefined ? undefined : literalOf(output)?.data;
      return data?.kind === "blob" ? [data.path] : [];
    }),
  );
}

export const SYSTEM_RULES: readonly SystemRule[] = [
  {
    id: "macos-opset",
    rule: "A version of macOS reads the opsets of its year and before: ios17 from 14, ios18 from 15.",
    symptom: "compile-error",
    severity: "error",
    source: "coremltools: deployment targets",
    remedy: "Convert for the older opset.",
    applies: ({ opset }, version) => {
      const needed = OPSET_SYSTEMS[opset];
      return needed === undefined || needed <= version
        ? undefined
        : `opset ${opset} needs macOS ${needed}, this is ${version}`;
    },
  },
  {
    id: "macos-e5rt",
    rule: "The C interface e5rt is there from macOS 15 on.",
    symptom: "process",
    severity: "error",
    to: 14,
    driver: "e5rt",
    source: "ANEForge: symbols resolve on macOS 15 and later",
    remedy: "Use --ane-driver in-memory.",
    applies: (_fn, version) => `macOS ${version} has no e5rt`,
  },
  {
    id: "macos-27-float-ports",
    rule: "Ports of fp32 are InvalidMILProgram on macOS 27.",
    symptom: "compile-error",
    severity: "handled",
    from: 27,
    driver: "in-memory",
    source: QWEN,
    remedy: "The driver's programs have fp16 ports; the host converts.",
    applies: (fn) => portsOf(fn, (type) => type === "fp32"),
  },
  {
    id: "macos-27-integer-ports",
    rule: "Ports of int8 are InvalidMILProgram on macOS 27.",
    symptom: "compile-error",
    severity: "error",
    from: 27,
    driver: "in-memory",
    source: QWEN,
    remedy: "Give fp16 numbers and quantize inside the program.",
    applies: (fn) => portsOf(fn, (type) => type === "int8" || type === "uint8"),
  },
  {
    id: "macos-27-ops",
    rule: "concat, stack, rsqrt, l2_norm, gather and tile fail on macOS 27 through the in-memory route.",
    symptom: "compile-error",
    severity: "warning",
    from: 27,
    driver: "in-memory",
    source: QWEN,
    contradictedBy:
      "maderix, Espresso and dev-erik compile some, on other chips and older systems: doctor asks each",
    remedy: "Ask the machine: anecdote doctor --group refusals.",
    ops: ["concat", "stack", "rsqrt", "l2_norm", "gather", "tile"],
    applies: (_fn, _version, used) => named(used),
  },
  {
    id: "macos-weight-files",
    rule: "A program's constants come from one file.",
    symptom: "compile-error",
    severity: "handled",
    from: 27,
    driver: "in-memory",
    source: `${QWEN}: several fail with code 10, verifyBundleAtPath`,
    contradictedBy: "qwen-ane's own engine uses two; oMLX 3124 fails on 27.0 and not on 26.6.2",
    remedy: "The drivers write all constants into one file.",
    applies: (fn) => {
      const files = weightFiles(fn);
      return files.size > 1 ? `constants come from ${[...files].join(", ")}` : undefined;
    },
  },
  {
    id: "macos-weight-dictionary",
    rule: "A program without constants is given an empty dictionary of weights, not none.",
    symptom: "wrong-result",
    severity: "handled",
    from: 15,
    driver: "in-memory",
    source: `${LORA}: none breaks programs of matmul and slices`,
    remedy: "The driver passes an empty dictionary.",
    ops: ["matmul", "slice_by_index", "slice_by_size"],
    applies: (fn) =>
      weightFiles(fn).size === 0 ? "it has products or slices and no weights" : undefined,
  },
  {
    id: "macos-surfaces",
    rule: `A request takes at most ${SURFACES} surfaces.`,
    symptom: "evaluation-error",
    severity: "warning",
    driver: "in-memory",
    source: "our caution: told by others, no measurement that can be read was found",
    remedy: "Join ports into fewer, larger ones.",
    applies: (fn) => {
      const count = ports(fn).length;
      return count > SURFACES ? `it has ${count} inputs and outputs` : undefined;
    },
  },
  {
    id: "macos-27-channels",
    rule: `A convolution of ${CHANNELS.yes} outputs compiles on macOS 27, one of ${CHANNELS.no} does not.`,
    symptom: "compile-error",
    severity: "warning",
    from: 27,
    driver: "in-memory",
    source: QWEN,
    remedy: "Split the outputs over several convolutions.",
    applies: (fn) => {
      for (const { type, outputs } of fn.operations) {
        const result = outputs[0]?.type;
        if (type !== "conv" || result?.kind !== "tensor") continue;
        const channels = Number(result.shape[1]);
        if (channels > CHANNELS.yes) return `"${outputs[0]?.name ?? ""}" has ${channels} outputs`;
      }
      return undefined;
    },
  },
  {
    id: "macos-states",
    rule: "Programs with Core ML states stay off the engine.",
    symptom: "compile-error",
    severity: "error",
    from: 15,
    source: "onnxsim 1443",
    remedy: "Give the state as an input and take it as an output.",
    ops: ["read_state", "coreml_update_state"],
    applies: (_fn, _version, used) => named(used),
  },
];

/** Limits that hold for processes and not for a program; `check` tells them beside its findings. */
export const SYSTEM_NOTES: readonly string[] = [
  `${MODELS} programs a process in memory (${QWEN}); 128 through e5rt (ANEForge); 239 on iOS (ANE-Training-iPhone)`,
  "compiled programs have a budget that all processes share until a restart after long loops of evaluations (slavko); processes of Anecdote count theirs together and refuse by name (ANECDOTE_ANE_MACHINE_PROGRAMS)",
  `387 to 392 layers of elementwise ops crash or hang the compiler service for all processes on h18g; keep below ${LONGEST_PROGRAM} (study of M6)`,
];

/** Rules of a system's version that a function breaks, through a driver. */
export function checkSystem(
  fn: MilFunction,
  version: MacosVersion,
  driver: Driver,
): readonly Finding[] {
  return SYSTEM_RULES.filter(
    (rule) =>
      isForDriver(rule, driver) &&
      (rule.from === undefined || version >= rule.from) &&
      (rule.to === undefined || version <= rule.to),
  ).flatMap((rule) => {
    const used = rule.ops === undefined ? [] : usedOps(fn, rule.ops);
    if (rule.ops !== undefined && used.length === 0) return [];
    const detail = rule.applies(fn, version, used);
    return detail === undefined ? [] : [finding(rule, fn.name, detail)];
  });
}
