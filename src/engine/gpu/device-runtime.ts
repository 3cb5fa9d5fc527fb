import type { DataType } from "../../mil/types.ts";

/** Memory on the device. */
export interface DeviceBlock {
  readonly byteLength: number;
}

/** One of a program's inputs or outputs, and the memory it stands in from its first byte on. */
export interface DevicePort {
  /** Name of the graph's input or output. */
  readonly name: string;
  readonly dataType: DataType;
  readonly shape: readonly number[];
  readonly block: DeviceBlock;
}

/** Bytes of the host, and the memory of the device that they go to or come from. */
export interface Copy {
  readonly bytes: Uint8Array;
  readonly block: DeviceBlock;
}

/** An op of a program that the runtime does on the processor, with copies there and back. */
export interface HostNode {
  /** ONNX's name of it, as "Cast". */
  readonly operator: string;
}

/** A graph that the device runs. */
export interface DeviceGraph {
  readonly hostNodes: readonly HostNode[];
  /**
   * Puts the graph into the device's queue. An output's block must not be an input's: nothing orders the reads and
   * writes of one graph.
   */
  run(inputs: readonly DevicePort[], outputs: readonly DevicePort[]): void;
  release(): void;
}

export interface CompileOptions {
  /** Names of nodes that the processor is to do. */
  readonly onHost?: readonly string[];
  /** Nothing may run on the processor: throws `HostOpsRefused` where something would. */
  readonly isStrict?: boolean;
}

/** A graph has ops that the device has no kernel for, and was to run on the device alone. */
export class HostOpsRefused extends Error {}

/** A way to a device that runs ONNX graphs over its own memory. What it does runs in the order in which it was asked. */
export interface DeviceRuntime {
  /** Names the library and its version. */
  readonly version: string;
  /** Memory of any content. */
  allocate(byteLength: number): DeviceBlock;
  free(block: DeviceBlock): void;
  upload(copies: readonly Copy[]): void;
  /** Waits for all that was asked before. */
  download(copies: readonly Copy[]): void;
  /** Whether its kernels take fp16. */
  readonly hasHalf: boolean;
  compile(model: Uint8Array, options?: CompileOptions): DeviceGraph;
  close(): void;
}
