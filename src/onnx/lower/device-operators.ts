import type { DataType } from "../../mil/types.ts";

/** What a substitute needs of the place where it is written. */
interface Site {
  node(opType: string, inputs: readonly string[]): string;
  cast(value: string, type: DataType): string;
  scalar(value: number, type: DataType): string;
  type(name: string): DataType;
}

type Substitute = (site: Site, inputs: readonly string[]) => string;

/**
 * Operators that ONNX Runtime's WebGPU provider (1.30) has no kernel for, as nodes for which it has one. Each gives what
 * the operator gives, to the bit; Mod has no such form, since a quotient that is rounded up changes the remainder.
 */
const SUBSTITUTES: Readonly<Record<string, Substitute>> = {
  Or: (site, inputs) => {
    const neither = inputs.map((input) => site.node("Not", [input]));
    return site.node("Not", [site.node("And", neither)]);
  },
  Xor: (site, inputs) => {
    const numbers = inputs.map((input) => site.cast(input, "int32"));
    return site.node("Not", [site.node("Equal", numbers)]);
  },
  Softsign: (site, [x = ""]) => {
    const one = site.scalar(1, "fp32");
    return site.node("Div", [x, site.node("Add", [one, site.node("Abs", [x])])]);
  },
  Sign: (site, [x = ""]) => {
    const type = site.type("x");
    const zero = site.scalar(0, type);
    const choose = (comparison: string, value: number, otherwise: string): string =>
      site.node("Where", [site.node(comparison, [x, zero]), site.scalar(value, type), otherwise]);
    // What is neither, zeros of both signs and NaN, stays what it is.
    return choose("Greater", 1, choose("Less", -1, x));
  },
  Round: (site, [x = ""]) => {
    const [zero, one, two, half] = [0, 1, 2, 0.5].map((value) => site.scalar(value, "fp32"));
    if (zero === undefined || one === undefined || two === undefined || half === undefined)
      return x;
    const below = site.node("Floor", [x]);
    const above = site.node("Sub", [x, below]);
    const pairs = site.node("Floor", [site.node("Div", [below, two])]);
    // 1 where the number below is odd: a half goes to the even one.
    const odd = site.node("Sub", [below, site.node("Mul", [pairs, two])]);
    const step = site.node("Where", [site.node("Equal", [above, half]), odd, zero]);
    const isNearer = site.node("Greater", [above, half]);
    return site.node("Add", [below, site.node("Where", [isNearer, one, step])]);
  },
};

export function substituteFor(opType: string): Substitute | undefined {
  return Object.hasOwn(SUBSTITUTES, opType) ? SUBSTITUTES[opType] : undefined;
}
