import { createHash } from "node:crypto";
import { messageOf } from "../../util/errors.ts";
import { EngineError } from "../errors.ts";
import type { OrtModule, OrtSession } from "./runtime.ts";

interface Entry {
  readonly session: Promise<OrtSession>;
  users: number;
}

/** Compiled models by content, shared by every plan of an engine, released when the last user leaves. */
export class SessionCache {
  readonly #runtime: OrtModule;
  readonly #options: Readonly<Record<string, unknown>>;
  readonly #entries = new Map<string, Entry>();

  constructor(runtime: OrtModule, options: Readonly<Record<string, unknown>>) {
    this.#runtime = runtime;
    this.#options = options;
  }

  async acquire(model: Uint8Array, what: string): Promise<{ key: string; session: OrtSession }> {
    const key = createHash("sha256").update(model).digest("hex");
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = { session: this.#runtime.InferenceSession.create(model, this.#options), users: 0 };
      this.#entries.set(key, entry);
    }
    entry.users++;
    try {
      return { key, session: await entry.session };
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
    await (await entry.session).release();
  }

  async close(): Promise<void> {
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    for (const entry of entries) await (await entry.session).release();
  }
}
