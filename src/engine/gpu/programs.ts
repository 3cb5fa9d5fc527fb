import { createHash } from "node:crypto";
import type { MilFunction } from "../../mil/program.ts";
import { functionToOnnx } from "../../onnx/lower-function.ts";
import type { OnnxModel } from "../../onnx/lower-function.ts";
import { AnecdoteError, messageOf } from "../../util/errors.ts";
import { EngineError } from "../errors.ts";
import { HostOpsRefused } from "./device-runtime.ts";
import type { DeviceGraph, DeviceRuntime } from "./device-runtime.ts";

/** A function on the device. */
export interface DeviceProgram {
  readonly graph: DeviceGraph;
  /** Names of operators that the runtime does on the processor, each as often as it does it. */
  readonly hostOperators: readonly string[];
  readonly opCount: number;
  /** Whether its results have been looked at once. */
  isChecked: boolean;
}

interface Entry {
  readonly program: DeviceProgram;
  readonly key: string;
  users: number;
}

/** Whether ops that the device has no kernel for may run on the processor. */
export type HostRule = "allow" | "refuse";

/** Functions as graphs of the device: by content, released when the last user leaves. */
export class Programs {
  readonly #runtime: DeviceRuntime;
  readonly #rule: HostRule;
  readonly #entries = new Map<string, Entry>();
  readonly #entryOf = new Map<DeviceProgram, Entry>();

  constructor(runtime: DeviceRuntime, rule: HostRule) {
    this.#runtime = runtime;
    this.#rule = rule;
  }

  /**
   * Throws `EngineError`: `engine.gpu.compile` where the runtime refuses the function, `engine.gpu.host_ops` where ops
   * would run on the processor and may not.
   */
  compile(fn: MilFunction, label: string): DeviceProgram {
    const fused = functionToOnnx(fn, { isForDevice: true });
    const key = createHash("sha256").update(fused.bytes).digest("hex");
    const known = this.#entries.get(key);
    if (known !== undefined) {
      known.users++;
      return known.program;
    }
    let graph = this.#graph(fused, label);
    if (graph.hostNodes.length > 0) {
      // The provider lacks some of the runtime's own operators and has those of the standard.
      const options = { isForDevice: true, isForOthers: true };
      const standard = this.#graph(functionToOnnx(fn, options), label);
      const isBetter = standard.hostNodes.length < graph.hostNodes.length;
      (isBetter ? graph : standard).release();
      if (isBetter) graph = standard;
    }
    const hostOperators = graph.hostNodes.map(({ operator }) => operator);
    if (hostOperators.length > 0 && this.#rule === "refuse") {
      graph.release();
      throw new EngineError(
        "engine.gpu.host_ops",
        `${label}: the device has no fit kernel for ${countedNames(hostOperators)}`,
        { remedy: "Without the rule that refuses them they run on the processor." },
      );
    }
    const opCount = fn.operations.filter(({ type }) => type !== "const").length;
    const program: DeviceProgram = { graph, hostOperators, opCount, isChecked: false };
    const entry: Entry = { program, key, users: 1 };
    this.#entries.set(key, entry);
    this.#entryOf.set(program, entry);
    return program;
  }

  release(program: DeviceProgram): void {
    const entry = this.#entryOf.get(program);
    if (entry === undefined || --entry.users > 0) return;
    this.#entries.delete(entry.key);
    this.#entryOf.delete(program);
    program.graph.release();
  }

  close(): void {
    for (const { program } of this.#entries.values()) program.graph.release();
    this.#entries.clear();
    this.#entryOf.clear();
  }

  #graph({ bytes, hazards: { kept, halves } }: OnnxModel, label: string): DeviceGraph {
    try {
      const lacksHalf = halves.length > 0 && !this.#runtime.hasHalf;
      const onHost = [...kept, ...(lacksHalf ? halves : [])];
      try {
        return this.#runtime.compile(bytes, { onHost, isStrict: this.#rule === "refuse" });
      } catch (error) {
        // What it is that the processor would do tells a graph that lets it.
        if (!(error instanceof HostOpsRefused)) throw error;
        return this.#runtime.compile(bytes, { onHost });
      }
    } catch (error) {
      if (error instanceof AnecdoteError) throw error;
      throw new EngineError(
        "engine.gpu.compile",
        `ONNX Runtime refuses "${label}" on the GPU: ${messageOf(error)}`,
        { cause: error },
      );
    }
  }
}

/** "Cast, 2 times Gather". */
export function countedNames(names: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts]
    .map(([name, count]) => (count > 1 ? `${count} times ${name}` : name))
    .join(", ");
}
