import { table, wrapped } from "../util/format.ts";
import type { Chip } from "./chip.ts";
import { CHIPS } from "./chips.ts";
import type { Estimate, PlanEstimate } from "./estimate.ts";
import { formatFigure, formatNumber } from "./figure.ts";
import type { Figure } from "./figure.ts";
import type { Finding } from "./legality/check.ts";
import { formatPublications, publicationsIn } from "./publications.ts";
import type { Publication } from "./publications.ts";
import { grouped } from "../util/grouped.ts";

/** One line a chip. */
export function formatChips(): string {
  const header = ["chip", "family", "TOPS", "1x1 TFLOPS", "weights GB/s", "dispatch ms", "load W"];
  const rows = CHIPS.map((chip) => [
    chip.name,
    chip.family,
    `${formatNumber(chip.advertised.value)} (${chip.advertisedMeaning === "not stated" ? "?" : chip.advertisedMeaning})`,
    marked(chip.rates.pointwise),
    marked(chip.rates.weightStream),
    `${marked(chip.rates.e5rtFloor)} / ${marked(chip.rates.inMemoryFloor)}`,
    marked(chip.loadPower),
  ]);
  return `${table([header, ...rows])}\n* inferred, not measured on this chip. dispatch: e5rt / in-memory.\nTOPS = 2 x multiply-accumulate units x clock, of the precision in brackets; an Ultra's are of both dies, its rates of one.\n1x1 TFLOPS: fp16 convolutions with 1x1 kernels.\n`;
}

function marked(figure: Figure): string {
  return `${formatNumber(figure.value)}${figure.kind === "inferred" ? "*" : ""}`;
}

/** Everything known about one chip, with sources. */
export function formatChip(chip: Chip): string {
  const { rates } = chip;
  const lines: readonly (readonly [string, Figure])[] = [
    ["cores", chip.cores],
    ["highest clock", chip.clock],
    [`advertised (${chip.advertisedMeaning})`, chip.advertised],
    ["multiply-accumulate units", chip.multiplyAccumulateUnits],
    ["1x1 convolutions", rates.pointwise],
    ["wider convolutions", rates.spatial],
    ["matrix products", rates.matmul],
    ["int8 against fp16", rates.int8Factor],
    ["weights from memory", rates.weightStream],
    ["activations between ops", rates.activationStream],
    ["host copies, one thread", rates.hostCopy],
    ["host products, fp32", rates.hostProducts],
    ["memory of the package", chip.memoryBandwidth],
    ["dispatch, e5rt", rates.e5rtFloor],
    ["dispatch, in-memory", rates.inMemoryFloor],
    ["power under load", chip.loadPower],
    ["power at rest", chip.idlePower],
    ...chip.onChipMemory.map((figure) => ["on-chip memory (contested)", figure] as const),
  ];
  const width = Math.max(...lines.map(([name]) => name.length)) + 4;
  const body = lines
    .map(([name, figure]) => wrapped(`  ${name}`.padEnd(width), formatFigure(figure)))
    .join("\n");
  const notes = chip.notes.map((note) => `${wrapped("  ", note)}\n`).join("");
  const sources = formatPublications(chipSources(chip));
  return `${chip.name}: family ${chip.family}, architecture ${chip.architecture}\n${body}\n${notes}\nwhere to read it:\n${sources}`;
}

/** Every text of a chip's record that says where something comes from. */
export function chipSources(chip: Chip): readonly string[] {
  const { rates, onChipMemory, notes } = chip;
  const figures: readonly unknown[] = [
    ...Object.values(chip),
    ...Object.values(rates),
    ...onChipMemory,
  ];
  const isFigure = (value: unknown): value is Figure =>
    typeof value === "object" && value !== null && "source" in value;
  return [...figures.filter(isFigure).map(({ source }) => source), ...notes];
}

/** A chip as `anecdote chips --json` prints it. */
export function chipJson(chip: Chip): Readonly<Record<string, unknown>> {
  return { ...chip, publications: chipSources(chip).flatMap(publicationsIn).filter(isFirst) };
}

function isFirst({ address }: Publication, index: number, all: readonly Publication[]): boolean {
  return all.findIndex((other) => other.address === address) === index;
}

const PRINTED_OPS = 12;

/** Totals, then the largest parts. */
export function formatEstimate(estimate: Estimate | PlanEstimate): string {
  const { breakdown } = estimate;
  const total = Math.max(estimate.ms, Number.MIN_VALUE);
  const share = (ms: number): string =>
    `${formatNumber(ms)} ms (${Math.round((100 * ms) / total)} %)`;
  const head =
    `${formatNumber(estimate.ms)} ms, ${formatEnergy(estimate.joules)}, ${formatNumber(estimate.joules / (total * 1e-3))} W on ${estimate.chip} through ${estimate.driver}, bound by ${estimate.boundBy}\n` +
    `  dispatch ${share(breakdown.dispatch)}, compute ${share(breakdown.compute)}, streaming ${share(breakdown.streaming)}, host ${share(breakdown.host)}\n`;
  const sorted = [...estimate.ops].sort((a, b) => b.ms - a.ms);
  const rows = sorted
    .slice(0, PRINTED_OPS)
    .map((op) => [
      `  ${op.name}`,
      op.name === op.op ? "" : op.op,
      `${op.count}`,
      `${formatNumber(op.ms)} ms`,
      formatEnergy(op.joules),
      op.boundBy,
    ]);
  const rest = sorted.slice(PRINTED_OPS).reduce((sum, op) => sum + op.ms, 0);
  const more =
    sorted.length > PRINTED_OPS
      ? `  ${sorted.length - PRINTED_OPS} more: ${formatNumber(rest)} ms\n`
      : "";
  const sections =
    "sections" in estimate
      ? `  ${formatNumber(estimate.overlappedMs)} ms where the host works beside the engine\n` +
        estimate.sections
          .map(({ section, runs, ms }) => `  ${section} x ${runs}: ${share(ms)}\n`)
          .join("") +
        estimate.onHost
          .map(({ program, reason }) => `  on the host: ${program} (${reason})\n`)
          .join("")
      : "";
  return `${head}${sections}${rows.length > 0 ? `${table(rows)}\n` : ""}${more}`;
}

function formatEnergy(joules: number): string {
  return joules < 0.1 ? `${formatNumber(joules * 1e3)} mJ` : `${formatNumber(joules)} J`;
}

/**
 * Findings grouped by rule: each rule once, with the first places where it is broken. `noteOf` adds a line about what
 * becomes of a finding.
 */
export function formatFindings<Found extends Finding>(
  findings: readonly Found[],
  noteOf?: (finding: Found) => string,
): string {
  if (findings.length === 0) return "no rule is broken\n";
  return groupFindings(findings)
    .map(
      (group) =>
        formatGroup(group) +
        countedNotes(group.map((found) => noteOf?.(found) ?? ""))
          .map((note) => `    ${note}\n`)
          .join(""),
    )
    .join("\n");
}

/** Findings of one rule together, errors first. */
export function groupFindings<Found extends Finding>(
  findings: readonly Found[],
): readonly (readonly Found[])[] {
  const groups = grouped(findings, ({ rule }) => rule);
  const order = ["error", "warning", "handled"];
  return [...groups.values()].sort(
    (a, b) => order.indexOf(a[0]?.severity ?? "") - order.indexOf(b[0]?.severity ?? ""),
  );
}

/** Each note once, with a count where places of a rule differ. */
export function countedNotes(notes: readonly string[]): readonly string[] {
  return [...new Set(notes)]
    .filter((note) => note !== "")
    .map((note) => {
      const count = notes.filter((other) => other === note).length;
      return `${count === notes.length ? "" : `${count} of ${notes.length}: `}${note}`;
    });
}

const PLACES_SHOWN = 3;

function formatGroup(group: readonly Finding[]): string {
  const [first] = group;
  if (first === undefined) return "";
  const places = group.slice(0, PLACES_SHOWN).map((finding) => {
    const op = finding.op === undefined ? "" : ` ${finding.op} "${finding.result ?? ""}"`;
    return `    ${finding.where}${op}: ${finding.detail}\n`;
  });
  const more = group.length > PLACES_SHOWN ? `    and ${group.length - PLACES_SHOWN} more\n` : "";
  const contradiction =
    first.contradictedBy === undefined
      ? ""
      : `    contradicted by: ${first.contradictedBy}\n${addressLines(first.contradictedBy)}`;
  return (
    `${first.severity} ${first.rule} (${first.symptom}): ${first.says}\n` +
    `${places.join("")}${more}    source: ${first.source}\n${addressLines(first.source)}${contradiction}    remedy: ${first.remedy}\n`
  );
}

function addressLines(source: string): string {
  return publicationsIn(source)
    .map(({ address }) => `      ${address}\n`)
    .join("");
}
