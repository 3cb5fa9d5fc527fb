import { printable } from "../util/printable.ts";
import { basename } from "node:path";
import type { Command } from "commander";
import { append } from "./append.ts";
import { inspectFile } from "../files/inspect-file.ts";
import type { FileReport } from "../files/inspect-file.ts";
import { fileKindOf } from "../files/file-kind.ts";
import type { FileKind } from "../files/file-kind.ts";
import {
  defaultFunctionOf,
  functionOf,
  isProgramKind,
  openProgram,
  parseShapes,
} from "../files/open-program.ts";
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
import type { HwxFile, HwxGraph } from "../inspect/hwx/index.ts";
import { programGraph } from "../inspect/program-graph.ts";
import { taskTimeOf } from "../inspect/task-time.ts";
import { printProgram } from "../mil/text/index.ts";
import { describeModelFolder, modelFolderJson } from "../runs/describe-model-folder.ts";
import type { ModelFolderReport } from "../runs/describe-model-folder.ts";
import { writeWholeFile } from "../util/atomic-file.ts";
import { formatBytes } from "../util/format.ts";
import type { Exit } from "./exit.ts";
import { UsageError } from "./errors.ts";
import { formatSummary } from "./format-summary.ts";
import { printNote, answer } from "./terminal.ts";
import { withFileSource } from "../util/byte-source.ts";
import { closing } from "../util/closing.ts";
import type { ProgramFlags } from "./named-file.ts";

interface InspectFlags extends Omit<ProgramFlags, "dim"> {
  readonly text?: boolean;
  readonly graph?: string;
  readonly registers?: boolean;
  readonly extract?: string;
}

export function register(program: Command, _exit: Exit): void {
  program
    .command("inspect")
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
    .action((path: string, flags: InspectFlags) => {
      inspect(path, flags);
    });
}

function inspect(path: string, flags: InspectFlags): void {
  const kind = fileKindOf(path);
  if (kind === "model" && (flags.text === true || flags.graph !== undefined)) {
    throw new UsageError("cli.inspect.flag", `${path} is a model or a run, not a program`, {
      remedy: `Write its forward pass as one: anecdote convert ${path} model.mil`,
    });
  }
  refuseFlags(kind, flags);
  if (kind === "model") {
    const report = describeModelFolder(path, printNote);
    output(flags, modelFolderJson(report), () => modelFolderText(report));
  } else if (isProgramKind(kind) && (flags.text === true || flags.graph !== undefined)) {
    drawProgram(path, flags);
  } else if (flags.graph !== undefined || flags.extract !== undefined) drawEngine(path, flags);
  else print(path, inspectFile(path), flags);
}

function print(path: string, report: FileReport, flags: InspectFlags): void {
  switch (report.kind) {
    case "summary": {
      const { summary, analytics } = report;
      output(
        flags,
        { ...summary, ...(analytics !== undefined && { analytics }) },
        () =>
          formatSummary(summary) +
          (analytics === undefined ? "" : `\n${e5AnalyticsListing(analytics)}`),
      );
      return;
    }
    case "hwx":
      printEngine(report.file, flags);
      return;
    case "e5":
      output(flags, report.manifest, () => e5ManifestListing(report.manifest));
      return;
    case "e5-bundle":
      output(flags, e5BundleToJson(report.bundle), () => e5BundleListing(report.bundle));
      return;
    case "npy": {
      const { type, shape, byteLength: bytes } = report;
      output(
        flags,
        { format: "npy", dtype: type, shape, bytes },
        () => `${path}: npy, ${type}[${shape.join(", ")}], ${formatBytes(bytes)}\n`,
      );
    }
  }
}

function printEngine(file: HwxFile, flags: InspectFlags): void {
  const taskTime = taskTimeOf(file);
  const options = {
    ...(flags.registers === true && { registers: true }),
    ...(taskTime !== undefined && { taskTime }),
  };
  output(flags, hwxToJson(file, options), () => hwxListing(file, options));
}

function modelFolderText({ path, checkpoints, model }: ModelFolderReport): string {
  if (model === undefined) return `${path}: the folder of a run that has saved no checkpoint yet\n`;
  const lines = checkpoints.map(
    ({ folder, step, byteLength, problem }) =>
      `  ${basename(folder)}  step ${step}  ${formatBytes(byteLength)}${problem === undefined ? "" : `  damaged: ${problem}`}`,
  );
  const ofRun =
    lines.length === 0
      ? ""
      : `${path}: a run with ${lines.length} checkpoint${lines.length === 1 ? "" : "s"}\n${lines.join("\n")}\n\n`;
  const hint = `\nanecdote convert ${path} model.mlpackage writes its forward pass as a program (.mil, .onnx too)\n`;
  return `${ofRun}${formatSummary(model.summary)}${hint}`;
}

function output(flags: InspectFlags, json: unknown, text: () => string): void {
  answer(flags, json, () => printable(text()));
}

const SPECIAL_FLAGS = ["text", "graph", "registers", "extract", "function", "shape"] as const;

/** Throws `UsageError` for flags that would do nothing. */
function refuseFlags(kind: FileKind, flags: InspectFlags): void {
  const isGiven = (name: (typeof SPECIAL_FLAGS)[number]): boolean =>
    name === "shape" ? flags.shape.length > 0 : flags[name] !== undefined;
  const allowed = allowedFlags(kind);
  for (const name of SPECIAL_FLAGS) {
    if (!isGiven(name)) continue;
    if (!allowed.includes(name)) {
      throw new UsageError("cli.inspect.flag", `--${name} has no meaning for a ${kind} file`);
    }
    if (name === "function" && flags.graph === undefined) {
      throw new UsageError("cli.inspect.flag", "--function does nothing without --graph");
    }
    if (name === "registers" && (flags.graph ?? flags.extract) !== undefined) {
      throw new UsageError(
        "cli.inspect.flag",
        "--registers prints; it does nothing beside --graph or --extract",
      );
    }
    if (name === "shape" && flags.text !== true && flags.graph === undefined) {
      throw new UsageError("cli.inspect.flag", "--shape does nothing without --text or --graph");
    }
  }
}

function allowedFlags(kind: FileKind): readonly (typeof SPECIAL_FLAGS)[number][] {
  if (kind === "onnx") return ["text", "graph", "function", "shape"];
  if (isProgramKind(kind)) return ["text", "graph", "function"];
  return kind === "hwx" || kind === "ane" ? ["graph", "registers", "extract"] : [];
}

function drawProgram(path: string, flags: InspectFlags): void {
  closing(openProgram(path, parseShapes(flags.shape)), (opened) => {
    const { program, format } = opened;
    if (flags.graph !== undefined) {
      writeGraph(
        flags.graph,
        programGraph(functionOf(program, flags.function, defaultFunctionOf(opened))),
      );
      if (flags.text !== true) {
        told(flags, flags.graph);
        return;
      }
    }
    const text = printProgram(program);
    output(flags, { format, text }, () => `${text.trimEnd()}\n`);
  });
}

/** Writes an engine program's picture and its weights. */
function drawEngine(path: string, flags: InspectFlags): void {
  withFileSource(path, (source) => {
    const file = decodeHwx(source);
    if (flags.graph !== undefined) writeGraph(flags.graph, hwxGraph(file));
    if (flags.extract === undefined) {
      told(flags, flags.graph ?? "");
      return;
    }
    const { folder, files } = extractWeights(file, source, flags.extract);
    output(flags, { folder, files }, () =>
      [
        ...files.map(({ file: name, byteLength }) => `${name}  ${formatBytes(byteLength)}`),
        `${files.length} weight tiles and weights.json in ${folder}\n`,
      ].join("\n"),
    );
  });
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
