import { literalOf } from "../../mil/program.ts";
import type { MilFunction } from "../../mil/program.ts";
import { byteLengthOf, isFloat } from "../../mil/types.ts";
import type { TensorType } from "../../mil/types.ts";
import type { Plan } from "../../plan/plan.ts";
import type { FunctionRule, PlanRule } from "./rule.ts";

const GIB = 2 ** 30;

function tensors(
  values: MilFunction["inputs"],
): readonly { readonly name: string; readonly type: TensorType }[] {
  return values.flatMap(({ name, type }) => (type.kind === "tensor" ? [{ name, type }] : []));
}

const ports = (fn: MilFunction) => tensors([...fn.inputs, ...fn.outputs]);

function sizes(fn: MilFunction): readonly number[] {
  return ports(fn)
    .filter(({ type }) => !type.shape.includes("?"))
    .map(({ type }) => byteLengthOf(type));
}

/** Bytes of constants, blobs counted by their type. */
export function constantBytes(fn: MilFunction): number {
  let total = 0;
  for (const operation of fn.operations) {
    const [output] = operation.outputs;
    if (operation.type !== "const" || output === undefined) continue;
    const literal = literalOf(output);
    if (
      literal?.type.kind === "tensor" &&
      literal.type.dataType !== "string" &&
      !literal.type.shape.includes("?")
    )
      total += byteLengthOf(literal.type);
  }
  return total;
}

function constantsBeyond(fn: MilFunction, limit: number): string | undefined {
  const bytes = constantBytes(fn);
  return bytes > limit ? `${(bytes / GIB).toFixed(2)} GiB of constants` : undefined;
}

/** Programs of a plan, where they are more than a process takes. */
const programsBeyond = ({ programs }: Plan, limit: number): string | undefined =>
  programs.size > limit ? `${programs.size} programs` : undefined;

export const FUNCTION_RULES: readonly FunctionRule[] = [
  {
    id: "symbolic",
    rule: "Every size is known when the program is compiled.",
    symptom: "compile-error",
    severity: "error",
    source: "ANEForge: symbolic sizes parse but do not compile",
    remedy: "Give every dimension a size; one program a bucket.",
    applies: (fn) => {
      const open = tensors(fn.inputs).find(({ type }) => type.shape.includes("?"));
      return open && `input ${open.name} is [${open.type.shape.join(", ")}]`;
    },
  },
  {
    id: "port-type-e5rt",
    rule: "Inputs and outputs are fp16, int8, uint8, int16 or uint16.",
    symptom: "compile-error",
    severity: "error",
    driver: "e5rt",
    source: "ANEForge: fp32, int32, bf16 and bool are refused at I/O",
    remedy: "Convert on the host.",
    applies: (fn) => {
      const wrong = ports(fn).find(
        ({ type }) => !["fp16", "int8", "uint8", "int16", "uint16"].includes(type.dataType),
      );
      return wrong && `${wrong.name} is ${wrong.type.dataType}`;
    },
  },
  {
    id: "port-type-in-memory",
    rule: "Inputs and outputs are fp16, or fp32 that is cast at once.",
    symptom: "compile-error",
    severity: "error",
    driver: "in-memory",
    source: "maderix, Orion, Espresso",
    remedy: "Convert on the host.",
    applies: (fn) => {
      const wrong = ports(fn).find(
        ({ type }) =>
          !isFloat(type.dataType) || (type.dataType !== "fp16" && type.dataType !== "fp32"),
      );
      return wrong && `${wrong.name} is ${wrong.type.dataType}`;
    },
  },
  {
    id: "port-rank-0",
    rule: "Inputs and outputs have at least one axis.",
    symptom: "compile-error",
    severity: "warning",
    source: "our caution: nobody published a program with a scalar port",
    remedy: "Use shape [1].",
    applies: (fn) => {
      const scalar = ports(fn).find(({ type }) => type.shape.length === 0);
      return scalar && `${scalar.name} has no axis`;
    },
  },
  {
    id: "empty-body",
    rule: "A function does not return one of its inputs.",
    symptom: "process",
    severity: "error",
    source: 'ANEForge 116: the compiler crashes ("unordered_map::at")',
    remedy: "Multiply by 1.",
    applies: (fn) => {
      const inputs = new Set(fn.inputs);
      const same = fn.outputs.find((output) => inputs.has(output));
      return same && `output ${same.name} is an input`;
    },
  },
  {
    id: "lane-width",
    rule: "The last axis of inputs and outputs is at least 32 long.",
    symptom: "evaluation-error",
    severity: "warning",
    driver: "in-memory",
    source: "Espresso and field guide, M3 Max: widths 1, 8 and 16 fail with 0x9 or 0x1d",
    remedy: "Pad the last axis to 32.",
    contradictedBy: "Orion's 768 x 16 surfaces work on M4 Max",
    applies: (fn) => {
      const narrow = ports(fn).find(
        ({ type }) => typeof type.shape.at(-1) === "number" && Number(type.shape.at(-1)) < 32,
      );
      return narrow && `${narrow.name} is [${narrow.type.shape.join(", ")}]`;
    },
  },
  {
    id: "constants",
    rule: "A program holds at most 2 GiB of constants.",
    symptom: "compile-error",
    severity: "error",
    source: "ANEForge 45: 2 GB compile, 3.4 GB fail",
    remedy: "Split the program, or pass weights as inputs.",
    applies: (fn) => constantsBeyond(fn, 2 * GIB),
  },
  {
    id: "bank",
    rule: "A program's constants fit the engine's window: 1 GiB on M1 Ultra was safe, 3.75 GiB was not.",
    symptom: "evaluation-error",
    severity: "warning",
    to: "H13",
    driver: "in-memory",
    source: "oMLX, M1 Ultra (0x20004)",
    remedy: "Split the program.",
    applies: (fn) => constantsBeyond(fn, GIB),
  },
  {
    id: "surface-minimum",
    rule: "Surfaces are allocated with at least 49152 bytes.",
    symptom: "evaluation-error",
    severity: "handled",
    driver: "in-memory",
    source: "Orion 4, M4 Max",
    remedy: "The engine allocates at least that much.",
    applies: (fn) => {
      const small = sizes(fn).find((bytes) => bytes < 49152);
      return small === undefined ? undefined : `a surface of ${small} bytes`;
    },
  },
  {
    id: "surface-equal",
    rule: "All inputs' surfaces have one size, and all outputs' one.",
    symptom: "evaluation-error",
    severity: "handled",
    driver: "in-memory",
    source: "Orion 2 and 12, M4 Max (0x1d)",
    remedy: "The engine allocates the largest size for all.",
    contradictedBy:
      "maderix issue 47 (M1): inputs ascending, outputs descending; maderix tests with unequal inputs",
    applies: (fn) =>
      new Set(tensors(fn.inputs).map(({ type }) => type.shape.join())).size > 1
        ? "inputs of several sizes"
        : undefined,
  },
  {
    id: "binding-order",
    rule: "Inputs and outputs are bound in alphabetical order of their names.",
    symptom: "wrong-result",
    severity: "handled",
    driver: "in-memory",
    source: "Orion 3 and 13, Espresso",
    remedy: "The engine sorts by name.",
    applies: (fn) => {
      const names = fn.inputs.map(({ name }) => name);
      return names.join() === [...names].sort().join()
        ? undefined
        : "inputs are declared in another order";
    },
  },
];

export const PLAN_RULES: readonly PlanRule[] = [
  {
    id: "program-cap-e5rt",
    rule: "A process loads at most 128 programs.",
    symptom: "process",
    severity: "error",
    driver: "e5rt",
    source: "ANEForge: the 129th fails to load; releasing frees a slot",
    remedy: "Compile one program a stage and dispatch it once a layer.",
    applies: (plan) => programsBeyond(plan, 128),
  },
  {
    id: "program-cap-in-memory",
    rule: "A process compiles about 119 programs.",
    symptom: "process",
    severity: "error",
    driver: "in-memory",
    source: "maderix, Orion 5, axiom (115)",
    remedy: "Compile one program a stage and dispatch it once a layer.",
    contradictedBy:
      "field guide: 226 loaded on M3 Max, macOS 26.3.1; maderix 54: a leak of the wrapper class",
    applies: (plan) => programsBeyond(plan, 115),
  },
  {
    id: "aliasing",
    rule: "One surface is not input and output of the same call.",
    symptom: "evaluation-error",
    severity: "handled",
    driver: "in-memory",
    source: "Espresso, M3 Max (0x9)",
    remedy: "The engine gives such outputs a surface of their own and swaps.",
    applies: (plan) => {
      for (const dispatches of plan.sections.values()) {
        for (const dispatch of dispatches) {
          const read = new Set([...dispatch.inputs.values()].map(({ buffer }) => buffer));
          for (const output of dispatch.outputs.values()) {
            if (read.has(output.buffer)) return `${dispatch.label}: ${output.buffer}`;
          }
        }
      }
      return undefined;
    },
  },
];
