import { readFileSync, statSync } from "node:fs";
import { dirname, resolve, sep } from "node:path";
import { chipByName } from "../../chip/chips.ts";
import { chooseDriver } from "../../chip/choose-driver.ts";
import { fileKindOf } from "../../files/file-kind.ts";
import { inspectFile } from "../../files/inspect-file.ts";
import { isProgramKind } from "../../files/open-program.ts";
import { e5BundleListing, e5ManifestListing } from "../../inspect/e5/index.ts";
import { parseReport, reportParts, reportTitle } from "../../measure/engine-bench/index.ts";
import { formatBytes } from "../../util/format.ts";
import { htmlDocument } from "../../util/plot/document.ts";
import { escapeText } from "../../util/plot/svg.ts";
import { VERSION } from "../../util/version.ts";
import { engineProgramParts } from "./engine-program-look.ts";
import { modelParts } from "./model-look.ts";
import type { FileLook, FileLookOptions, LookContext, LookParts } from "./look.ts";
import { listing, pairs, section, tensorsSection } from "./parts.ts";
import { programParts } from "./program-look.ts";

const REPORT_BYTES = 64 << 20;
/**
 * Looks into a file of any kind that the commands open: what is in it, what rules of a chip it breaks, what it is predicted
 * to take there. Nothing runs and nothing is measured. Throws as the readers do for a file that is damaged or unknown, and
 * `ChipError` for an unknown chip.
 */
export function lookAtFile(path: string, options: FileLookOptions = {}): FileLook {
  const { name = path } = options;
  const target = chipByName(options.chip ?? "m4");
  const context = { ...options, name, chip: target.name, target, driver: chooseDriver(undefined) };
  const parts = benchParts(path) ?? partsOf(path, context);
  const look = { title: name, functions: [], function: null, ...parts, chip: target.name };
  // Whoever reads it may have sent the file, or be sent this: where it stood here is nobody's business.
  const folder = escapeText(`${dirname(resolve(path))}${sep}`);
  return { ...look, sections: look.sections.map((part) => part.replaceAll(folder, "")) };
}

/** A look at a file as one HTML file that needs nothing else. */
export function fileReport(path: string, options: FileLookOptions = {}): string {
  const { title, head, sections } = lookHtml(lookAtFile(path, options));
  return htmlDocument(
    title,
    `<header>
${head}
</header>
<main>
${sections}
</main>`,
  );
}

/** A look as HTML of its head and of its sections, for a file or a page around it. */
export function lookHtml({ title, subtitle, sections }: FileLook): {
  readonly title: string;
  readonly head: string;
  readonly sections: string;
} {
  return {
    title,
    head: `<h1>${escapeText(title)}</h1>
<p>${escapeText(subtitle)}; made by Anecdote ${VERSION}</p>`,
    sections: sections.filter((part) => part !== "").join("\n"),
  };
}

function partsOf(path: string, context: LookContext): LookParts {
  const kind = fileKindOf(path);
  if (isProgramKind(kind)) return programParts(path, context);
  if (kind === "model") return modelParts(path, context);
  const report = inspectFile(path);
  switch (report.kind) {
    case "hwx":
      return engineProgramParts(report.file, context);
    case "e5":
      return {
        subtitle: "a manifest of Apple's E5 runtime",
        sections: [section("Manifest", listing("all of it", e5ManifestListing(report.manifest)))],
      };
    case "e5-bundle":
      return {
        subtitle: "a bundle of Apple's E5 runtime",
        sections: [section("Bundle", listing("all of it", e5BundleListing(report.bundle)))],
      };
    case "npy":
      return {
        subtitle: "an array",
        sections: [
          section(
            "Array",
            pairs("Array", [
              ["numbers", report.type],
              ["shape", report.shape.join(" x ")],
              ["size", formatBytes(report.byteLength)],
            ]),
          ),
        ],
      };
    case "summary": {
      const { format, weights, weight_bytes: byteLength } = report.summary;
      return {
        subtitle: `${format}, ${weights.length} tensors, ${formatBytes(byteLength)}`,
        sections: [tensorsSection(weights)],
      };
    }
  }
}

/** A report of `bench engine` is drawn as its own file is. */
function benchParts(path: string): LookParts | undefined {
  if (!path.endsWith(".json")) return undefined;
  const status = statSync(path, { throwIfNoEntry: false });
  if (status?.isFile() !== true || status.size > REPORT_BYTES) return undefined;
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(path, "utf8"));
  } catch {
    // Whatever it is, the reader of files says it.
    return undefined;
  }
  const report = parseReport(content, "this file");
  const { head, sections } = reportParts(report);
  return {
    title: reportTitle(report),
    subtitle: `${report.cases.length} cases`,
    sections: [head.replace(/^<h1>.*?<\/h1>\n/, ""), sections],
  };
}
