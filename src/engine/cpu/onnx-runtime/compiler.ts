import { createHash } from "node:crypto";
import type { MilFunction } from "../../../mil/program.ts";
import { foreignProductCount } from "../../../onnx/foreign-products.ts";
import { functionToOnnx } from "../../../onnx/lower-function.ts";
import { messageOf } from "../../../util/errors.ts";
import { EngineError } from "../../errors.ts";
import type {
  CompiledFunction,
  CompileOptions,
  FunctionCompiler,
  TensorPlace,
} from "../compiler.ts";
import type { CompiledGraph, GraphRuntime } from "./graph-runtime.ts";
import { keepsRowBits } from "./row-bits.ts";

interface Session {
  readonly graph: Promise<CompiledGraph>;
  users: number;
}

/** Functions as graphs of ONNX Runtime: sessions by content, released when the last user leaves. */
export class OnnxCompiler implements FunctionCompiler {
  readonly #runtime: GraphRuntime;
  readonly #sessions = new Map<string, Session>();
  /** Tells memories of constants apart. */
  readonly #memories = new WeakMap<TensorPlace["buffer"], number>();
  #memoryCount = 0;
  #keepsRowBits: Promise<boolean> | undefined;

  constructor(runtime: GraphRuntime) {
    this.#runtime = runtime;
  }

  get version(): string {
    return this.#runtime.version;
  }

  /** Tried out when it is first asked. */
  keepsRowBits(): Promise<boolean> {
    this.#keepsRowBits ??= this.#runtime.takesConstants
      ? keepsRowBits(this)
      : Promise.resolve(false);
    return this.#keepsRowBits;
  }

  suits(): boolean {
    return true;
  }

  describe(fn: MilFunction, hasConstants = false): string {
    const count = fn.operations.filter(({ type }) => type !== "const").length;
    const text = `ONNX Runtime, ${count} op${count === 1 ? "" : "s"}`;
    const { foreignProducts } = this.#runtime;
    if (hasConstants) return `${text}, matrices packed once`;
    const products = foreignProducts === undefined ? 0 : foreignProductCount(fn);
    return products === 0 ? text : `${text}, ${products} of them by ${foreignProducts}`;
  }

  async compile(
    fn: MilFunction,
    { label, spins, constants = [] }: CompileOptions,
  ): Promise<CompiledFunction> {
    const given = new Set(constants.map(({ name }) => name));
    const { bytes, intermediateBytes } = functionToOnnx(fn, {
      given,
      // Packed constants are the runtime's own, and leave a row's bits as they are alone.
      hasForeignProducts: given.size === 0 && this.#runtime.foreignProducts !== undefined,
    });
    const hash = createHash("sha256").update(bytes);
    // Equal functions over other numbers are different ones.
    for (const place of constants)
      hash.update(`${this.#numberOf(place.buffer)} ${place.byteOffset};`);
    const key = `${hash.digest("hex")}${spins ? "" : " sleeping"}`;
    const session = this.#sessions.get(key) ?? {
      graph: this.#runtime.compile(bytes, { spins, constants: constants.map(prefixed("in:")) }),
      users: 0,
    };
    this.#sessions.set(key, session);
    session.users++;
    try {
      const graph = await session.graph;
      return {
        intermediateBytes,
        bind: (inputs, outputs) =>
          graph.bind(
            inputs.filter(({ name }) => !given.has(name)).map(prefixed("in:")),
            outputs.map(prefixed("out:")),
          ),
        release: () => this.#release(key),
      };
    } catch (error) {
      this.#sessions.delete(key);
      throw new EngineError(
        "engine.cpu.compile",
        `ONNX Runtime refuses "${label}": ${messageOf(error)}`,
        { cause: error },
      );
    }
  }

  arenaBytes(): number | undefined {
    return this.#runtime.arenaBytes();
  }

  async close(): Promise<void> {
    const sessions = [...this.#sessions.values()];
    this.#sessions.clear();
    for (const { graph } of sessions) await (await graph).release();
    await this.#runtime.close();
  }

  #numberOf(buffer: TensorPlace["buffer"]): number {
    const number = this.#memories.get(buffer) ?? this.#memoryCount++;
    this.#memories.set(buffer, number);
    return number;
  }

  async #release(key: string): Promise<void> {
    const session = this.#sessions.get(key);
    if (session === undefined || --session.users > 0) return;
    this.#sessions.delete(key);
    await (await session.graph).release();
  }
}

/** Names of the exported graph's ports. */
const prefixed =
  (prefix: string) =>
  (place: TensorPlace): TensorPlace => ({ ...place, name: `${prefix}${place.name}` });
