import { formatBytes } from "../util/format.ts";
import type { Command } from "commander";
import { BlobFile } from "../coreml/index.ts";
import { decodeE5Analytics, decodeE5Bundle, decodeE5Manifest } from "../inspect/e5/index.ts";
import {
  e5AnalyticsListing,
  e5BundleListing,
  e5BundleToJson,
  e5ManifestListing,
} from "../inspect/e5/index.ts";
import {
  decodeHwx,
  extractWeights,
  graphToMermaid,
  graphToSvg,
  hwxGraph,
  hwxListing,
  hwxToJson,
} from "../inspect/hwx/index.ts";
import type { HwxGraph } from "../inspect/hwx/index.ts";
import { summarizeOnnx } from "../inspect/onnx-summary.ts";
import { programGraph } from "../inspect/program-graph.ts";
import { programKind } from "../inspect/program-kind.ts";
import { summarizeProgram } from "../inspect/program-summary.ts";
import { taskTimeOf } from "../inspect/task-time.ts";
import { printProgram } from "../mil/text/index.ts";
import { openSafetensors } from "../model/safetensors.ts";
import { writeWholeFile } from "../util/atomic-file.ts";
import { openFileSource } from "../util/byte-source.ts";
import type { ByteSource } from "../util/byte-source.ts";
import { readNpyFile } from "../files/npy.ts";
import type { Exit } from "./exit.ts";
import { UsageError } from "./errors.ts";
import { fileKindOf } from "../files/file-kind.ts";
import { formatSummary } from "./format-summary.ts";
import type { Summary } from "./format-summary.ts";
import {
  append,
  defaultFunctionOf,
  functionOf,
  isProgramKind,
  openOnnxFile,
  openProgram,
  parseShapes,
} from "../files/open-program.ts";

interface InspectFlags {
  readonly text?: boolean;
  readonly graph?: string;
  readonly function?: string;
  readonly shape: readonly string[];
  readonly registers?: boolean;
  readonly extract?: string;
  readonly json?: boolean;
}

export function register(program: Command, _exit: Exit): void {
  program
    .command("inspect")
    .description("show what is in a model, program or weight file of any format")
    .argument(
      "<file>",
      "MIL text, .mlpackage, .mlmodel, .onnx, .hwx, .e5, .safetensors, a model folder, …",
    )
    .option("--text", "print the program as MIL text")
    .option("--graph <file>", "write a picture of the data flow: .svg or .mmd (Mermaid)")
    .option("--function <name>", "the function to draw, where a file has several")
    .option(
      "--shape <name=2x3>",
      "sizes that an .onnx file leaves open, for --text and --graph",
      append,
      [],
    )
    .option("--registers", "every word of an engine program (.hwx)")
    .option("--extract <dir>", "write the weights of an engine program (.hwx) into a folder")
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      `
Examples:
  anecdote inspect model.mlpackage
  anecdote inspect model.onnx --graph model.svg
  anecdote inspect program.hwx --registers`,
    )
    .action((path: string, flags: InspectFlags) => inspect(path, flags));
}

async function inspect(path: string, flags: InspectFlags): Promise<void> {
  const kind = fileKindOf(path);
  if (kind === "model") {
    if (flags.text === true || flags.graph !== undefined) {
      throw new UsageError("cli.inspect.flag", `${path} is a model or a run, not a program`, {
        remedy: `Write its forward pass as one: anecdote convert ${path} model.mil`,
      });
    }
    refuseFlags(kind, flags, []);
    const { describeModelFolder } = await import("./model-folder.ts");
    const { json, text } = describeModelFolder(path);
    output(flags, json, () => text);
  } else if (isProgramKind(kind)) inspectProgram(path, flags);
  else if (kind === "hwx" || kind === "ane")
    withSource(path, (source) => inspectHwx(source, flags));
  else {
    refuseFlags(kind, flags, []);
    switch (kind) {
      case "e5":
        withSource(path, (source) => {
          const manifest = decodeE5Manifest(source);
          output(flags, manifest, () => e5ManifestListing(manifest));
        });
        return;
      case "e5-bundle": {
        const bundle = decodeE5Bundle(path);
        output(flags, e5BundleToJson(bundle), () => e5BundleListing(bundle));
        return;
      }
      case "weights":
        withSource(path, (source) => inspectWeights(source, flags));
        return;
      case "safetensors":
        withSource(path, (source) => inspectSafetensors(source, flags));
        return;
      case "npy": {
        const { type, shape, data } = readNpyFile(path);
        const bytes = data.byteLength;
        output(
          flags,
          { format: "npy", dtype: type, shape, bytes },
          () => `${path}: npy, ${type}[${shape.join(", ")}], ${formatBytes(bytes)}\n`,
        );
      }
    }
  }
}

function withSource(path: string, use: (source: ByteSource) => void): void {
  const source = openFileSource(path);
  try {
    use(source);
  } finally {
    source.close();
  }
}

function output(flags: InspectFlags, json: unknown, text: () => string): void {
  process.stdout.write(flags.json === true ? `${JSON.stringify(json)}\n` : text());
}

const SPECIAL_FLAGS = ["text", "graph", "registers", "extract"] as const;

function refuseFlags(
  kind: string,
  flags: InspectFlags,
  allowed: readonly (typeof SPECIAL_FLAGS)[number][],
): void {
  const wrong = SPECIAL_FLAGS.find((name) => flags[name] !== undefined && !allowed.includes(name));
  if (wrong !== undefined) {
    throw new UsageError("cli.inspect.flag", `--${wrong} has no meaning for a ${kind} file`);
  }
}

function inspectProgram(path: string, flags: InspectFlags): void {
  const kind = fileKindOf(path);
  refuseFlags(kind, flags, ["text", "graph"]);
  const drawsProgram = flags.text === true || flags.graph !== undefined;
  if (kind === "onnx" && !drawsProgram) {
    const summary: Summary = { format: "onnx", path, ...summarizeOnnx(openOnnxFile(path)) };
    output(flags, summary, () => formatSummary(summary));
    return;
  }
  const opened = openProgram(path, parseShapes(flags.shape));
  try {
    const { program, format, model, metadata } = opened;
    if (flags.graph !== undefined) {
      writeGraph(
        flags.graph,
        programGraph(functionOf(program, flags.function, defaultFunctionOf(opened))),
      );
      if (flags.text !== true) return told(flags, flags.graph);
    }
    if (flags.text === true) {
      const text = printProgram(program);
      output(flags, { format, text }, () => `${text.trimEnd()}\n`);
      return;
    }
    const { userDefined, ...texts } = metadata;
    const summary: Summary = {
      format,
      path,
      ...(model !== undefined && { specification: model.specificationVersion }),
      ...summarizeProgram(program),
      metadata: {
        ...Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== "")),
        ...Object.fromEntries(userDefined ?? []),
      },
    };
    const analytics = analyticsOf(path);
    output(
      flags,
      { ...summary, ...(analytics !== undefined && { analytics }) },
      () =>
        formatSummary(summary) +
        (analytics === undefined ? "" : `\n${e5AnalyticsListing(analytics)}`),
    );
  } finally {
    opened.close();
  }
}

/** What the runtime noted beside the ops, where a text is one of its own. */
function analyticsOf(path: string): ReturnType<typeof decodeE5Analytics> | undefined {
  if (fileKindOf(path) !== "mil") return undefined;
  let analytics: ReturnType<typeof decodeE5Analytics> | undefined;
  withSource(path, (source) => {
    if (programKind(source) === "e5-analytics") analytics = decodeE5Analytics(source);
  });
  return analytics;
}

function writeGraph(path: string, graph: HwxGraph): void {
  const isSvg = path.endsWith(".svg");
  if (!isSvg && !/\.(?:mmd|mermaid|md)$/.test(path)) {
    throw new UsageError("cli.inspect.graph", `--graph writes .svg or .mmd, not "${path}"`);
  }
  const mermaid = (): string =>
    path.endsWith(".md")
      ? `\`\`\`mermaid\n${graphToMermaid(graph)}\`\`\`\n`
      : graphToMermaid(graph);
  writeWholeFile(path, isSvg ? graphToSvg(graph) : mermaid());
}

function told(flags: InspectFlags, path: string): void {
  output(flags, { graph: path }, () => `${path} written\n`);
}

function inspectHwx(source: ByteSource, flags: InspectFlags): void {
  refuseFlags("hwx", flags, ["graph", "registers", "extract"]);
  const file = decodeHwx(source);
  if (flags.graph !== undefined) {
    writeGraph(flags.graph, hwxGraph(file));
    if (flags.extract === undefined) return told(flags, flags.graph);
  }
  if (flags.extract !== undefined) {
    const { folder, files } = extractWeights(file, source, flags.extract);
    output(flags, { folder, files }, () =>
      [
        ...files.map(({ file: name, byteLength }) => `${name}  ${formatBytes(byteLength)}`),
        `${files.length} weight tiles and weights.json in ${folder}\n`,
      ].join("\n"),
    );
    return;
  }
  const taskTime = taskTimeOf(file);
  const options = {
    ...(flags.registers === true && { registers: true }),
    ...(taskTime !== undefined && { taskTime }),
  };
  output(flags, hwxToJson(file, options), () => hwxListing(file, options));
}

function inspectWeights(source: ByteSource, flags: InspectFlags): void {
  const file = new BlobFile(source);
  const weights = [...file.records()].map((record) => ({
    name: String(record.offset),
    dtype: record.dataType,
    shape: [record.elementCount],
    bytes: record.byteLength,
    offset: record.offset,
  }));
  const summary: Summary = {
    format: "weights",
    path: source.name,
    functions: [],
    weights,
    weight_bytes: weights.reduce((sum, { bytes }) => sum + bytes, 0),
  };
  output(flags, summary, () => formatSummary(summary));
}

function inspectSafetensors(source: ByteSource, flags: InspectFlags): void {
  const { entries, metadata } = openSafetensors(source);
  const weights = [...entries.values()].map(({ name, dataType, shape, byteLength, offset }) => ({
    name,
    dtype: dataType,
    shape,
    bytes: byteLength,
    offset,
  }));
  const summary: Summary = {
    format: "safetensors",
    path: source.name,
    functions: [],
    weights,
    weight_bytes: weights.reduce((sum, { bytes }) => sum + bytes, 0),
    metadata,
  };
  output(flags, summary, () => formatSummary(summary));
}
