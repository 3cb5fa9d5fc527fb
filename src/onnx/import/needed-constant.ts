import { OnnxError } from "../errors.ts";

/** Thrown where a value must be a constant; caught by the importer, which may bind the inputs behind it. */
export class NeededConstant extends OnnxError {
  /** The value's name in the model. */
  readonly valueName: string;
  /** What the user is told where nothing can be bound. */
  readonly refusal: OnnxError;

  constructor(valueName: string, refusal: OnnxError) {
    super(refusal.code, refusal.message, { cause: refusal });
    this.valueName = valueName;
    this.refusal = refusal;
  }
}
