import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createAneEngine } from "../../src/engine/ane/index.ts";
import { createCpuEngine } from "../../src/engine/cpu/index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { createSimEngine } from "../../src/engine/sim/index.ts";
import { openSoftwareDevice, strictEngine } from "../engine/gpu/software-device.ts";
import { openDouble } from "../engine/ane/double-library.ts";

/** Cases of an op, by number, that an engine does not take: the error's code, and what its message says of the cause. */
export interface Refusal {
  readonly cases: readonly number[];
  readonly code: string;
  readonly because: RegExp;
  /** Only in cases of this float type. Default: both. */
  readonly type?: "fp32" | "fp16";
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
  readonly refused: Readonly<Record<string, Refusal | readonly Refusal[]>>;
  /** Ops that are coarser, by how many roundings of fp32. */
  readonly coarse?: Readonly<Record<string, number>>;
  /** Holds fp16 as fp32, so that one case an op shows it. */
  readonly widensHalves?: boolean;
  /** Why the engine cannot be had here. */
  readonly missing?: string | undefined;
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

/** No device runs it: the engine under test lets nothing run on the processor. */
const onHost = (
  count: number,
  because: RegExp,
  { first = 0, ...rest }: { readonly first?: number; readonly type?: "fp32" } = {},
): Refusal => ({
  cases: Array.from({ length: count }, (_, index) => first + index),
  code: "engine.gpu.host_ops",
  because,
  ...rest,
});

/** What the WebGPU provider has no kernel for, and scatters whose bits would change from run to run. */
export const GPU_REFUSES: Readonly<Record<string, Refusal | readonly Refusal[]>> = {
  floor_div: onHost(4, /Mod/),
  mod: onHost(4, /Mod/),
  // Small integers, and fp16 where the device has none; one that has it is not refused these.
  cast: [
    onHost(2, /Cast/, { first: 7 }),
    ...(process.env["ANECDOTE_TEST_GPU"] === "real"
      ? []
      : [onHost(2, /Cast/, { first: 2, type: "fp32" })]),
  ],
  transpose: onHost(1, /Transpose/, { first: 2 }),
  reverse_sequence: onHost(2, /ReverseSequence/),
  scatter: onHost(10, /ScatterElements/),
  scatter_along_axis: onHost(5, /ScatterElements/),
  scatter_nd: onHost(5, /ScatterElements/),
  einsum: onHost(2, /Einsum/),
  quantize: onHost(1, /Cast/),
  while_loop: onHost(2, /Loop/),
  lstm: onHost(3, /Scan/),
  gru: onHost(2, /Scan/),
  rnn: onHost(1, /Scan/),
  // Places are doubles.
  resample: onHost(10, /Cast/),
  affine: onHost(2, /Cast/),
  crop_resize: onHost(5, /Cast/),
  random_categorical: onHost(2, /Cast/),
};

/** WGSL gives sines and cosines to 2^-11, and what is made of them accordingly. */
const GPU_COARSE: Readonly<Record<string, number>> = {
  ...{ acos: 512, cos: 512, sin: 512, tan: 512 },
};

/** Refusals of a case in a float type. */
export function refusalOf(
  refused: Refusal | readonly Refusal[] | undefined,
  index: number,
  type: "fp32" | "fp16",
): Refusal | undefined {
  const all = refused === undefined ? [] : "cases" in refused ? [refused] : refused;
  return all.find(
    (one) => one.cases.includes(index) && (one.type === undefined || one.type === type),
  );
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
  gpu: {
    precision: "as typed",
    refused: GPU_REFUSES,
    coarse: GPU_COARSE,
    widensHalves: true,
    missing: openSoftwareDevice(),
    open: () => Promise.resolve(openPlain(strictEngine())),
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
