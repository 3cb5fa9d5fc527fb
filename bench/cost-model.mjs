// Predicted against published times: npm run bench:cost-model -- [FILE…] [--json] [--svg PATH] [--leave-one-out | --training-steps]
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build, isStale } from "../scripts/build.mjs";

if (isStale()) await build();
const { checkAccuracy, quantile } = await import("../dist/measure/published/accuracy.js");
const { contradictions, leastQuantile } =
  await import("../dist/measure/published/contradictions.js");
const { joinRepeats } = await import("../dist/measure/published/repeats.js");
const { readMeasuredRows } = await import("../dist/measure/published/measured-row.js");
const { rowCase } = await import("../dist/measure/published/row-case.js");
const { accuracyScatter } = await import("../dist/measure/published/scatter.js");
const { fitModel, knownOnly, MEASUREMENTS, pricingOf, priorRates, rowSource } =
  await import("../dist/measure/published/fit.js");
const { CHIPS, chipByName } = await import("../dist/chip/chips.js");

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "boolean", default: false },
    svg: { type: "string" },
    "leave-out": { type: "boolean", default: false },
    "leave-one-out": { type: "boolean", default: false },
    "training-steps": { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});
if (values.help) {
  process.stdout.write(
    "npm run bench:cost-model -- [FILE…] [--json] [--svg PATH] [--leave-one-out] [--training-steps]\n\n" +
      "Prices every row of the files (default: all of bench/data) and compares with what was measured.\n" +
      "Rows of one call from one source are one measurement and count as their median; figures by single rows stand\n" +
      "beside it.\n" +
      "--leave-one-out (or --leave-out) prices each source and each chip without its own figures, and says which\n" +
      "measurements a user of a chip that nobody has seen would have to make.\n" +
      "--training-steps ends with every published training step and its error, and with what the same model says of\n" +
      "this project's own step of stories110M.\n",
  );
  process.exit(0);
}

const DATA = ["measurements.json", "measurements-2026-11-30.json"];
const paths =
  positionals.length > 0
    ? positionals
    : DATA.map((name) => fileURLToPath(new URL(`data/${name}`, import.meta.url)));

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

async function main() {
  const files = paths.map((file) => readMeasuredRows(JSON.parse(readFileSync(file, "utf8"))));
  const rows = files.flatMap((file) => file.rows);
  const unpriced = files.flatMap((file) => file.unpriced);
  for (const { reason } of unpriced) process.stderr.write(`not priced: ${reason}\n`);
  if (rows.length === 0) throw new Error(`${paths.join(", ")}: no row can be priced`);
  const single = checkAccuracy(rows);
  const { rows: joined, repeats } = joinRepeats(rows);
  const report = checkAccuracy(joined);
  if (values.svg !== undefined) writeFileSync(values.svg, accuracyScatter(single));
  const disputes = contradictions(rows);
  const held = values["leave-out"] || values["leave-one-out"] ? leaveOut(joined, rows) : undefined;
  const steps = values["training-steps"] ? await trainingSteps(single) : undefined;
  if (values.json) {
    process.stdout.write(
      `${JSON.stringify({
        rows: single.rows.length,
        measurements: report.rows.length,
        median_relative_error: report.medianRelativeError,
        p90_relative_error: report.p90RelativeError,
        by_single_rows: {
          median_relative_error: single.medianRelativeError,
          p90_relative_error: single.p90RelativeError,
        },
        ...(report.medianWattError !== undefined && {
          median_watt_error: report.medianWattError,
        }),
        chips: byChip(report, single),
        repeats: repeats.map(({ medianMs, ...repeat }) => ({ ...repeat, median_ms: medianMs })),
        details: single.rows.map((row) => ({
          chip: row.chip,
          what: row.what,
          driver: row.driver,
          source: row.source,
          measured_ms: row.measuredMs,
          predicted_ms: row.predictedMs,
          relative_error: row.relativeError,
          bound_by: row.boundBy,
          ...(row.measuredWatts !== undefined && {
            measured_watts: row.measuredWatts,
            predicted_watts: row.predictedWatts,
          }),
        })),
        contradictions: disputes.map(({ leastError, ...dispute }) => ({
          ...dispute,
          least_error: leastError,
        })),
        ...(unpriced.length > 0 && { unpriced }),
        ...(held !== undefined && { left_out: held }),
        ...(steps !== undefined && { training_steps: steps }),
      })}\n`,
    );
    return;
  }
  print(report, single, repeats);
  printDisputes(rows, disputes);
  if (steps !== undefined) printSteps(steps);
  if (held !== undefined) {
    for (const [name, check] of Object.entries(held)) {
      process.stdout.write(`${name}: ${both(check, check.by_single_rows)}\n`);
    }
  }
}

function print(report, single, repeats) {
  const width = Math.max(...single.rows.map((row) => row.what.length));
  for (const row of single.rows) {
    const watts =
      row.measuredWatts === undefined
        ? ""
        : `  ${row.measuredWatts.toFixed(2)} W -> ${row.predictedWatts.toFixed(2)} W`;
    process.stdout.write(
      `${row.chip.padEnd(9)} ${row.what.padEnd(width)} ${milliseconds(row.measuredMs)} -> ${milliseconds(row.predictedMs)} ms ${percent(row.predictedMs / row.measuredMs - 1, true)}  ${row.boundBy.padEnd(9)}${watts}\n`,
    );
  }
  for (const { chip, what, source, ms, medianMs, spread } of repeats) {
    process.stdout.write(
      `${chip}: ${what} was measured ${ms.length} times (${source}): ${ms.join(", ")} ms, the slowest ${spread.toFixed(2)} times the fastest; together they count as ${medianMs.toPrecision(4)} ms\n`,
    );
  }
  for (const row of byChip(report, single)) {
    const counted =
      row.measurements === row.rows
        ? `${String(row.rows).padStart(3)} rows`
        : `${String(row.rows).padStart(3)} rows, ${row.measurements} measurements`;
    process.stdout.write(
      `${row.chip.padEnd(9)} ${counted}: ${both(row, row.by_single_rows)}, worst ${percent(row.worst_relative_error)}\n`,
    );
  }
  if (report.medianWattError !== undefined)
    process.stdout.write(`watts: median error ${percent(report.medianWattError)}\n`);
  process.stdout.write(
    `${single.rows.length} rows, ${report.rows.length} measurements: ${both(summaryOf(report), summaryOf(single))}\n`,
  );
}

/** Errors by measurement and, where they differ, by single rows. */
function both(check, single) {
  const told = (one) =>
    `${percent(one.median_relative_error)}, 90th percentile ${percent(one.p90_relative_error)}`;
  return `median error ${told(check)}${told(check) === told(single) ? "" : ` (by single rows ${told(single)})`}`;
}

/** Every published training step, and this project's own by the same rates on M4. */
async function trainingSteps({ rows }) {
  const { estimateStep, readTrainLayer, resolveRun } = await import("../dist/train/index.js");
  const published = rows
    .filter(({ what }) => what.startsWith("training step"))
    .map(({ chip, what, measuredMs, predictedMs }) => ({
      ...{ chip, what, measured_ms: measuredMs, predicted_ms: predictedMs },
      error: predictedMs / measuredMs - 1,
    }));
  const own = ["fp32", "bf16"].map((moments) => {
    const layer = { preset: "stories110M", max_seq_length: 256, moment_dtype: moments };
    const { config } = resolveRun([readTrainLayer({ origin: "bench", values: layer })]);
    const { estimate, published: many } = estimateStep(config, { chip: "m4" });
    return {
      moments,
      micro_batch_of_ten_ms: many.overlappedMs,
      update_of_one_ms: estimate.overlappedMs,
    };
  });
  return { published, own };
}

function printSteps({ published, own }) {
  for (const { chip, what, measured_ms: measured, predicted_ms: predicted, error } of published) {
    process.stdout.write(
      `${chip.padEnd(9)} ${what.padEnd(40)} ${milliseconds(measured)} -> ${milliseconds(predicted)} ms ${percent(error, true)}\n`,
    );
  }
  for (const { moments, micro_batch_of_ten_ms: ten, update_of_one_ms: one } of own) {
    process.stdout.write(
      `M4        this project's step of stories110M, context 256, ${moments} moments: ${ten.toFixed(2)} ms a micro-batch of ten an update, ${one.toFixed(2)} as an update of one\n`,
    );
  }
}

/** Rows of one call that differ by more than a quarter, and what that leaves a model of their chips. */
function printDisputes(rows, disputes) {
  for (const { chip, what, ms, leastError } of disputes.filter((one) => one.leastError > 0.125)) {
    process.stdout.write(
      `${chip}: ${what} was measured at ${ms.join(" and ")} ms: any prediction is ${percent(leastError)} off on one of them\n`,
    );
    const own = rows.filter((row) => rowCase(row).chip.name === chip);
    const bound = leastQuantile(
      own,
      0.9,
      disputes.filter((one) => one.chip === chip),
    );
    process.stdout.write(`  no model brings ${chip}'s 90th percentile below ${percent(bound)}\n`);
  }
}

function byChip(report, single) {
  return [...new Set(report.rows.map(({ chip }) => chip))].map((chip) => {
    const [errors, alone] = [report, single].map(({ rows }) =>
      rows.filter((row) => row.chip === chip).map((row) => row.relativeError),
    );
    return {
      chip,
      rows: alone.length,
      measurements: errors.length,
      ...quantilesOf(errors),
      worst_relative_error: Math.max(...errors),
      by_single_rows: { ...quantilesOf(alone), worst_relative_error: Math.max(...alone) },
    };
  });
}

function summaryOf(report) {
  return quantilesOf(report.rows.map((row) => row.relativeError));
}

function quantilesOf(errors) {
  return {
    median_relative_error: quantile(errors, 0.5),
    p90_relative_error: quantile(errors, 0.9),
  };
}

/**
 * Errors on measurements the fit did not see: by source, by chip, and with nothing but the family known beforehand;
 * `single` are the rows that the measurements were joined of.
 */
function leaveOut(rows, single) {
  const records = new Map(CHIPS.map((chip) => [chip.id, chip.rates]));
  const priors = priorRates(CHIPS);
  const errorsOf = (some, model) =>
    checkAccuracy(some, (row) => pricingOf(model, row)).rows.map((row) => row.relativeError);
  const judge = (keyOf, modelWithout) => {
    const [errors, alone] = [[], []];
    for (const key of new Set(rows.map(keyOf))) {
      const model = modelWithout(key);
      errors.push(
        ...errorsOf(
          rows.filter((row) => keyOf(row) === key),
          model,
        ),
      );
      alone.push(
        ...errorsOf(
          single.filter((row) => keyOf(row) === key),
          model,
        ),
      );
    }
    return { ...quantilesOf(errors), by_single_rows: quantilesOf(alone) };
  };
  const bySource = (start) =>
    judge(rowSource, (source) =>
      fitModel(
        rows.filter((row) => rowSource(row) !== source),
        start,
      ),
    );
  const unseen = (names) =>
    judge(
      (row) => rowCase(row).chip.id,
      (id) => knownOnly(chipByName(id), priors, names),
    );
  return {
    by_source_from_records: bySource(records),
    by_source_from_family_only: bySource(priors),
    ...Object.fromEntries(
      Object.entries(MEASUREMENTS).map(([name, names]) => [
        `a chip never seen, ${name}`,
        unseen(names),
      ]),
    ),
  };
}

function milliseconds(ms) {
  return ms.toPrecision(4).padStart(8);
}

function percent(fraction, signed = false) {
  const text = `${(fraction * 100).toFixed(1)} %`;
  return signed && fraction >= 0 ? `+${text}` : text;
}
