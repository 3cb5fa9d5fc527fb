import type { Value } from "../../../src/mil/program.ts";
import type { CaseBuilder } from "../../helpers/finite-differences.ts";

/** Writes one random use of an op and returns its results. */
export type DrawCase = (c: CaseBuilder) => readonly Value[];
