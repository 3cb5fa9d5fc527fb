import { CHIPS } from "../../chip/chips.ts";
import { ChipError } from "../../chip/errors.ts";
import type { Estimate } from "../../chip/estimate.ts";
import { isLegal } from "../../chip/legality/check.ts";
import type { Finding } from "../../chip/legality/check.ts";
import { constantBytes } from "../../chip/legality/function-rules.ts";
import { countedNotes, groupFindings } from "../../chip/print.ts";
import { checkFile } from "../../files/check-file.ts";
import type { CheckReport, ChipReport } from "../../files/check-file.ts";
import { FilesError } from "../../files/errors.ts";
import { functionEstimate, pricedFunction } from "../../files/estimate-file.ts";
import type { FileEstimate } from "../../files/estimate-file.ts";
import { summaryOf } from "../../files/inspect-file.ts";
import {
  defaultFunctionOf,
  functionOf,
  openProgram,
  parseShapes,
} from "../../files/open-program.ts";
import { graphToSvg } from "../../inspect/hwx/index.ts";
import { programGraph } from "../../inspect/program-graph.ts";
import type { Summary } from "../../inspect/summary.ts";
import { describeOutcome } from "../../lower/index.ts";
import { rooflineSvg } from "../../measure/published/roofline.ts";
import type { MilFunction, Program } from "../../mil/program.ts";
import { printProgram } from "../../mil/text/index.ts";
import { formatProblem } from "../../mil/verify.ts";
import { formatAmount, formatBytes, formatFlops, formatJoules } from "../../util/format.ts";
import { documentTable, textCell } from "../../util/plot/document.ts";
import { dotPlot } from "../../util/plot/dot-plot.ts";
import { escapeText } from "../../util/plot/svg.ts";
import { briefMs } from "../plan/pictures.ts";
import type { LookContext, LookParts } from "./look.ts";
import {
  figure,
  listing,
  pairs,
  paragraph,
  section,
  textTable,
  wide,
  tensorsSection,
} from "./parts.ts";
import { closing } from "../../util/closing.ts";

/** Ops of a function that are drawn: a picture of more is no picture. */
const GRAPH_OPS = 150;
/** Constants inside a program's text are printed number by number. */
const TEXT_CONSTANT_BYTES = 1 << 20;
const OPS_SHOWN = 24;
const PLACES_SHOWN = 3;
/** Chips are priced one after the other as long as this has not passed. */
const CHIPS_WITHIN_MS = 8000;

/** A program: what is in it, what rules it breaks on a chip and what becomes of them, what it takes there and elsewhere. */
export function programParts(path: string, context: LookContext): LookParts {
  const sizes = parseShapes(context.shapes ?? [], context.dimensions ?? []);
  const report = checkFile(path, { chip: context.target.id, driver: context.driver, ...sizes });
  const shown = read(path, context, sizes);
  const { summary, fn, functions } = shown;
  const cost = costSections(path, fn.name, sizes, context);
  return {
    subtitle: `${summary.format}, ${formatAmount(functions.length, "function")}, ${formatBytes(summary.weight_bytes)} of weights`,
    functions,
    function: fn.name,
    sections: [
      shortSection(summary, report),
      findingsSection(report),
      ...cost,
      graphSection(fn),
      shown.text === undefined
        ? ""
        : section("Text", listing("the program as MIL text", shown.text)),
      tensorsSection(summary.weights),
    ],
  };
}

interface ReadProgram {
  readonly summary: Summary;
  readonly fn: MilFunction;
  readonly functions: readonly string[];
  readonly text: string | undefined;
}

function read(
  path: string,
  context: LookContext,
  sizes: ReturnType<typeof parseShapes>,
): ReadProgram {
  const isOnnx = path.toLowerCase().endsWith(".onnx");
  return closing(openProgram(path, isOnnx ? sizes : {}), (opened) => {
    const { program } = opened;
    return {
      summary: { ...summaryOf(opened), path: context.name },
      fn: functionOf(program, context.function, defaultFunctionOf(opened)),
      functions: program.functions.map(({ name }) => name),
      text: textOf(program),
    };
  });
}

function textOf(program: Program): string | undefined {
  const bytes = program.functions.reduce((sum, fn) => sum + constantBytes(fn), 0);
  return bytes > TEXT_CONSTANT_BYTES ? undefined : printProgram(program);
}

function shortSection(summary: Summary, report: CheckReport): string {
  const { problems, weightProblems, weightFiles, unknownOps, onChip } = report;
  const broken = (count: number): string => (count === 0 ? "kept" : `${count} broken`);
  const { metadata = {}, functions } = summary;
  const rows: (readonly [string, string])[] = [
    ["rules of the language", broken(problems.length)],
    ...(weightFiles.length === 0
      ? []
      : ([["weight files", broken(weightProblems.length)]] as const)),
    ...(unknownOps.length === 0
      ? []
      : ([["not checked", `ops outside the op table: ${unknownOps.join(", ")}`]] as const)),
    ...(onChip === undefined
      ? []
      : ([[`${onChip.chip.name} through ${onChip.driver}`, verdictOf(onChip)]] as const)),
    ...Object.entries(metadata).map(([name, text]) => [name, text.slice(0, 400)] as const),
  ];
  const ports = functions.flatMap(({ name, inputs, outputs, op_count: count }) => [
    ...inputs.map((port) => [port.name, "input", port.type, name, formatAmount(count, "op")]),
    ...outputs.map((port) => [port.name, "result", port.type, name, ""]),
  ]);
  return section(
    "In short",
    `${pairs("In short", rows)}${textTable("Inputs and results", ["name", "", "type", "function", ""], ports)}`,
  );
}

function verdictOf({ ok, functions }: ChipReport): string {
  if (ok) return "no rule is broken";
  const isMended = functions.every(
    ({ placed, remaining }) => placed.place === "engine" && isLegal(remaining),
  );
  return isMended
    ? "rules are broken as it is written; the passes rewrite all of it"
    : "rules are broken; not all of it can be rewritten";
}

function findingsSection(report: CheckReport): string {
  const { problems, weightProblems, onChip } = report;
  const told = [...problems, ...weightProblems].map((problem) => formatProblem(problem));
  const parts = [
    told.length === 0
      ? ""
      : `<ul>${told.map((text) => `<li>${escapeText(text)}</li>`).join("")}</ul>`,
  ];
  if (onChip !== undefined) {
    const { chip, findings, functions, unread } = onChip;
    if (findings.length === 0) parts.push(paragraph(`No rule of ${chip.name} is broken.`));
    else parts.push(findingsTable("Rules that it breaks", findings, describeOutcome));
    for (const { name, placed, remaining } of functions) {
      if (placed.place === "host")
        parts.push(paragraph(`${name} stays on the host: ${placed.reason}`));
      else if (remaining.length > 0)
        parts.push(
          `<h3>${escapeText(name)}, as the passes write it</h3>`,
          findingsTable(`Rules that ${name} breaks when it is rewritten`, remaining),
        );
    }
    if (unread !== undefined) parts.push(paragraph(`Weight files were not read: ${unread}`));
  }
  return section("Findings", parts.join("\n"));
}

function findingsTable<Found extends Finding>(
  caption: string,
  findings: readonly Found[],
  noteOf?: (finding: Found) => string,
): string {
  const rows = groupFindings(findings).map((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const places = group.slice(0, PLACES_SHOWN).map(({ where, op, result, detail }) => {
      const of = op === undefined ? "" : ` ${op} "${result ?? ""}"`;
      return `${where}${of}: ${detail}`;
    });
    if (group.length > PLACES_SHOWN) places.push(`and ${group.length - PLACES_SHOWN} more`);
    const notes = countedNotes(group.map((found) => noteOf?.(found) ?? ""));
    return [
      `<th scope="row">${escapeText(first.rule)}</th>`,
      textCell(first.severity),
      textCell(String(group.length)),
      `<td class="why">${[`${first.says} (${first.symptom})`, ...places, ...notes.map((note) => `→ ${note}`), `Remedy: ${first.remedy}`, `Source: ${first.source}`].map(escapeText).join("<br>")}</td>`,
    ];
  });
  return documentTable(caption, ["rule", "severity", "places", "what"], rows);
}

function costSections(
  path: string,
  name: string,
  sizes: ReturnType<typeof parseShapes>,
  context: LookContext,
): readonly string[] {
  let priced: ReturnType<typeof pricedFunction>;
  let own: Omit<FileEstimate, "unread">;
  try {
    priced = pricedFunction(path, { ...sizes, function: name });
    own = functionEstimate(priced.fn, context.target, context.driver);
  } catch (error) {
    // Open sizes and sizes that nothing can have: the rest of the look is no less for it.
    if (!(error instanceof FilesError || error instanceof ChipError)) throw error;
    const { remedy } = error;
    return [
      section(
        "Cost",
        paragraph(`It has no price: ${error.message} ${remedy === undefined ? "" : remedy}`),
      ),
    ];
  }
  const { estimate, asWritten, rewritten } = own;
  const chip = context.target.name;
  const row = (what: string, { ms, joules, boundBy, breakdown }: Estimate): string[] => [
    ...[what, briefMs(ms), formatJoules(joules), boundBy],
    ...[breakdown.dispatch, breakdown.compute, breakdown.streaming, breakdown.host].map(briefMs),
  ];
  const rows =
    rewritten.place === "host"
      ? [row("as written", asWritten)]
      : [row("as the passes write it", rewritten.estimate), row("as written", asWritten)];
  const note =
    rewritten.place === "host"
      ? `${name} would stay on the host (${rewritten.reason}) and is priced as it is written.`
      : "";
  return [
    section(
      `Cost of ${name} on ${chip}`,
      `<p>One run by the cost model; nothing was measured. ${escapeText(note)}</p>${textTable(
        "Cost",
        ["", "time", "energy", "bound by", "dispatch", "compute", "streaming", "host"],
        rows,
      )}<div class="plots">${figure("What the time goes into", breakdownDots(estimate))}${figure("The dearest ops", opDots(estimate))}${figure(`Roofline of ${chip}`, rooflineSvg(context.target, estimate.ops, { isInPage: true }))}</div>${opsTable(estimate)}`,
    ),
    chipsSection(priced.fn, context),
  ];
}

function breakdownDots({ breakdown, chip }: Estimate): string {
  return dotPlot({
    title: `What a run's time goes into on ${chip}`,
    description: "Milliseconds by what they go into, predicted.",
    valueLabel: "ms, predicted",
    rows: Object.entries(breakdown)
      .filter(([, ms]) => ms > 0)
      .map(([name, ms]) => ({ name, values: { predicted: ms as number } })),
  });
}

function dearestOps({ ops }: Estimate): Estimate["ops"] {
  return ops.toSorted((a, b) => b.ms - a.ms).slice(0, OPS_SHOWN);
}

function opDots(estimate: Estimate): string {
  return dotPlot({
    title: `The dearest ops on ${estimate.chip}`,
    description: "Milliseconds of each op in one run, predicted.",
    valueLabel: "ms, predicted",
    rows: dearestOps(estimate)
      .slice(0, 12)
      .filter(({ ms }) => ms > 0)
      .map(({ op, name, ms }) => ({ name: `${op} ${name}`, values: { predicted: ms } })),
  });
}

function opsTable(estimate: Estimate): string {
  const { ops } = estimate;
  const rows = dearestOps(estimate).map(({ name, op, ms, joules, boundBy, flops, bytes, roof }) => [
    ...[name, op, briefMs(ms), formatJoules(joules), boundBy, formatFlops(flops)],
    formatBytes(bytes),
    roof === undefined || ms === 0 || flops === 0
      ? "–"
      : `${((100 * flops) / ms / 1e9 / roof.tflops).toFixed(0)} %`,
  ]);
  const left = ops.length - rows.length;
  const table = textTable(
    "Ops",
    ["op", "kind", "time", "energy", "bound by", "work", "moved", "of its roof"],
    rows,
  );
  return `<details><summary>${formatAmount(ops.length, "op")}</summary>${table}${left > 0 ? `<p>and ${left} cheaper ones</p>` : ""}</details>`;
}

/** The same function on every chip that is known. */
function chipsSection(fn: MilFunction, { driver }: LookContext): string {
  const started = performance.now();
  const rows: {
    readonly name: string;
    readonly ms: number;
    readonly joules: number;
    readonly where: string;
  }[] = [];
  for (const chip of CHIPS) {
    if (performance.now() - started > CHIPS_WITHIN_MS) break;
    const { estimate, rewritten } = functionEstimate(fn, chip, driver);
    const where = rewritten.place === "host" ? "as written" : "engine";
    rows.push({ name: chip.name, ms: estimate.ms, joules: estimate.joules, where });
  }
  const left = CHIPS.length - rows.length;
  return section(
    "On every chip",
    `<div class="plots">${figure(
      "One run",
      dotPlot({
        title: `${fn.name} on every chip`,
        description: "Milliseconds of one run, predicted.",
        valueLabel: "ms, predicted",
        rows: rows.map(({ name, ms }) => ({ name, values: { predicted: ms } })),
      }),
    )}</div>${textTable(
      "Chips",
      ["chip", "one run", "energy", "priced"],
      rows.map(({ name, ms, joules, where }) => [name, briefMs(ms), formatJoules(joules), where]),
    )}${left > 0 ? paragraph(`${left} more were not priced: it takes long for a program of this size.`) : ""}`,
  );
}

function graphSection(fn: MilFunction): string {
  const count = fn.operations.filter(({ type }) => type !== "const").length;
  if (count > GRAPH_OPS)
    return section(
      "Data flow",
      paragraph(`${count} ops are not drawn; anecdote inspect FILE --graph out.svg draws them.`),
    );
  return section("Data flow", wide("Data flow", graphToSvg(programGraph(fn))));
}
