import { AnecdoteError } from "../util/errors.ts";

/**
 * A file that is not what its reader expects: where in the file, which field, what was found.
 * Codes: `inspect.magic`, `inspect.truncated`, `inspect.range`, `inspect.value`, `inspect.limit`.
 */
export class InspectError extends AnecdoteError {
  /** Byte offset in the file at which the field that does not hold begins. */
  readonly offset: number;
  /** The field's name as docs/hwx.md writes it, such as `LC_SEGMENT_64 __TEXT.fileoff`. */
  readonly field: string;

  constructor(
    code: `inspect.${string}`,
    place: { readonly file: string; readonly offset: number; readonly field: string },
    problem: string,
    options: { remedy?: string; cause?: unknown } = {},
  ) {
    super(
      code,
      `${place.file}: ${place.field} at 0x${place.offset.toString(16)}: ${problem}`,
      options,
    );
    this.offset = place.offset;
    this.field = place.field;
  }
}
