import { documentTable, htmlDocument, textCell } from "../../../util/plot/document.ts";
import { escapeText, hue, markAt, shortNumber } from "../../../util/plot/index.ts";
import { SUITES, SUITE_NAMES } from "../case.ts";
import type { SuiteName } from "../case.ts";
import { factsOf, timeIn, VIEWS } from "../facts.ts";
import type { View } from "../facts.ts";
import { gigabytesPerSecond, teraflops, timeOf } from "../report.ts";
import type { CaseResult, EngineReport } from "../report.ts";
import { PLOTS } from "./plots.ts";

/** The report as one file: style and pictures inside, nothing is fetched. */
export function reportPage(report: EngineReport): string {
  const { head, sections } = reportParts(report);
  return htmlDocument(
    reportTitle(report),
    `<header>
${head}
</header>
<main>
${sections}
</main>`,
  );
}

/** What such a file holds, for a page that brings the style: HTML of its head and of its sections. */
export function reportParts(report: EngineReport): {
  readonly head: string;
  readonly sections: string;
} {
  return {
    head: `<h1>${escapeText(reportTitle(report))}</h1>
${banners(report)}
<p>${escapeText(subtitle(report))}</p>
${key(report)}`,
    sections: `${factsSection(report)}
${SUITE_NAMES.map((suite) => suiteSection(report, suite)).join("\n")}
${powerSection(report)}
${methodSection(report)}
${machineSection(report)}
${sourcesSection(report)}`,
  };
}

export function reportTitle({ kind, engine, chip }: EngineReport): string {
  switch (kind) {
    case "predicted":
      return `PREDICTED, not measured: the Neural Engine of ${chip}`;
    case "test-double":
      return `Test double, times say nothing: ${engine.device}`;
    case "measured":
      return engine.driver === undefined
        ? `Engine "${engine.name}" measured: ${engine.device}`
        : `The Neural Engine of ${chip}, measured`;
  }
}

function banners({ kind, complete, engine, chip }: EngineReport): string {
  const texts: string[] = [];
  if (kind === "predicted")
    texts.push("PREDICTED by the cost model. No program ran; no number here was measured.");
  if (kind === "test-double")
    texts.push(
      "Measured through a test double, a library that stands in for the system's. The times are those of a simulation and say nothing of an engine.",
    );
  if (kind === "measured" && engine.driver === undefined)
    texts.push(
      `This is not a Neural Engine. Published and predicted numbers are those of ${chip}'s engine, for comparison.`,
    );
  if (!complete) texts.push("PARTIAL: the run was interrupted. Go on with --resume.");
  return texts.map((text) => `<p class="banner" role="note">${escapeText(text)}</p>`).join("\n");
}

function subtitle({ engine, created, anecdote, chip, cases }: EngineReport): string {
  const through = engine.driver === undefined ? "" : ` through ${engine.driver}`;
  return `${cases.length} cases${through}, ${created.slice(0, 16).replace("T", " ")} UTC, anecdote ${anecdote}. Published rows and predictions are those of ${chip}.`;
}

/** What the forms mean. */
function key({ kind }: EngineReport): string {
  const shown = kind === "predicted" ? VIEWS.filter((view) => view !== "measured") : VIEWS;
  const dashes: Readonly<Record<View, string>> = {
    measured: "",
    published: "2 4",
    predicted: "7 5",
  };
  const items = shown.map((view) => {
    const colour = hue(VIEWS.indexOf(view));
    const dash = dashes[view] === "" ? "" : ` stroke-dasharray="${dashes[view]}"`;
    return `<li><svg viewBox="0 0 44 16" aria-hidden="true"><line x1="0" y1="8" x2="44" y2="8" stroke="${colour}" stroke-width="2"${dash}/>${markAt(22, 8, view, colour, view)}</svg>${KEY_TEXTS[view]}</li>`;
  });
  return `<ul class="key">${items.join("")}</ul>`;
}

const KEY_TEXTS: Readonly<Record<View, string>> = {
  measured: "measured here: filled circle, whole line",
  published: "published by others: square, dotted line",
  predicted: "predicted by the cost model: diamond, dashed line",
};

function number(value: number | undefined, unit = ""): string {
  return value === undefined ? "" : `${shortNumber(value)}${unit}`;
}

/** "+12 %": how far a time is above another. */
function difference(of: number | undefined, from: number | undefined): string {
  if (of === undefined || from === undefined || from === 0) return "";
  const percent = Math.round(100 * (of / from - 1));
  return `${percent > 0 ? "+" : ""}${percent} %`;
}

function factsSection(report: EngineReport): string {
  const facts = factsOf(report);
  if (facts.length === 0) return "";
  const isPredicted = report.kind === "predicted";
  const rows = facts.map(({ label, unit, values }) => [
    `<th scope="row">${escapeText(label)}</th>`,
    ...(isPredicted ? [] : [textCell(number(values.measured, ` ${unit}`))]),
    textCell(number(values.published, ` ${unit}`)),
    textCell(number(values.predicted, ` ${unit}`)),
  ]);
  const header = [
    "",
    ...(isPredicted ? [] : ["measured"]),
    `published, ${report.chip}`,
    "predicted",
  ];
  return `<section><h2>In short</h2>${documentTable("The numbers in short", header, rows)}</section>`;
}

function suiteSection(report: EngineReport, suite: (typeof SUITE_NAMES)[number]): string {
  const results = report.cases.filter((result) => result.suite === suite);
  if (results.length === 0) return "";
  const pictures = PLOTS[suite](report, results).map(figure);
  return `<section id="${suite}"><h2>${escapeText(SUITES[suite])}</h2>
<div class="plots">${pictures.join("\n")}</div>
${resultsTable(report, suite, results)}</section>`;
}

/** A picture under its own name. */
function figure(svg: string): string {
  const title = /<title>(.*?)<\/title>/.exec(svg)?.[1] ?? "";
  const description = /<desc>(.*?)<\/desc>/.exec(svg)?.[1] ?? "";
  return `<figure><figcaption>${title}<small>${description}</small></figcaption>${svg}</figure>`;
}

function resultsTable(
  report: EngineReport,
  suite: SuiteName,
  results: readonly CaseResult[],
): string {
  const isPredicted = report.kind === "predicted";
  const isSameKind = report.kind === "measured" && report.engine.driver !== undefined;
  const header = [
    "case",
    ...(isPredicted ? [] : ["measured ms", "10 to 90 %"]),
    "rate",
    "predicted ms",
    ...(isPredicted ? ["bound by"] : ["off by"]),
    `published ms, ${report.chip}`,
  ];
  const rows = results.map((result) => {
    const name = `<th scope="row">${escapeText(result.title)}</th>`;
    const measured = timeIn("measured", result, report);
    const published = timeIn("published", result, report);
    if (measured === undefined && result.status !== "predicted") {
      const span = header.length - 1;
      return [name, `<td class="why" colspan="${span}">${escapeText(why(result))}</td>`];
    }
    const { p10_ms: low = 0, p90_ms: high = 0 } = result.timing ?? {};
    return [
      name,
      ...(isPredicted
        ? []
        : [textCell(number(measured)), textCell(`${shortNumber(low)} – ${shortNumber(high)}`)]),
      textCell(rateText(result)),
      textCell(number(result.predicted.ms)),
      textCell(
        isPredicted
          ? result.predicted.bound_by
          : isSameKind
            ? difference(result.predicted.ms, measured)
            : "",
      ),
      textCell(number(published)),
    ];
  });
  return documentTable(`Results of ${suite}`, header, rows);
}

function why(result: CaseResult): string {
  const rule = result.rule === undefined ? "" : ` Rule ${result.rule}`;
  const source = result.rule_source === undefined ? "" : ` (${result.rule_source}).`;
  return `${result.status}: ${result.reason ?? ""}${rule}${source}`;
}

/** Where most of the work is bytes of weights, their rate, else that of the arithmetic. */
export function rateText(result: CaseResult): string {
  const ms = timeOf(result);
  if (ms === undefined || result.flops === 0) return "";
  const isStreaming = result.suite === "gemv" || result.suite === "weights";
  if (isStreaming) return `${shortNumber(gigabytesPerSecond(result.weight_bytes, ms))} GB/s`;
  const unit = result.id.endsWith("w8a8") ? "TOP/s" : "TFLOP/s";
  return `${shortNumber(teraflops(result.flops, ms))} ${unit}`;
}

function powerSection(report: EngineReport): string {
  const results = report.cases.filter(({ suite }) => suite === "peak" || suite === "int8");
  if (results.length === 0) return "";
  const isPredicted = report.kind === "predicted";
  const known = results.filter(
    (result) => isPredicted || result.power_watts !== undefined || publishedWatts(result, report),
  );
  const sources = [...new Set(results.flatMap(({ power_source: source }) => source ?? []))];
  const note = isPredicted
    ? "Power of the engine's rail as the cost model has it."
    : sources.length > 0
      ? `Power read by ${sources.join(", ")} while the case ran.`
      : `Power was not read (${report.power?.unavailable ?? "no case ran long enough for the meter"}); nothing is guessed.`;
  const rows = (known.length === 0 ? [] : known).map((result) => {
    const ms = timeOf(result);
    const watts = isPredicted ? result.predicted.watts : result.power_watts;
    const efficiency =
      ms === undefined || watts === undefined ? undefined : teraflops(result.flops, ms) / watts;
    return [
      `<th scope="row">${escapeText(result.title)}</th>`,
      ...(isPredicted ? [] : [textCell(number(result.power_watts, " W"))]),
      textCell(number(result.predicted.watts, " W")),
      textCell(number(publishedWatts(result, report), " W")),
      textCell(number(efficiency)),
    ];
  });
  const header = [
    "case",
    ...(isPredicted ? [] : ["measured"]),
    "predicted",
    "published",
    "TFLOP/s/W",
  ];
  return `<section id="power"><h2>Power at peak</h2><p>${escapeText(note)}</p>${rows.length === 0 ? "" : documentTable("Power", header, rows)}</section>`;
}

function publishedWatts(result: CaseResult, { chip }: EngineReport): number | undefined {
  return result.published.find((row) => row.chip === chip && row.watts !== undefined)?.watts;
}

function methodSection({ kind, protocol, chip }: EngineReport): string {
  const { warm_up_runs: warmUp, budget_ms: budget, minimum_runs: minimum, quick } = protocol;
  const measured = [
    `Each program is compiled, run ${warmUp} times to warm up, then timed call by call for ${budget} ms and at least ${minimum} calls${quick ? " (--quick: fewer cases and shorter)" : ""}. The tables give the median and the 10th to 90th percentile. Compilation and the first call are recorded in the JSON file and never part of the times.`,
    "Cases that are compared (fp16 with int8, convolution with matmul, one call with many) take turns, call by call.",
    "Weights and inputs are fixed pseudo-random numbers, the same on every machine; chains use orthogonal matrices, so that numbers neither grow nor vanish. Results are compared with double precision at sampled places where that is possible; they must be finite and not all zero everywhere. A case with wrong results has no rate.",
    'Cases "with copies" convert fp32 input and copy input and result in each call, as the publishers of those rows did. All others leave both where the engine keeps them.',
  ];
  const predicted = [
    `Nothing was run. Each case is priced with the recorded rates of ${chip} (docs/cost-model.md tells how, and how far predictions were off: 5 % in the median over 193 published rows).`,
  ];
  const shared = [
    "FLOP count two for each multiply-accumulate. Rates of weights count their bytes once a call.",
    "Published rows are taken as they were published; the harnesses differ. Chains shared one weight matrix between their layers.",
    "Refused cases break a rule of the chip that is known from its compiler or runtime; the rule is named.",
  ];
  const paragraphs = [...(kind === "predicted" ? predicted : measured), ...shared];
  return `<section id="method"><h2>Method</h2>${paragraphs.map((text) => `<p>${escapeText(text)}</p>`).join("\n")}</section>`;
}

function machineSection(report: EngineReport): string {
  const { engine, machine, kind } = report;
  const where = kind === "predicted" ? "predicted on" : "measured on";
  const pairs: readonly (readonly [string, string | undefined])[] = [
    ["engine", engine.name],
    ["device", engine.device],
    ["driver", engine.driver],
    ["runtime", engine.runtime],
    ["threads of the host", engine.threads === undefined ? undefined : String(engine.threads)],
    [
      where,
      `${machine.processor}, ${machine.cores} cores, ${Math.round(machine.memory_bytes / 2 ** 30)} GiB`,
    ],
    ["system", `${machine.system} ${machine.release}, ${machine.architecture}`],
    ["model", machine.model],
    ["Node", machine.node],
    ["anecdote", report.anecdote],
    ["date", report.created],
    ["JSON", `report.json, schema ${report.schema}`],
  ];
  const rows = pairs.flatMap(([name, value]) =>
    value === undefined
      ? []
      : [`<tr><th scope="row">${escapeText(name)}</th><td>${escapeText(value)}</td></tr>`],
  );
  return `<section id="machine"><h2>Machine</h2><table class="pairs"><tbody>${rows.join("\n")}</tbody></table></section>`;
}

/** Every published row beside which a case stands, other chips included. */
function sourcesSection({ cases }: EngineReport): string {
  const rows = cases.flatMap(({ title, published }) =>
    published.map(({ chip, ms, watts, source }) => [
      `<th scope="row">${escapeText(title)}</th>`,
      textCell(chip),
      textCell(number(ms)),
      textCell(number(watts)),
      `<td class="why">${escapeText(source)}</td>`,
    ]),
  );
  if (rows.length === 0) return "";
  return `<section id="sources"><h2>Published rows</h2><details><summary>${rows.length} rows of the same work on all chips, with their sources</summary>${documentTable("Published rows", ["case", "chip", "ms", "W", "source"], rows)}</details></section>`;
}
