import { existsSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { parseReport, reportParts, reportTitle } from "../../measure/engine-bench/index.ts";
import type { EngineReport } from "../../measure/engine-bench/index.ts";
import { readSmallFile } from "../../util/byte-source.ts";
import { AnecdoteError, messageOf } from "../../util/errors.ts";
import { chipByName } from "../../chip/chips.ts";
import { ChipError } from "../../chip/errors.ts";
import { rooflineSvg } from "../../measure/published/roofline.ts";
import type { Application } from "../application.ts";
import { belowOf } from "../below.ts";
import { Refusal } from "../errors.ts";
import type { BenchRow, BenchView } from "./views.ts";

const REPORT = "report.json";
const REPORT_BYTES = 64 << 20;

/**
 * Adds the reports of `bench engine` that stand in the folder of runs, each drawn by the functions that draw its own file,
 * and the rooflines of chips.
 */
export function addBenchRoutes(application: Application, root: string): void {
  application.get("/api/benches", (context) => {
    const rows = foldersOf(root).flatMap((id): readonly BenchRow[] => {
      try {
        const report = reportOf(root, id);
        return [{ id, title: reportTitle(report), kind: report.kind }];
      } catch (error) {
        // Another file of that name, or one of a later version: whoever asks for it is told.
        if (error instanceof AnecdoteError) return [];
        throw error;
      }
    });
    return context.json(rows);
  });
  application.get("/api/benches/:id", (context) => {
    const id = context.req.param("id");
    if (!foldersOf(root).includes(id))
      throw new Refusal(
        404,
        `there is no report of bench engine ${JSON.stringify(id.slice(0, 100))} here`,
      );
    const report = known(() => reportOf(root, id));
    const { head, sections } = reportParts(report);
    const view: BenchView = {
      title: reportTitle(report),
      html: `${head}
${sections}`,
    };
    return context.json(view);
  });
  application.get("/api/chips/:name/roofline", (context) => {
    try {
      const svg = rooflineSvg(chipByName(context.req.param("name")), [], { isInPage: true });
      return context.json({ svg });
    } catch (error) {
      if (error instanceof ChipError) throw new Refusal(404, error.message);
      throw error;
    }
  });
}

/** Names of folders with a report that do not lead out of the root. */
function foldersOf(root: string): readonly string[] {
  if (!existsSync(root)) return [];
  const isInside = belowOf(root);
  return readdirSync(root)
    .sort()
    .filter((id) => id === basename(id) && existsSync(join(root, id, REPORT)))
    .filter((id) => isInside(join(root, id, REPORT)));
}

function reportOf(root: string, id: string): EngineReport {
  const path = join(root, id, REPORT);
  let content: unknown;
  try {
    content = JSON.parse(Buffer.from(readSmallFile(path, REPORT_BYTES)).toString("utf8"));
  } catch (error) {
    throw new Refusal(422, `${id}/${REPORT} cannot be read: ${messageOf(error)}`);
  }
  return parseReport(content, path);
}

function known<Result>(read: () => Result): Result {
  try {
    return read();
  } catch (error) {
    if (error instanceof AnecdoteError && !(error instanceof Refusal))
      throw new Refusal(422, error.message);
    throw error;
  }
}
