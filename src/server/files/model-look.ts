import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { parameterCount } from "../../model/index.ts";
import { CONFIG_FILE } from "../../runs/config-file.ts";
import { describeModelFolder } from "../../runs/describe-model-folder.ts";
import type { ModelFolderReport } from "../../runs/describe-model-folder.ts";
import {
  estimateToken,
  plannedModel,
  readTrainLayer,
  resolveRun,
  trainedModel,
} from "../../train/index.ts";
import { formatBytes, formatCount, formatJoules } from "../../util/format.ts";
import { costBars, programsTable, stepTimeline, briefMs } from "../plan/pictures.ts";
import { planOfSettings, runSettings } from "../plan/run-plan.ts";
import type { RunPlanSettings } from "../plan/run-plan.ts";
import type { LookContext, LookParts } from "./look.ts";
import { figure, pairs, section, textTable, wide, tensorsSection } from "./parts.ts";

/** Positions of the windows that a training step is priced with, where nobody has said it. */
const SEQUENCE_LENGTH = 256;

/** A model's folder or file, or a run: what it is, what a token and a training step of it take on a chip. */
export function modelParts(path: string, context: LookContext): LookParts {
  const report = describeModelFolder(path);
  const { model, checkpoints } = report;
  const isRun = existsSync(join(path, CONFIG_FILE));
  const config = isRun ? runSettings(path) : settingsOf(report);
  const facts: (readonly [string, string])[] = Object.entries(model?.summary.metadata ?? {});
  return {
    subtitle:
      report.format === "run"
        ? `a run with ${checkpoints.length} checkpoints`
        : `a model, ${formatCount(model?.parameterCount ?? 0)} parameters`,
    sections: [
      facts.length === 0 ? "" : section("In short", pairs("In short", facts)),
      checkpointsSection(report),
      ...(config === undefined ? [] : costSections(config, context)),
      tensorsSection(model?.summary.weights ?? []),
    ],
  };
}

/** Settings of a training that would begin with a model. */
function settingsOf({ model }: ModelFolderReport): RunPlanSettings | undefined {
  if (model === undefined) return undefined;
  const { folder, config } = model;
  const values = {
    ...{ model: folder, batch_size: 1 },
    max_seq_length: Math.min(config.contextLength, SEQUENCE_LENGTH),
  };
  return resolveRun([readTrainLayer({ origin: "page", values })]).config;
}

function checkpointsSection({ checkpoints }: ModelFolderReport): string {
  if (checkpoints.length === 0) return "";
  return section(
    "Checkpoints",
    textTable(
      "Checkpoints",
      ["checkpoint", "step", "size", ""],
      checkpoints.map(({ folder, step, byteLength, problem }) => [
        ...[basename(folder), String(step), formatBytes(byteLength)],
        problem === undefined ? "" : `damaged: ${problem}`,
      ]),
    ),
  );
}

function costSections(config: RunPlanSettings, { chip, target }: LookContext): readonly string[] {
  const model = trainedModel(config, plannedModel(config));
  const token = estimateToken(config, { chip: target.id });
  const { view } = planOfSettings(config, target.id);
  const tokens = config.batch_size * config.max_seq_length * config.gradient_accumulation_steps;
  const rows = [
    [
      `one token, with a cache of ${token.cacheLength} positions`,
      ...[briefMs(token.estimate.ms), formatCount(Math.round(1000 / token.estimate.ms))],
      ...[formatJoules(token.estimate.joules), token.estimate.boundBy],
    ],
    [
      `one training step of ${tokens} tokens`,
      ...[briefMs(view.predictedMs), formatCount(Math.round((1000 * tokens) / view.predictedMs))],
      ...[formatJoules(view.asRun.joules / tokens), largestOf(view.breakdown)],
    ],
  ];
  return [
    section(
      `Cost on ${chip}`,
      `<p>By the cost model; nothing was measured. ${formatCount(parameterCount(model.parameters.weights))} parameters.</p>${textTable(
        "Cost",
        ["", "time", "tokens a second", "energy a token", "bound by"],
        rows,
      )}<div class="plots">${figure("What a training step's time goes into", costBars(view))}${figure(`Roofline of ${chip}`, view.roofline)}</div>`,
    ),
    section(
      "The training step",
      `${wide("Timeline, predicted", stepTimeline(view))}
<h3>Where it runs on ${chip}</h3>${programsTable(view)}`,
    ),
  ];
}

function largestOf(breakdown: Readonly<Record<string, number>>): string {
  return Object.entries(breakdown).toSorted(([, a], [, b]) => b - a)[0]?.[0] ?? "";
}
