import type { Chip, Driver } from "../chip/chip.ts";
import { chipWith } from "../chip/calibration.ts";
import { chooseDriver } from "../chip/choose-driver.ts";
import { estimateFunction } from "../chip/estimate.ts";
import type { Estimate } from "../chip/estimate.ts";
import { applyRemedies } from "../lower/index.ts";
import type { MilFunction } from "../mil/program.ts";
import { withInputShapes } from "../mil/specialize.ts";
import type { ImportOptions } from "../onnx/import/import-model.ts";
import { fileKindOf } from "./file-kind.ts";
import {
  defaultFunctionOf,
  functionOf,
  openProgram,
  programWithNumbers,
  requireOpenSizes,
  requireSizes,
} from "./open-program.ts";

/** What of a file is priced, for which chip. */
export interface EstimateFileOptions extends Omit<ImportOptions, "opset" | "functionName"> {
  /** "m1" to "m6", "m4-max", ... Default "m4". */
  readonly chip?: string;
  /** A report of `anecdote doctor --report` of that chip, whose figures are taken. */
  readonly calibrated?: string;
  /** The way into the Neural Engine. Default: that of `ANECDOTE_ANE_DRIVER`, or e5rt. */
  readonly driver?: Driver;
  /** Default: the only function, the model's default, or "main". */
  readonly function?: string;
  /** Count the copies of inputs and outputs. Default false. */
  readonly hostCopies?: boolean;
  /** Price the ops as they stand, without the engine's passes. Default false. */
  readonly asWritten?: boolean;
}

/** The predicted price of a file's function, as it runs and as it is written. */
export interface FileEstimate {
  /** Of what was asked for: rewritten, or as written. */
  readonly estimate: Estimate;
  readonly asWritten: Estimate;
  readonly rewritten:
    | { readonly place: "engine"; readonly estimate: Estimate }
    | { readonly place: "host"; readonly reason: string };
  /** Whether the function as written is what was priced. */
  readonly isAsWritten: boolean;
  /** Why numbers of weight files were not read. */
  readonly unread: string | undefined;
}

/**
 * Predicts time (milliseconds) and energy (joules) of one run of a file's function on a chip. Nothing is measured.
 * Throws `FilesError` for a file that holds no such function or leaves sizes open, `ChipError` for an unknown chip.
 */
export function estimateFile(path: string, options: EstimateFileOptions = {}): FileEstimate {
  const chip = chipWith(options.chip ?? "m4", options.calibrated);
  const driver = chooseDriver(options.driver);
  const { fn, unread } = pricedFunction(path, options);
  return { ...functionEstimate(fn, chip, driver, options), unread };
}

/**
 * The function of a file that `estimateFile` prices, with sizes and numbers in it, and why numbers of weight files were
 * not read. Throws as that does.
 */
export function pricedFunction(
  path: string,
  options: Pick<EstimateFileOptions, "shapes" | "dimensions" | "function"> = {},
): { readonly fn: MilFunction; readonly unread: string | undefined } {
  const { shapes, dimensions } = options;
  const isOnnx = fileKindOf(path) === "onnx";
  const opened = openProgram(
    path,
    isOnnx ? { ...(shapes && { shapes }), ...(dimensions && { dimensions }) } : {},
  );
  try {
    const { program, unread } = programWithNumbers(opened);
    const open = functionOf(program, options.function, defaultFunctionOf(opened));
    if (!isOnnx) requireOpenSizes([open], options);
    const fn = withInputShapes(open, shapes ?? new Map<string, readonly number[]>());
    requireSizes(fn);
    return { fn, unread };
  } finally {
    opened.close();
  }
}

/** The predicted price of a function on a chip, as it runs there and as it is written. */
export function functionEstimate(
  fn: MilFunction,
  chip: Chip,
  driver: Driver,
  options: Pick<EstimateFileOptions, "hostCopies" | "asWritten"> = {},
): Omit<FileEstimate, "unread"> {
  const counts = { hostCopies: options.hostCopies === true };
  const asWritten = estimateFunction(fn, chip, driver, counts);
  const { placed } = applyRemedies(fn, chip, driver);
  const rewritten =
    placed.place === "host"
      ? placed
      : {
          place: placed.place,
          estimate: estimateFunction(placed.program.function, chip, driver, counts),
        };
  const isAsWritten = rewritten.place === "host" || options.asWritten === true;
  const estimate = isAsWritten ? asWritten : rewritten.estimate;
  return { estimate, asWritten, rewritten, isAsWritten };
}
