import type { Chip } from "../../chip/chip.ts";
import { familyIndex } from "../../chip/chip.ts";
import { UNSUPPORTED_OPS } from "../../chip/legality/unsupported-ops.ts";
import { canonicalSource } from "../../engine/ane/probe.ts";
import type { EngineSource } from "../../engine/ane/probe.ts";
import { FunctionBuilder } from "../../mil/builder.ts";
import { tensorLiteral } from "../../mil/literal.ts";
import type { MilFunction } from "../../mil/program.ts";
import { tensorType } from "../../mil/types.ts";
import { constant, half, padded, program } from "./number-case.ts";
import type { Fate, RefusalCase } from "./refusal-probe.ts";
import { convolved } from "./arithmetic-programs.ts";

const always = (fate: Fate | undefined) => () => fate;
const sinceH16 = (chip: Chip): boolean => familyIndex(chip.family) >= familyIndex("H16");

/** One op of which the table of missing ops says that the compiler refuses it. */
function missingOp(name: string, build: RefusalCase["build"]): RefusalCase {
  return {
    id: `missing.${name}`,
    title: `${name} is refused`,
    source: "ANEForge sweep of the MIL vocabulary, M5",
    rule: "unsupported-op",
    build,
    documented: always("is refused"),
    relies: `that programs with ${name} are rewritten (${UNSUPPORTED_OPS[name] ?? ""})`,
  };
}

const indices = (f: FunctionBuilder, shape: readonly number[], rest = 0) =>
  f.constant(
    tensorLiteral(
      "int32",
      shape,
      padded(
        shape.reduce((product, size) => product * size, 1),
        [2, 1],
        rest,
      ),
    ),
  );

function fp32Ports(): MilFunction {
  const f = new FunctionBuilder("probe");
  const x = f.input("x", tensorType("fp32", [1, 32]));
  return f.finish({ result: f.op("add", { x, y: x }) });
}

function returnedInput(): EngineSource {
  const f = new FunctionBuilder("probe");
  const x = f.input("x", half(1, 32));
  const sum = f.finish({ result: f.op("add", { x, y: x }) });
  const source = canonicalSource("probe", sum);
  return { label: "probe", main: { ...source.main, operations: [], outputs: source.main.inputs } };
}

const layerNorm = (width: number) => (): MilFunction =>
  program([[8, width]], (f, x) =>
    f.op("layer_norm", {
      x,
      axes: [-1],
      gamma: constant(
        f,
        [width],
        padded(width, [], 1).map((_, index) => 1 + (index % 7) / 8),
      ),
      beta: constant(
        f,
        [width],
        padded(width, []).map((_, index) => (index % 5) / 8),
      ),
      epsilon: 1e-3,
    }),
  );

const squared = (width: number) => (): MilFunction =>
  program([[8, width]], (f, x) => f.op("tanh", { x: f.op("square", { x }) }));

const convolutionOfWidth = (width: number) => (): MilFunction =>
  program([[1, 32, 1, 64]], (f, x) =>
    convolved(f, {
      x,
      weight: constant(f, [32, 32, 1, width], padded(32 * 32 * width, [], 0.01)),
    }),
  );

const lastAxis = (width: number, fate: Fate | undefined): RefusalCase => ({
  id: `lane.${width}`,
  title: `Ports with a last axis of ${width} ${fate ?? "run, or are refused"}`,
  source:
    "Espresso and field guide, M3 Max: 0x9 or 0x1d below 32; Orion runs 16; jmanhype/ane-lora-training: 16 or more and a multiple of 16; True2456/qwen-ane: rows of 64 bytes, else zeros or 0x1d",
  rule: "lane-width",
  driver: "in-memory",
  build: () => program([[32, width]], (f, x) => f.op("mul", { x, y: 2 })),
  documented: always(fate),
  relies: "the warning about narrow ports",
});

/** A 1x1 convolution with this many elements of result; the limit was found through `_ANEInMemoryModel`. */
const convolutionResult = (channels: number, fate: Fate): RefusalCase => ({
  id: `conv.result-${channels}`,
  title: `A convolution with ${channels} results ${fate}`,
  source: "True2456/qwen-ane, M5 Max, macOS 27.0, in memory: 62,080 yes, 124,160 no",
  driver: "in-memory",
  level: "thorough",
  build: () =>
    program([[1, 32, 1, 32]], (f, x) =>
      convolved(f, {
        x,
        weight: constant(f, [channels, 32, 1, 1], padded(channels * 32, [], 0.01)),
      }),
    ),
  documented: always(fate),
  relies: "how a vocabulary is cut into parts",
});

/** A width filled up with zeros and added to: the limit was found through `_ANEInMemoryModel`. */
const paddedSum = (width: number, fate: Fate): RefusalCase => ({
  id: `pad-add.${width}`,
  title: `pad and add with a result of width ${width} ${fate}`,
  source: "True2456/qwen-ane, M5 Max, macOS 27.0, in memory: 9,216 yes, 11,264 no",
  driver: "in-memory",
  level: "thorough",
  build: () =>
    program([[1, 32, 1, width - 1024]], (f, x) =>
      f.op("add", {
        x: f.op("pad", {
          x,
          pad: [0, 0, 0, 0, 0, 0, 0, 1024],
          mode: "constant",
          constant_val: 0,
        }),
        y: 1,
      }),
    ),
  documented: always(fate),
  relies: "results that are put together from padded parts",
});

/** An op that one source saw refused through `_ANEInMemoryModel` and others compile. */
const contestedOp = (name: string, build: RefusalCase["build"]): RefusalCase => ({
  id: `contested.${name}`,
  title: `${name} runs in memory, or is refused`,
  source: "True2456/qwen-ane, M5 Max, macOS 27.0: it fails; others compile it",
  driver: "in-memory",
  build,
  documented: always(undefined),
  relies: `the use of ${name}`,
});

export const REFUSAL_CASES: readonly RefusalCase[] = [
  {
    id: "reduce.times-zero",
    title: "A reduced value times 0 is refused",
    source: "ANEForge 116",
    rule: "reduce-times-zero",
    build: () =>
      program([[8, 64]], (f, x) =>
        f.op("mul", { x: f.op("reduce_sum", { x, axes: [1], keep_dims: true }), y: 0 }),
      ),
    documented: always("is refused"),
    relies: "the rule that refuses such programs",
  },
  {
    id: "square.width-100",
    title: "tanh of a square is refused where width mod 128 is above 64",
    source: "ANEForge per-op rules",
    rule: "square-fusion",
    build: squared(100),
    documented: always("is refused"),
    relies: "writing squares as products",
  },
  {
    id: "square.width-64",
    title: "tanh of a square runs at width 64",
    source: "ANEForge per-op rules",
    rule: "square-fusion",
    level: "thorough",
    build: squared(64),
    documented: always("runs"),
    relies: "the bound of the rule about squares",
  },
  {
    id: "layer-norm.1024",
    title: "layer_norm with gamma and beta over 1024: refused up to H14, runs later",
    source: "ANEForge 149 and 162",
    rule: "layer-norm-affine",
    build: layerNorm(1024),
    documented: (chip) => (familyIndex(chip.family) <= familyIndex("H14") ? "is refused" : "runs"),
    relies: "writing gamma and beta as ops of their own",
  },
  {
    id: "conv.kernel-13",
    title: "A kernel 13 wide runs",
    source: "ANEForge per-family limits",
    rule: "conv-kernel-width",
    level: "thorough",
    build: convolutionOfWidth(13),
    documented: always("runs"),
    relies: "the limit of kernels",
  },
  {
    id: "conv.kernel-16",
    title: "A kernel 16 wide is refused",
    source: "ANEForge per-family limits",
    rule: "conv-kernel-width",
    build: convolutionOfWidth(16),
    documented: always("is refused"),
    relies: "the limit of kernels",
  },
  {
    id: "extent.16385",
    title: "An axis of 16416: refused up to H15, runs from H16 on",
    source: "ANEForge per-family limits, M1, M2, M5",
    rule: "extent",
    build: () => program([[1, 16416]], (f, x) => f.op("mul", { x, y: 2 })),
    documented: (chip) => (sinceH16(chip) ? "runs" : "is refused"),
    relies: "how a vocabulary is cut into parts",
  },
  {
    id: "extent.65568",
    title: "An axis of 65568 is refused",
    source: "ANEForge per-family limits",
    rule: "extent",
    build: () => program([[1, 65568]], (f, x) => f.op("mul", { x, y: 2 })),
    documented: always("is refused"),
    relies: "how a vocabulary is cut into parts",
  },
  {
    id: "rank.6",
    title: "Rank 6 is refused",
    source: "ANEForge per-family limits",
    rule: "rank",
    build: () => program([[1, 2, 2, 2, 2, 32]], (f, x) => f.op("mul", { x, y: 2 })),
    documented: always("is refused"),
    relies: "the limit of ranks",
  },
  {
    id: "ports.fp32",
    title: "fp32 ports: refused through e5rt",
    source: "ANEForge; maderix and Orion pass fp32 in memory, with a cast",
    rule: "port-type-e5rt",
    build: () => canonicalSource("probe", fp32Ports()),
    documented: (_, driver) => (driver === "e5rt" ? "is refused" : undefined),
    relies: "converting to fp16 on the host",
  },
  {
    id: "body.empty",
    title: "A function that returns its input is refused",
    source: 'ANEForge 116: the compiler crashes ("unordered_map::at")',
    rule: "empty-body",
    build: returnedInput,
    documented: always("is refused"),
    relies: "the rule that refuses such programs",
  },
  {
    id: "tile.5",
    title: "tile by 5 is refused",
    source: "ANEForge per-op rules",
    rule: "tile-factors",
    build: () => program([[1, 32]], (f, x) => f.op("tile", { x, reps: [5, 1] })),
    documented: always("is refused"),
    relies: "leaving repetitions to the next op's broadcast",
  },
  {
    id: "gelu.in-memory",
    title: "gelu is refused in memory",
    source: "Orion 10, M4 Max; it runs through e5rt",
    rule: "gelu",
    driver: "in-memory",
    build: () => program([[8, 64]], (f, x) => f.op("gelu", { x, mode: "TANH_APPROXIMATION" })),
    documented: always("is refused"),
    relies: "writing gelu with tanh",
  },
  {
    id: "rsqrt.in-memory",
    title: "rsqrt runs in memory",
    source: "dev-erik and ANEForge; Espresso saw it refused, M3 Max",
    rule: "rsqrt",
    driver: "in-memory",
    build: () =>
      program([[8, 64]], (f, x) =>
        f.op("rsqrt", {
          x: f.op("add", { x: f.op("mul", { x, y: x }), y: 1 }),
          epsilon: 2 ** -24,
        }),
      ),
    documented: always("runs"),
    relies: "the norms of llama and qwen3",
  },
  {
    id: "reduce-mean.in-memory",
    title: "reduce_mean runs in memory",
    source: "dev-erik and ANEForge; Espresso misses it on macOS 26",
    rule: "reduce-mean",
    driver: "in-memory",
    build: () =>
      program([[8, 64]], (f, x) => f.op("reduce_mean", { x, axes: [1], keep_dims: true })),
    documented: always("runs"),
    relies: "norms",
  },
  {
    id: "concat.in-memory",
    title: "concat runs in memory",
    source: "maderix, Espresso, dev-erik; Orion and maderix issue 47 saw it refused",
    rule: "concat",
    driver: "in-memory",
    build: () =>
      program(
        [
          [8, 64],
          [8, 64],
        ],
        (f, x, y) => f.op("concat", { values: [x, y], axis: 1, interleave: false }),
      ),
    documented: always("runs"),
    relies: "rotary embeddings",
  },
  {
    id: "conv-bias.in-memory",
    title: "conv with bias is refused in memory",
    source: "Orion, M4 Max; axiom uses it",
    rule: "conv-bias",
    driver: "in-memory",
    level: "thorough",
    build: () =>
      program([[1, 64, 1, 64]], (f, x) =>
        convolved(f, {
          x,
          weight: constant(f, [64, 64, 1, 1], padded(64 * 64, [], 0.01)),
          bias: constant(f, [64], padded(64, [], 1)),
        }),
      ),
    documented: always("is refused"),
    relies: "writing biases with add",
  },
  lastAxis(1, "is refused"),
  lastAxis(8, "is refused"),
  lastAxis(16, undefined),
  lastAxis(24, undefined),
  lastAxis(32, "runs"),
  lastAxis(131, undefined),
  convolutionResult(62_080, "runs"),
  convolutionResult(124_160, "is refused"),
  paddedSum(9216, "runs"),
  paddedSum(11_264, "is refused"),
  contestedOp("stack", () =>
    program(
      [
        [8, 64],
        [8, 64],
      ],
      (f, x, y) => f.op("stack", { values: [x, y], axis: 0 }),
    ),
  ),
  contestedOp("l2_norm", () =>
    program([[1, 8, 8, 64]], (f, x) => f.op("l2_norm", { x, epsilon: 1e-3 })),
  ),
  contestedOp("tile", () => program([[8, 64]], (f, x) => f.op("tile", { x, reps: [2, 1] }))),
  missingOp("gather", () =>
    program([[32, 64]], (f, x) =>
      f.op("gather", {
        x,
        indices: indices(f, [4]),
        axis: 0,
        batch_dims: 0,
        validate_indices: false,
      }),
    ),
  ),
  missingOp("gather_along_axis", () =>
    program([[32, 64]], (f, x) =>
      f.op("gather_along_axis", {
        x,
        indices: indices(f, [32, 1]),
        axis: 1,
        validate_indices: false,
      }),
    ),
  ),
  missingOp("scatter_along_axis", () =>
    program(
      [
        [32, 64],
        [32, 1],
      ],
      (f, x, y) =>
        f.op("scatter_along_axis", {
          data: x,
          indices: indices(f, [32, 1]),
          updates: y,
          axis: 1,
          mode: "add",
          validate_indices: false,
        }),
    ),
  ),
  missingOp("identity", () => program([[8, 64]], (f, x) => f.op("identity", { x }))),
];
