/** What `inspect` tells of a program or weight file, whatever its format. */
export interface Summary {
  readonly format: string;
  readonly path: string;
  /** Version of Core ML's model specification. */
  readonly specification?: number;
  /** Of the program's text. */
  readonly version?: string;
  readonly producer?: string;
  readonly functions: readonly SummarizedFunction[];
  readonly weights: readonly SummarizedWeight[];
  readonly weight_bytes: number;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** A function of a program: its ports and how often each op occurs. */
export interface SummarizedFunction {
  readonly name: string;
  readonly opset: string;
  readonly inputs: readonly SummarizedPort[];
  readonly outputs: readonly SummarizedPort[];
  /** How often each op occurs, the most frequent first; constants are not counted. */
  readonly ops: Readonly<Record<string, number>>;
  readonly op_count: number;
}

/** An input or a result. */
export interface SummarizedPort {
  readonly name: string;
  readonly type: string;
  readonly flexible?: {
    readonly ranges?: readonly (readonly [number, number])[];
    readonly shapes?: readonly (readonly number[])[];
  };
}

/** A tensor that the file holds, or a file beside it. */
export interface SummarizedWeight {
  readonly name: string;
  readonly dtype: string;
  /** Sizes, outermost first; open ones by name or "?". */
  readonly shape: readonly (number | string)[];
  readonly bytes: number;
  readonly file?: string;
  /** Byte in its file. */
  readonly offset?: number;
}
