import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createAneEngine } from "../../src/engine/ane/index.ts";
import { createCpuEngine } from "../../src/engine/cpu/index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { createSimEngine } from "../../src/engine/sim/index.ts";
import { openDouble } from "../engine/ane/double-library.ts";

/** Cases of an op, by number, that an engine does not take: the error's code, and what its message says of the cause. */
export interface Refusal {
  readonly cases: readonly number[];
  readonly code: string;
  readonly because: RegExp;
}

/** One engine of the suite. */
export interface EngineUnderTest {
  /**
   * How precise a float result of any type is, see `toleranceOf`. The CPU engine keeps what the type says. A Neural
   * Engine stores fp16 between any two ops whatever the program's type, and reads functions from tables: sigmoid and
   * gelu are within 2^-8.4 of the largest number there, everything else within 2^-9.4 (as measured on silicon and
   * recorded in the rules of `src/chip/arithmetic`), so four roundings of fp16, 2^-8, hold both.
   */
  readonly precision: "as typed" | "fp16";
  /** Ops that it refuses by name. What is listed must be refused, what is not must run. */
  readonly refused: Readonly<Record<string, Refusal>>;
  readonly open: () => Promise<OpenEngine>;
}

export interface OpenEngine {
  readonly engine: Engine;
  /** Releases everything, and gives the first breach of a driver's protocol, if there was one. */
  readonly close: () => Promise<string | undefined>;
}

const RULES = "engine.refused";

/** What no way into M4's engine takes. */
const M4_REFUSES: Readonly<Record<string, Refusal>> = {
  topk: { cases: [0], code: RULES, because: /topk-3-4/ },
  conv: { cases: [0, 1], code: RULES, because: /conv-runtime-weight/ },
  conv_transpose: { cases: [0, 1, 2], code: RULES, because: /conv-transpose/ },
  // Its result is a port of fp32, and the constant itself is a program without inputs.
  constexpr_cast: { cases: [0], code: RULES, because: /is fp32/ },
};

/** Results that are constants leave the engine's program without an op, and its compiler takes none that is empty. */
const EMPTY: Refusal = { cases: [0], code: "engine.ane.compile", because: /empty body/ };

function openPlain(engine: Engine): OpenEngine {
  return {
    engine,
    close: async () => {
      await engine.close();
      return undefined;
    },
  };
}

/** A driver over its double, which lets the simulator do the arithmetic and watches the protocol. */
async function openDriver(driver: "e5rt" | "in-memory"): Promise<OpenEngine> {
  const cacheFolder = mkdtempSync(join(tmpdir(), "anecdote-conformance-"));
  const double =
    driver === "e5rt" ? openDouble("e5rt") : openDouble("objc", ["-DCOMPILE_CAP=100000"]);
  const host = createSimEngine("m4", { threads: 1 });
  // Each case is a program of its own, more than a process would compile for one plan.
  process.env["ANECDOTE_ANE_COMPILE_BUDGET"] = "100000";
  const engine = await createAneEngine({
    ...{ library: double.path, driver, chip: "m4", host, cacheFolder },
  });
  return {
    engine,
    close: async () => {
      await engine.close();
      await host.close();
      delete process.env["ANECDOTE_ANE_COMPILE_BUDGET"];
      rmSync(cacheFolder, { recursive: true, force: true });
      const { count, first } = double.violations();
      if (count > 0) return first;
      const live = double.count("live handles");
      return live === 0 ? undefined : `${live} handles are still live`;
    },
  };
}

/** Every engine that is held against the reference, by name. */
export const ENGINES: Readonly<Record<string, EngineUnderTest>> = {
  cpu: {
    precision: "as typed",
    refused: {},
    open: async () => openPlain(await createCpuEngine({ threads: 2 })),
  },
  "sim:m4": {
    precision: "fp16",
    refused: M4_REFUSES,
    open: () => Promise.resolve(openPlain(createSimEngine("m4", { threads: 1 }))),
  },
  "ane through e5rt's double": {
    precision: "fp16",
    refused: { ...M4_REFUSES, shape: EMPTY, fill: EMPTY },
    open: () => openDriver("e5rt"),
  },
  "ane through the in-memory double": {
    precision: "fp16",
    refused: {
      ...M4_REFUSES,
      conv: { cases: [0, 1, 2], code: RULES, because: /conv-runtime-weight/ },
      tile: { cases: [0], code: RULES, because: /tile-poison/ },
      shape: EMPTY,
      fill: EMPTY,
    },
    open: () => openDriver("in-memory"),
  },
};
