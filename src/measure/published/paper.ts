import { table, wrapped } from "../../util/format.ts";
import { chipByName } from "../../chip/chips.ts";
import { callJoules } from "../../chip/cost/energy.ts";
import { rowCase } from "./row-case.ts";
import type { MeasuredRow } from "./measured-row.ts";
import { priceCall, pricingRates } from "../../chip/cost/model.ts";
import type { CallPrice } from "../../chip/cost/model.ts";
import type { FunctionWork } from "../../chip/cost/work.ts";
import { formatNumber } from "../../chip/figure.ts";
import { predictForwards, SMOLLM2_360M } from "./published-forwards.ts";
import { MICRO_GPT_1B, parameterCount, predictPipeline } from "./published-pipeline.ts";
import { QWEN3_600M, STORIES_110M } from "./published-pipeline.ts";
import { formatPublications, publicationsIn } from "../../chip/publications.ts";
import type { Publication } from "../../chip/publications.ts";
import { movingWork, productWork } from "./op-work.ts";

/** One published result beside what the cost model says of the same work. */
export interface PaperRow {
  readonly what: string;
  readonly chip: string;
  /** Absent where somebody claims the thing and gives no figure. */
  readonly published?: number;
  readonly predicted: number;
  readonly unit: string;
  readonly source: string;
  /** Why the two differ, or what the number means. */
  readonly note: string;
}

/** What others wrote that does not hold, so that nobody repeats it. */
export const CLAIMS_NOT_REPEATED: readonly {
  readonly claim: string;
  readonly why: string;
  /** Where it stands, or where what refutes it stands. */
  readonly source: string;
}[] = [
  {
    claim: "M3 engines only support 512 channels",
    why: "the benchmark wrote a weight header whose size field meant exactly 512 x 512; strict readers refused all others",
    source: "maderix/ANE benchmarks/ANE_BENCHMARK_REPORT.md",
  },
  {
    claim: "6.6 TFLOPS/W",
    why: "its author corrects it in part 4: the 2.79 W were read in Low Power Mode; at full speed it is 4.57 W, 4.1 TFLOPS/W",
    source: "maderix, article part 2; maderix, article part 4",
  },
  {
    claim: "a 32 MB SRAM",
    why: "withdrawn by its author in part 4: each operand beyond 2 MiB comes in tiles (the study of M6 finds 2 MiB an engine, and intermediates that never leave the chip); single 1x1 convolutions lie on a straight line through 72 MiB; only sizes that are a whole number of MiB a core fall off it",
    source: "maderix, article part 2; maderix, article part 4; study of M6",
  },
  {
    claim: "1.7 GFLOP a training step",
    why: "the trainer's own count is 174 GFLOP",
    source: "maderix/ANE training/train_large.m",
  },
  {
    claim: "M3 Ultra takes 91 ms a step",
    why: "the readme says M4; M3 Ultra measured 115 ms",
    source: "maderix/ANE benchmarks/ANE_BENCHMARK_REPORT.md; maderix/ANE README.md",
  },
  {
    claim: "int8 brings no speed",
    why: "true of weights only; with int8 activations the rate is 1.88 times",
    source: "maderix/ANE ane_int8_bench.m; Anemll gist",
  },
  {
    claim: "weights are swapped by overwriting the blob",
    why: "three machines gave unchanged outputs",
    source: "maderix/ANE training/m5result.md",
  },
  {
    claim: "94.4 TFLOPS, 926 tokens/s, 4.87x by chaining",
    why: "mislabelled, synthetic, and retracted",
    source: "Espresso; dev-erik/ANE",
  },
];

const chain = (depth: number, spatial: number, int8?: "w8a8"): MeasuredRow => ({
  kind: "conv1x1-chain",
  chip: "M4",
  depth,
  channels: 512,
  spatial,
  weights: "constant",
  own_weights: false,
  ms: 1,
  source: "maderix",
  ...(int8 !== undefined && { int8 }),
});

function priceRow(row: MeasuredRow): CallPrice {
  const { work, chip, driver } = rowCase(row);
  return priceCall(work, pricingRates(chip, driver));
}

/** Gradients of both factors of a correction of rank 8 in one program, the harness's packing included. */
function adapterGradientMs(): number {
  const found = rowCase({
    kind: "lora-gradient",
    ...{ chip: "M4", in_dim: 2048, out_dim: 2048, rank: 8, seq: 32, programs: 1 },
    ...{ driver: "in-memory", weights: "run-time", ms: 0.36, source: "jmanhype" },
  });
  const { work, chip, driver, hostBytes, edgeBytes } = found;
  return priceCall(work, pricingRates(chip, driver), { hostBytes, edgeBytes }).ms;
}

/** A square product of two runtime operands through fp32 ports that are cast inside, as the article ran it. */
function castProduct(size: number): CallPrice {
  const bytes = 2 * size * size;
  // fp32 from memory or to it.
  const cast = { ...movingWork("cast", bytes), weightBytes: 2 * bytes };
  const product = productWork({
    ...{ kind: "matmul", flops: 2 * size ** 3, positions: size },
    ...{ weights: size * size, activations: 3 * size * size, fromMemory: false },
  });
  const work: FunctionWork = {
    name: "product",
    ops: [cast, cast, product, cast],
    inputBytes: 4 * bytes,
    outputBytes: 2 * bytes,
  };
  return priceCall(work, pricingRates(chipByName("m4"), "in-memory"));
}

const tflops = (flops: number, ms: number): number => flops / ms / 1e9;

/** The published results this project started from, recomputed. */
export function paperRows(): readonly PaperRow[] {
  const m4 = chipByName("m4");
  const peakFlops = 128 * 2 * 512 * 512 * 4096;
  const peak = priceRow(chain(128, 4096));
  const peak8 = priceRow(chain(128, 4096, "w8a8"));
  const peakWatts = callJoules(peak, m4) / (peak.ms * 1e-3);
  const measuredWatts = 5.48;
  const single = priceRow(chain(1, 1024));
  const deep = priceRow(chain(64, 1024));
  const oneFlops = 2 * 512 * 512 * 1024;
  const best = m4.rates.pointwise.value;
  const product24 = castProduct(2048);
  const product96 = castProduct(4096);
  const pointwise = priceRow({
    kind: "conv1x1",
    chip: "M4",
    cin: 2048,
    cout: 2048,
    spatial: 2048,
    weights: "constant",
    ms: 1,
    source: "maderix",
  });
  const layer = predictPipeline(
    { ...STORIES_110M, layers: 1, sequence: 512, vocabulary: 0 },
    m4,
    "static",
  );
  const stories = predictPipeline(STORIES_110M, m4, "dynamic");
  const qwen = predictPipeline(QWEN3_600M, m4, "dynamic");
  const micro = predictPipeline(MICRO_GPT_1B, m4, "dynamic");
  const forwards = predictForwards(SMOLLM2_360M, chipByName("m2-pro"));
  const microParameters = parameterCount(MICRO_GPT_1B);
  const parts = (p: typeof stories): string =>
    `engine ${formatNumber(p.engineMs)} + copies ${formatNumber(p.copyMs)} + CPU ${formatNumber(p.hostMs)} ms`;
  return [
    {
      what: "one layer 768 x 512, forward and backward",
      chip: "M4",
      published: 9.3,
      predicted: layer.ms,
      unit: "ms/step",
      source: "maderix, article part 1",
      note: `${parts(layer)}; weight gradients run on other cores and may add to it. Its own kernels are priced here, not Anecdote's`,
    },
    {
      what: "peak fp16",
      chip: "M4",
      published: 18.6,
      predicted: tflops(peakFlops, peak.ms),
      unit: "TFLOP/s",
      source: "maderix/ANE ane_int8_bench.m",
      note: "128 convolutions 512 x 512 over 4096 positions: half of the 38 TOPS advertised, which count int8",
    },
    {
      what: "peak int8, weights and activations",
      chip: "M4",
      published: 35.1,
      predicted: tflops(peakFlops, peak8.ms),
      unit: "TOP/s",
      source: "maderix/ANE ane_int8_bench.m",
      note: "1.88 times fp16; int8 weights alone bring nothing here",
    },
    {
      what: "efficiency at peak",
      chip: "M4",
      published: 6.6,
      predicted: tflops(peakFlops, peak.ms) / peakWatts,
      unit: "TFLOP/s/W",
      source: "maderix, article part 2 (claimed)",
      note: `its author in part 4: 2.79 W was Low Power Mode, 4.57 W at full speed, so 4.1 TFLOP/s/W; the study of M6 reads 5.2 W on M4, 6.2 on one engine of M6; ANEForge read ${measuredWatts} W at 9.4 TFLOP/s on M4, 1.7 TFLOP/s/W on the engine's rail`,
    },
    {
      what: "efficiency, A100 fp16 dense",
      chip: "A100",
      published: 312 / 400,
      predicted: 312 / 400,
      unit: "TFLOP/s/W",
      source: "NVIDIA data sheet, 312 TFLOP/s, 400 W",
      note: "rated numbers of a whole card, not a rail: M4's engine is about twice as efficient, not 80 times",
    },
    {
      what: "efficiency, H100 SXM fp16 dense",
      chip: "H100",
      published: 989 / 700,
      predicted: 989 / 700,
      unit: "TFLOP/s/W",
      source: "NVIDIA data sheet, 989 TFLOP/s, 700 W",
      note: "the engine's rail and this card are close",
    },
    {
      what: "efficiency, M4 GPU through Metal",
      chip: "M4",
      published: 2.8 / 17.5,
      predicted: 2.8 / 17.5,
      unit: "TFLOP/s/W",
      source: "ANEForge roofline suite, GEMM 4096 in MLX, measured",
      note: "for comparison only: the model does not price GPUs",
    },
    {
      what: "2048 x 2048 product (24 MB)",
      chip: "M4",
      published: 5.7,
      predicted: tflops(2 * 2048 ** 3, product24.ms),
      unit: "TFLOP/s",
      source: "maderix, article part 2",
      note: "fp32 ports: what the model adds for the casts is a lower bound",
    },
    {
      what: "4096 x 4096 product (96 MB)",
      chip: "M4",
      published: 4,
      predicted: tflops(2 * 4096 ** 3, product96.ms),
      unit: "TFLOP/s",
      source: "maderix, article part 2",
      note: "the drop is read as an SRAM of 32 MB; GEMM rows on eight chips show products waiting for a shared operand above about 20 MB, and single convolutions no such edge",
    },
    {
      what: "1x1 conv against matmul, same product",
      chip: "M4",
      published: 3,
      predicted: product24.ms / pointwise.ms,
      unit: "x",
      source: "maderix, article part 2",
      note: "most of it is the casts and the waiting of the matmul, not the product array",
    },
    {
      what: "one op: share of peak",
      chip: "M4",
      published: 30,
      predicted: (100 * tflops(oneFlops, single.ms)) / best,
      unit: "%",
      source: "maderix, article part 2",
      note: "512 channels, 1024 positions assumed: dispatch is three quarters of the call",
    },
    {
      what: "64 ops in one program: share of peak",
      chip: "M4",
      published: 94,
      predicted: (100 * tflops(64 * oneFlops, deep.ms)) / best,
      unit: "%",
      source: "maderix, article part 2",
      note: "the same op 64 times",
    },
    {
      what: "Stories110M training step",
      chip: "M4",
      published: 91,
      predicted: stories.ms,
      unit: "ms/step",
      source: "maderix/ANE README.md (another page of it says about 115)",
      note: `${parts(stories)}; its log of one commit: engine 49, copies 27, CPU 28. Its own kernels are priced here; what Anecdote's programs take tell estimate and bench engine`,
    },
    {
      what: "Qwen3-0.6B training step",
      chip: "M4",
      published: 412,
      predicted: qwen.ms,
      unit: "ms/step",
      source: "maderix/ANE README.md",
      note: `${parts(qwen)}; restaging fp32 weights after each update is not in the model`,
    },
    {
      what: "SmolLM2-360M, two forward passes",
      chip: "M2 Pro",
      published: 262,
      predicted: forwards.ms,
      unit: "ms/step",
      source: "vatsal191201/AutoANE README",
      note: `${parts(forwards)}; the source puts the CPU's own work alone at 132 ms a pass, plain loops over norms and attention. On the CPU alone it takes 447 ms there, with run-time weights on the engine 528`,
    },
    {
      what: "gradients of a rank-8 correction",
      chip: "M4",
      published: 0.36,
      predicted: adapterGradientMs(),
      unit: "ms",
      source: "jmanhype/ane-lora-training README",
      note: "2048 x 2048, 32 positions: four products whose run-time operands come packed in one surface; the harness packs them in Python, which is not priced",
    },
    {
      what: "1.1B micro-GPT training step",
      chip: "M4",
      predicted: micro.ms,
      unit: "ms/step",
      source: "the post on micro-GPT; maderix/ANE README.md",
      note: `the claim that a micro-GPT of 1.1B was trained on an M4: the post names 110M, and no run of 1.1B that can be read was found. TinyLlama's shape through the same kernels: ${parts(micro)}; weights, gradients and moments in fp32 take ${formatNumber((16 * microParameters) / 2 ** 30)} GiB, more than the 16 of a small M4`,
    },
  ];
}

/** The table `anecdote bench paper` prints. */
export function formatPaper(rows: readonly PaperRow[] = paperRows()): string {
  const header = ["M4 where no other is named", "published", "predicted", "unit", "off"];
  const lines = rows.map((row) => [
    row.what,
    row.published === undefined ? "-" : formatNumber(row.published),
    row.published === row.predicted ? "-" : formatNumber(row.predicted),
    row.unit,
    row.published === undefined || row.published === row.predicted
      ? "-"
      : `${Math.round(100 * (row.predicted / row.published - 1))}%`,
  ]);
  const notes = rows
    .map((row) => `${row.what}\n${wrapped("  ", `${row.note} [${row.source}]`)}`)
    .join("\n");
  const claims = CLAIMS_NOT_REPEATED.map(
    ({ claim, why, source }) => `not repeated: "${claim}"\n${wrapped("  ", `${why} [${source}]`)}`,
  ).join("\n");
  const sources = formatPublications([...rows, ...CLAIMS_NOT_REPEATED].map(({ source }) => source));
  return `${table([header, ...lines])}\n\n${notes}\n\n${claims}\n\nwhere to read it:\n${sources}`;
}

/** Rows and claims as `bench paper --json` prints them, each with the places where it can be read. */
export function paperJson(): Readonly<Record<string, unknown>> {
  const withPublications = <Entry extends { readonly source: string }>(
    entry: Entry,
  ): Entry & { readonly publications: readonly Publication[] } => ({
    ...entry,
    publications: publicationsIn(entry.source),
  });
  return {
    rows: paperRows().map(withPublications),
    not_repeated: CLAIMS_NOT_REPEATED.map(withPublications),
  };
}
