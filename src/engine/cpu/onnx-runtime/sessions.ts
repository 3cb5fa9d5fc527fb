import { createHash } from "node:crypto";
import { messageOf } from "../../../util/errors.ts";
import { EngineError } from "../../errors.ts";
import type { CompiledGraph, CompileOptions, GraphRuntime } from "../graph-runtime.ts";

interface Entry {
  readonly graph: Promise<CompiledGraph>;
  users: number;
}

export interface AcquiredGraph {
  readonly key: string;
  readonly graph: CompiledGraph;
}

/** Compiled models by content, shared by every plan of an engine, released when the last user leaves. */
export class SessionCache {
  readonly #runtime: GraphRuntime;
  readonly #entries = new Map<string, Entry>();

  constructor(runtime: GraphRuntime) {
    this.#runtime = runtime;
  }

  async acquire(model: Uint8Array, what: string, options: CompileOptions): Promise<AcquiredGraph> {
    const hash = createHash("sha256").update(model).digest("hex");
    const key = options.spins ? hash : `${hash} sleeping`;
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = { graph: this.#runtime.compile(model, options), users: 0 };
      this.#entries.set(key, entry);
    }
    entry.users++;
    try {
      return { key, graph: await entry.graph };
    } catch (error) {
      this.#entries.delete(key);
      throw new EngineError(
        "engine.cpu.compile",
        `ONNX Runtime refuses ${what}: ${messageOf(error)}`,
        { cause: error },
      );
    }
  }

  async release(key: string): Promise<void> {
    const entry = this.#entries.get(key);
    if (entry === undefined || --entry.users > 0) return;
    this.#entries.delete(key);
    await (await entry.graph).release();
  }

  async close(): Promise<void> {
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    for (const entry of entries) await (await entry.graph).release();
  }
}
