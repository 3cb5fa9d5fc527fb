import { wrapped } from "../util/format.ts";

/** Something published that a source of ours names: where it can be found again. */
export interface Publication {
  /** A project and a path in it, or who wrote it and the title. */
  readonly title: string;
  readonly address: string;
}

/** How texts call a publication; `$1` of title and address is the first group of `named`. */
interface Naming {
  readonly named: RegExp;
  readonly title: string;
  readonly address: string;
}

const article = (named: RegExp, title: string, address: string): Naming => ({
  named,
  title,
  address,
});

/** A path of a project; of an issue or a pull request, `issues/N`: the project leads from one to the other. */
function inProject(named: RegExp, project: string, path = ""): Naming {
  const isNumbered = path.startsWith("issues/");
  const place = path === "" || isNumbered ? path : `blob/HEAD/${path}`;
  const told = isNumbered ? `issue or pull request ${path.slice("issues/".length)}` : path;
  return {
    named,
    title: told === "" ? project : `${project}, ${told}`,
    address: `https://github.com/${project}${place === "" ? "" : `/${place}`}`,
  };
}

const ANEFORGE = "sbryngelson/ANEForge";
const MADERIX = "maderix/ANE";
const ORION = "mechramc/Orion";
const ESPRESSO = "christopherkarani/Espresso";
const FIELD_GUIDE = "skyfallsin/apple-neural-engine-field-guide";
const STUDY = "751K/Apple-Neural-Engine-Microarchitecture-Study-M6";

/**
 * What sources call publications. The first naming that fits a part of a text takes it, so the exact ones stand before
 * the names of whole projects. Addresses were looked up, none was guessed.
 */
const NAMINGS: readonly Naming[] = [
  // owner/name and a path, as rows of measurements have it
  {
    named:
      /\b((?:sbryngelson|Anemll|thebasedcapital|christopherkarani|751K|True2456|slavko-at-klincov-it|vatsal191201|jmanhype|cadamcat|maderix)\/[\w.-]+),? ((?:[\w.-]+\/)*[\w.-]+\.(?:md|MD|json|txt|m|py))/,
    title: "$1, $2",
    address: "https://github.com/$1/blob/HEAD/$2",
  },
  inProject(
    /cadamcat\/llms-on-apple-neural-engine (findings\/[\w-]+)/,
    "cadamcat/llms-on-apple-neural-engine",
    "$1/README.md",
  ),
  {
    named: /\b(jmanhype\/ane-lora-training) README/,
    title: "$1, README.md",
    address: "https://github.com/$1/blob/HEAD/README.md",
  },

  inProject(/ANEForge (?:roofline suite|measurements)/, ANEFORGE, "bench/results/ROOFLINES.md"),
  inProject(/ANEForge GEMV sweep/, ANEFORGE, "bench/gemv_bandwidth_sweep.py"),
  inProject(/ANEForge device comparison/, ANEFORGE, "bench/device_compare.py"),
  inProject(/ANEForge cost curves/, ANEFORGE, "aneforge/costmodel_curves.json"),
  inProject(/ANEForge(?:'s)? numeric cliffs/, ANEFORGE, "docs/numeric-cliffs.md"),
  inProject(/ANEForge per-family limits/, ANEFORGE, "docs/developer/capabilities-and-targets.md"),
  inProject(/ANEForge per-op rules/, ANEFORGE, "docs/developer/op-quirks.md"),
  inProject(
    /ANEForge(?:'s)? sweep of the MIL vocabulary/,
    ANEFORGE,
    "aneforge/full_mil_vocabulary_sweep.json",
  ),
  inProject(
    /ANEForge(?:'s)? (?:matrix-product (?:seeds|errors)|3x3 seeds|errors|sweep)/,
    ANEFORGE,
    "bench/device_saturation_sweep.py",
  ),
  inProject(/ANEForge(?:'s)? Objective-C\+\+ shim/, ANEFORGE, "aneforge/_lib/ane_e5rt_dispatch.mm"),
  inProject(/ANEForge(?:'s)? compiler/, ANEFORGE, "aneforge/_compile.py"),
  inProject(/ANEForge(?:'s)? bridge/, ANEFORGE, "docs/developer/bridges.md"),
  inProject(/ANEForge doc(?:s|umentation)/, ANEFORGE, "docs/index.md"),
  inProject(/ANEForge (\d+)/, ANEFORGE, "issues/$1"),
  inProject(/ANEForge/, ANEFORGE, "README.md"),

  article(
    /maderix, article part 1/,
    "maderix, Inside the M4 Apple Neural Engine, Part 1: Reverse Engineering",
    "https://maderix.substack.com/p/inside-the-m4-apple-neural-engine",
  ),
  article(
    /maderix, article part 2/,
    "maderix, Inside the M4 Apple Neural Engine, Part 2: ANE Benchmarks",
    "https://maderix.substack.com/p/inside-the-m4-apple-neural-engine-615",
  ),
  article(
    /maderix, article part 3/,
    "maderix, Inside the M4 Apple Neural Engine, Part 3: Training",
    "https://maderix.substack.com/p/inside-the-m4-apple-neural-engine-c8b",
  ),
  article(
    /(?:maderix,? )?(?:article )?\bpart 4\b/,
    "maderix, Inside the M4 ANE, Part 4: The Complete Machine",
    "https://maderix.github.io/articles/inside-the-m4-ane-part-4/",
  ),
  article(
    /the post on micro-GPT/,
    "Reverse engineered Apple Neural Engine(ANE) to train Microgpt, r/LocalLLaMA",
    "https://www.reddit.com/r/LocalLLaMA/comments/1rhx5pc/",
  ),
  inProject(/maderix(?:\/ANE)?,? inmem_peak(?:\.m)?/, MADERIX, "inmem_peak.m"),
  inProject(/maderix(?:\/ANE)?,? sram_probe(?:\.m)?/, MADERIX, "sram_probe.m"),
  inProject(/maderix(?:\/ANE)?,? ane_int8_bench(?:\.m)?/, MADERIX, "ane_int8_bench.m"),
  inProject(/maderix(?:\/ANE)?,? m5result/, MADERIX, "training/m5result.md"),
  inProject(/maderix(?:\/ANE)?,? community report/, MADERIX, "benchmarks/ANE_BENCHMARK_REPORT.md"),
  inProject(/maderix(?:\/ANE)?,? readme/, MADERIX, "README.md"),
  inProject(/maderix(?:\/ANE)?,? dynamic pipeline/, MADERIX, "training/training_dynamic/train.m"),
  inProject(/maderix(?:\/ANE)?,? C bridge/, MADERIX, "bridge/ane_bridge.m"),
  inProject(/maderix(?:\/ANE)?,? (?:issue|pull request) (\d+)/, MADERIX, "issues/$1"),
  inProject(/PR (\d+) of maderix\/ANE/, MADERIX, "issues/$1"),
  inProject(/maderix (\d+)/, MADERIX, "issues/$1"),
  inProject(/maderix(?:\/ANE)?/, MADERIX, "README.md"),

  article(
    /ane-guide/,
    "Spencer H. Bryngelson, Apple Neural Engine: Architecture, Programming, and Performance (arXiv 2606.22283)",
    "https://arxiv.org/abs/2606.22283",
  ),
  inProject(/(?:Apple Neural Engine )?study of M6|M6 study/i, STUDY, "final_report/en.md"),
  inProject(/Orion(?:'s)?(?: tests)?/, ORION, "docs/ane_constraints.md"),
  inProject(/Espresso(?:'s)?/, ESPRESSO, "README.md"),
  inProject(/(?:skyfallsin )?field guide/, FIELD_GUIDE, "README.md"),
  inProject(/rustane (\d+)/, "ncdrone/rustane", "issues/$1"),
  inProject(/rustane/, "ncdrone/rustane", "README.md"),
  inProject(/oMLX (\d+)/, "jundot/omlx", "issues/$1"),
  inProject(/oMLX/, "jundot/omlx", "README.md"),
  inProject(/axiom/, "Frikallo/axiom", "issues/27"),
  inProject(/dev-erik(?:\/ANE)?/, "dev-erik/ANE", "docs/ANE_INTERNALS.md"),
  inProject(/ane-infer/, "thebasedcapital/ane-infer", "README.md"),
  inProject(/qwen-ane/, "True2456/qwen-ane", "docs/ANE-MIL-COST-MODEL.md"),
  inProject(/ane-lora-training/, "jmanhype/ane-lora-training", "README.md"),
  inProject(
    /AutoANE/,
    "vatsal191201/AutoANE",
    "docs/specs/2026-03-15-ane-training-pipeline-optimization.md",
  ),
  inProject(
    /ANE-Training-iPhone/,
    "slavko-at-klincov-it/ANE-Training-iPhone",
    "BENCHMARK_RESULTS.md",
  ),
  inProject(
    /ANE-Training|slavko/,
    "slavko-at-klincov-it/ANE-Training",
    "docs/ANE_KERNEL_SHAPE_SWEEP.md",
  ),
  inProject(/cadamcat(?:'s)?/, "cadamcat/llms-on-apple-neural-engine", "findings/README.md"),
  article(
    /Anemll gist/,
    "Anemll, ANE INT8 W8A8 Benchmark: ~1.88x FP16 Throughput on Apple Silicon",
    "https://gist.github.com/Anemll/49e219448ad350ef67ff4bfdcb9ebd8c",
  ),
  inProject(/Anemll Core ML head benchmark/, "Anemll/anemll-bench", "Results.MD"),
  article(
    /eiln/,
    "Eileen Yoon, Getting 50 GB/s Back Out of the ANE",
    "https://eiln.github.io/posts/ane-dma.html",
  ),
  inProject(/stablehlo-coreml (\d+)/, "kasper0406/stablehlo-coreml", "issues/$1"),
  inProject(/tinygrad/, "tinygrad/tinygrad", "accel/ane/README.md"),
  inProject(/onnxsim (\d+)/, "onnxsim/onnxsim", "issues/$1"),
  article(
    /coremltools/,
    "Apple, Core ML Tools documentation",
    "https://apple.github.io/coremltools",
  ),
  article(
    /Apple's product pages/,
    "Apple, technical specifications of each Mac",
    "https://www.apple.com/mac/compare/",
  ),
  article(
    /NVIDIA data sheet, 312/,
    "NVIDIA A100 Tensor Core GPU",
    "https://www.nvidia.com/content/dam/en-zz/Solutions/Data-Center/a100/pdf/nvidia-a100-datasheet-us-nvidia-1758950-r4-web.pdf",
  ),
  article(
    /NVIDIA data sheet, 989/,
    "NVIDIA H100 Tensor Core GPU",
    "https://www.nvidia.com/en-us/data-center/h100/",
  ),
];

/**
 * What a text of ours names, in its order, each once. A source that gives none is our own reading or caution, and says
 * so in words.
 */
export function publicationsIn(text: string): readonly Publication[] {
  const found: (Publication & { readonly index: number })[] = [];
  let rest = text;
  for (const { named, title, address } of NAMINGS) {
    for (let match = named.exec(rest); match !== null; match = named.exec(rest)) {
      const groups = match;
      const filled = (pattern: string): string =>
        pattern.replaceAll(/\$(\d)/g, (_, digit: string) => groups[Number(digit)] ?? "");
      found.push({ index: match.index, title: filled(title), address: filled(address) });
      rest =
        rest.slice(0, match.index) +
        " ".repeat(match[0].length) +
        rest.slice(match.index + match[0].length);
    }
  }
  const byAddress = new Map<string, Publication>();
  for (const { title, address } of found.toSorted((a, b) => a.index - b.index)) {
    byAddress.set(address, { title, address });
  }
  return [...byAddress.values()];
}

/** Every publication that the texts name, each once, as lines of a table: title, then address on a line of its own. */
export function formatPublications(texts: readonly string[]): string {
  const all = new Map(
    texts.flatMap(publicationsIn).map(({ title, address }) => [address, title] as const),
  );
  return [...all].map(([address, title]) => `${wrapped("  ", title)}\n    ${address}\n`).join("");
}
