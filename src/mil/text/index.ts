export { parseProgram } from "./parser.ts";
export type { ParseOptions } from "./parser.ts";
export { printLiteral, printProgram, printType, RUNTIME_BUILD_INFO } from "./printer.ts";
export type { PrintOptions } from "./printer.ts";
export { MilSyntaxError } from "./syntax-error.ts";
