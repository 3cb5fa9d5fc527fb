import { AnecdoteError } from "../util/errors.ts";

/** A chip, driver or compile target that is not known, or a program that cannot be priced or checked. */
export class ChipError extends AnecdoteError {}
