// What the server tells a page of a run's step. Types alone, so that the page can import them.

/** A buffer that a dispatch reads or writes. */
export interface PortView {
  readonly port: string;
  readonly buffer: string;
  readonly role: string;
  /** Of the whole buffer. */
  readonly byteLength: number;
}

export interface DispatchView {
  readonly label: string;
  readonly program: string;
  readonly place: "engine" | "host";
  /** Of one run, by the cost model. */
  readonly predictedMs: number;
  readonly boundBy: string;
  readonly inputs: readonly PortView[];
  readonly outputs: readonly PortView[];
}

export interface SectionView {
  readonly name: string;
  /** In one update. */
  readonly runs: number;
  readonly predictedMs: number;
  readonly dispatches: readonly DispatchView[];
}

/** A rule of the chip that a program, as the plan has it, breaks or has to be written around. */
export interface RuleView {
  readonly rule: string;
  readonly severity: "error" | "warning" | "handled";
  readonly op: string | null;
  readonly says: string;
  readonly detail: string;
  readonly source: string;
  readonly remedy: string;
}

/** Where a program runs, and why. */
export interface ProgramView {
  readonly name: string;
  /** "split": the host begins what the engine does. "refused": it is the engine's, and breaks a rule of the chip. */
  readonly place: "engine" | "host" | "split" | "refused";
  /** Of the host's. */
  readonly reason: string | null;
  /** What stands in its way on the chip, as it goes there; of the host's, as the plan has it. */
  readonly rules: readonly RuleView[];
  readonly operationCount: number;
  readonly flops: number;
  readonly dispatchCount: number;
  /** In one update, by the cost model. */
  readonly predictedMs: number;
}

/** A run's training step for a chip. Times and energy are predicted. */
export interface PlanView {
  readonly chip: string;
  readonly driver: string;
  /** Whether the run's own engine is that chip's, or simulates it. */
  readonly isRunsOwn: boolean;
  readonly engine: string;
  readonly sections: readonly SectionView[];
  readonly programs: readonly ProgramView[];
  /** Of all dispatches, each as a program of its own. */
  readonly predictedMs: number;
  /** As the run's engine runs it, which joins neighbouring dispatches where the run is long enough. */
  readonly asRun: {
    readonly ms: number;
    /** Engine and host at once. */
    readonly overlappedMs: number;
    readonly joules: number;
    /** Whether programs of it were joined from several dispatches. */
    readonly isJoined: boolean;
  };
  /** Milliseconds by what they go into: dispatch, compute, streaming, host. */
  readonly breakdown: Readonly<Record<string, number>>;
  /** The chip's roofline with the ops on it, as SVG of the shared kit; predicted. */
  readonly roofline: string;
  /** Kinds of ops, the dearest first. */
  readonly ops: readonly { readonly op: string; readonly count: number; readonly ms: number }[];
  /** Bytes of all buffers by role. */
  readonly memory: Readonly<Record<string, number>>;
}

/** A program as text. */
export interface ProgramText {
  readonly name: string;
  /** As the plan has it. */
  readonly plan: string;
  /** As the chip takes it; null where the host runs it. */
  readonly engine: string | null;
}

export interface ChipChoice {
  readonly name: string;
  readonly title: string;
}
