import { graphToSvg, hwxGraph, hwxListing } from "../../inspect/hwx/index.ts";
import type { HwxFile } from "../../inspect/hwx/index.ts";
import { taskTimeOf } from "../../inspect/task-time.ts";
import { formatBytes } from "../../util/format.ts";
import { dotPlot } from "../../util/plot/dot-plot.ts";
import type { LookContext, LookParts } from "./look.ts";
import { figure, listing, pairs, section, wide } from "./parts.ts";

/** Tasks drawn in one picture. */
const TASKS_DRAWN = 24;
const GRAPH_TASKS = 200;

/** A compiled program of an engine: its tasks, with the cost model's time of each on the chip it was compiled for. */
export function engineProgramParts(file: HwxFile, { name }: LookContext): LookParts {
  const { target, tasks, warnings } = file;
  const timeOf = taskTimeOf(file);
  const words = tasks.reduce((sum, { coverage }) => sum + coverage.wordCount, 0);
  const unknown = tasks.reduce((sum, { coverage }) => sum + coverage.unknownWords, 0);
  const facts = pairs("Program", [
    ["compiled for", target.chip],
    ["tasks", String(tasks.length)],
    ["words", `${words}, of ${unknown} it is not known what they mean`],
    ["size", formatBytes(file.byteLength)],
    ...(file.compiler === null ? [] : ([["compiler", file.compiler]] as const)),
    ...warnings.map((warning) => ["warning", warning] as const),
  ]);
  const microseconds = timeOf === undefined ? [] : tasks.map((task) => timeOf(task));
  const dearest = [...microseconds.keys()]
    .filter((index) => (microseconds[index] ?? 0) > 0)
    .sort((a, b) => (microseconds[b] ?? 0) - (microseconds[a] ?? 0))
    .slice(0, TASKS_DRAWN);
  const total = microseconds.reduce((sum, value) => sum + value, 0);
  const costs =
    dearest.length === 0
      ? ""
      : section(
          "Cost",
          `<p>${(total / 1000).toPrecision(3)} ms for all tasks by the cost model, without the dispatch of the program; not measured.</p><div class="plots">${figure(
            "Tasks, the dearest first",
            dotPlot({
              title: `Tasks of ${name}`,
              description: "Microseconds of each task, predicted.",
              valueLabel: "µs, predicted",
              rows: dearest.map((index) => ({
                name: `task ${index} ${tasks[index]?.meaning.detail ?? tasks[index]?.meaning.op ?? ""}`,
                values: { predicted: microseconds[index] ?? 0 },
              })),
            }),
          )}</div>`,
        );
  const graph =
    tasks.length > GRAPH_TASKS
      ? ""
      : section("Data flow", wide("Data flow", graphToSvg(hwxGraph(file))));
  const options = timeOf === undefined ? {} : { taskTime: timeOf };
  return {
    subtitle: `a program of the Neural Engine, compiled for ${target.chip}`,
    sections: [
      section("In short", facts),
      costs,
      graph,
      section("Listing", listing("every task", hwxListing(file, options))),
    ],
  };
}
