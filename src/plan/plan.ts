import type { MilFunction } from "../mil/program.ts";
import type { TensorType } from "../mil/types.ts";
import type { Storage } from "./storage.ts";

/**
 * What a buffer is for. Persistent roles keep their contents between runs and have memory of their own;
 * transient ones live from their first to their last use within one section and share memory.
 */
export const PERSISTENT_ROLES = [
  "input",
  "weight",
  "gradient",
  "optimizer",
  "state",
  "output",
] as const;
export const TRANSIENT_ROLES = ["activation", "tap", "scratch"] as const;
/** Roles of buffers that keep their numbers between runs. */
export type PersistentRole = (typeof PERSISTENT_ROLES)[number];
/** Roles of buffers that live within one run of a section and share memory. */
export type TransientRole = (typeof TRANSIENT_ROLES)[number];
/** What a buffer is for: decides its lifetime and who may write it. */
export type BufferRole = PersistentRole | TransientRole;

/** A buffer of a plan: its type, role and lifetime. */
export interface BufferSpec {
  readonly name: string;
  /** Every size is a number. */
  readonly type: TensorType;
  readonly role: BufferRole;
  /** Buffers of one group stand in one memory: a stage instance's weights, gradients and optimizer state. */
  readonly group?: string;
  /**
   * Root mean square of its elements where it is known before anything runs: weights as they are initialised, the
   * loss scale. Engines that compute in fp16 choose their scales by it.
   */
  readonly rms?: number;
  /**
   * Of a weight: its numbers stay in a file, it has no memory, and nothing but programs of the kernel `stream` reads it.
   */
  readonly isInFile?: boolean;
}

/**
 * A function's input or output bound to a buffer, or to a contiguous run of its elements: the bound
 * tensor is dense, starts `offset` elements into the buffer and has the function's own shape.
 */
export interface Binding {
  readonly buffer: string;
  readonly offset: number;
}

/** `accumulate` adds the result to what the buffer holds. */
export interface OutputBinding extends Binding {
  readonly mode: "write" | "accumulate";
}

/** One execution of a program over buffers. An output may stand on an input's buffer (an update in place). */
export interface Dispatch {
  /** For people: `forward block 3`. */
  readonly label: string;
  /** Key in `Plan.programs`. */
  readonly program: string;
  readonly inputs: ReadonlyMap<string, Binding>;
  readonly outputs: ReadonlyMap<string, OutputBinding>;
}

/** How an optimizer's moments stand in memory. */
export const MOMENT_TYPES = ["fp32", "bf16"] as const;
/** One of `MOMENT_TYPES`. */
export type MomentType = (typeof MOMENT_TYPES)[number];

/**
 * What a program computes, told by name, where an engine may have a faster kernel than the program's ops.
 * The MIL function is the definition; conformance compares the two.
 */
export type HostKernel =
  | {
      /**
       * AdamW, all tensors of one stage instance. Scalar inputs: `learning_rate`, `weight_decay`,
       * `bias_correction1` (1 - beta1^t), `bias_correction2`, `gradient_scale` (clipping and loss scale).
       */
      readonly kind: "adamw";
      readonly beta1: number;
      readonly beta2: number;
      readonly epsilon: number;
      /** How m and v stand in memory; bf16 as uint16 patterns. */
      readonly momentType: MomentType;
      /** Names of the function's inputs; its outputs are `new_<name>` of weight, m and v. */
      readonly parameters: readonly {
        readonly weight: string;
        readonly gradient: string;
        readonly m: string;
        readonly v: string;
        readonly decay: boolean;
      }[];
    }
  | {
      /**
       * Muon, the matrices of one stage instance, in fp32 wherever it runs: products of smaller formats lose what the
       * iteration needs. No engine has a kernel of its own; the host runs the function. Inputs that are weights.
       */
      readonly kind: "muon";
      readonly weights: readonly string[];
    }
  | {
      /**
       * One over the lengths of corrected matrices, in fp32 wherever it runs: squares of small numbers are lost in smaller
       * formats. No engine has a kernel of its own; the host runs the function. Inputs that are weights.
       */
      readonly kind: "adapter_norms";
      readonly weights: readonly string[];
    }
  | {
      /**
       * Losses of pairs from those of their tokens, in fp32 wherever it runs: sums over whole answers differ in digits that
       * smaller formats do not have. No engine has a kernel of its own; the host runs the function. No input is a weight.
       */
      readonly kind: "preference";
      readonly weights: readonly string[];
    }
  | {
      /** The sum of squares of all float inputs, in double precision over fixed blocks; output `sum`. */
      readonly kind: "sum_of_squares";
    }
  | {
      /** Rows of `gradient` [N, C] added at rows `indices` [N] of zeros [V, C]; output `table_gradient`. */
      readonly kind: "embedding_gradient";
      readonly indices: string;
      readonly gradient: string;
    }
  | {
      /** Stored weights as fp32, bit by bit as the function says; names of its inputs and outputs. */
      readonly kind: "unpack";
      readonly weights: readonly UnpackedWeight[];
    }
  | {
      /** Weights that stay in a file, brought into memory as they are; names of inputs and outputs. */
      readonly kind: "stream";
      readonly weights: readonly { readonly source: string; readonly numbers: string }[];
    };

/** Buffers of a stored weight: codes, scales and offsets, and the numbers that they become. */
export interface UnpackedWeight {
  readonly storage: Storage;
  readonly codes: string;
  readonly scales?: string;
  readonly biases?: string;
  /** The output. */
  readonly numbers: string;
}

/** A program of a plan. */
export interface PlanProgram {
  readonly name: string;
  readonly function: MilFunction;
  readonly hostKernel?: HostKernel;
  /** For measurements: an engine keeps the ops that are written, though it knows faster ones for the same result. */
  readonly asWritten?: boolean;
  /** Why an engine beside a host leaves it to the host, where the plan itself says so. */
  readonly onHost?: string;
}

/**
 * A step as data: programs, buffers, and named lists of dispatches over them. It can be printed, priced for
 * a chip, and run by any engine. Sections of a training plan are named in train/step-plan.ts.
 */
export interface Plan {
  readonly name: string;
  readonly programs: ReadonlyMap<string, PlanProgram>;
  readonly buffers: ReadonlyMap<string, BufferSpec>;
  readonly sections: ReadonlyMap<string, readonly Dispatch[]>;
}

export function isTransient(role: BufferRole): role is TransientRole {
  return role === "activation" || role === "tap" || role === "scratch";
}
