import { hex } from "../byte-view.ts";
import { hwxListing } from "../hwx/listing.ts";
import type { E5Analytics } from "./analytics.ts";
import type { E5Bundle } from "./bundle.ts";
import type { FlatNode } from "./flatbuffer.ts";
import { ROOT_FIELDS, type E5Manifest } from "./manifest.ts";

/** A manifest as text: what is known by name, then every table and vector as the unnamed thing it is. */
export function e5ManifestListing(manifest: E5Manifest): string {
  const { coverage } = manifest;
  const lines = [
    `; ${manifest.name}`,
    `; E5 manifest, ${manifest.byteLength} bytes, format version ${manifest.formatVersion ?? "unknown"}`,
    ...manifest.buildInfo.map(({ key, value }) => `; ${key}: ${value}`),
    manifest.symbolDescription === null
      ? "; no symbol description"
      : `; compiled for chip ${hex(manifest.symbolDescription.chipId, 4)} (${manifest.symbolDescription.chip})`,
    "",
    ...manifest.root.fields.flatMap((field) =>
      nodeLines(field.node, ROOT_FIELDS[field.slot] ?? `unnamed ${field.slot}`, 0),
    ),
    "",
    `; bytes: ${coverage.reachedBytes} in tables, vectors and strings, ${coverage.namedBytes} of them named; ` +
      `${coverage.unreachedBytes} reached by nothing (${coverage.zeroBytes} of the file are zero)`,
    "; fields without a name are numbered: nobody has published their names from a binary",
  ];
  return `${lines.join("\n")}\n`;
}

function nodeLines(node: FlatNode, label: string, depth: number): string[] {
  const indent = "  ".repeat(depth);
  const at = `@${hex(node.offset)}`;
  switch (node.kind) {
    case "string":
      return [`${indent}${label} ${at}: ${JSON.stringify(node.text)}`];
    case "scalar":
      return [`${indent}${label} ${at}: ${node.value} (${node.byteLength} bytes)`];
    case "reference":
      return [`${indent}${label}: see ${at}`];
    case "bytes": {
      const words = node.preview.map((word) => hex(word)).join(" ");
      return [
        `${indent}${label} ${at}: vector of ${node.count} elements of unknown width: ${words}`,
      ];
    }
    case "list":
      return [
        `${indent}${label} ${at}: ${node.items.length} items`,
        ...node.items.flatMap((item, index) => nodeLines(item, `[${index}]`, depth + 1)),
      ];
    case "table":
      return [
        `${indent}${label} ${at}: table`,
        ...node.fields.flatMap((field) => nodeLines(field.node, `field ${field.slot}`, depth + 1)),
      ];
  }
}

/** An analytics text as a table of operations and the back end the runtime chose. */
export function e5AnalyticsListing(analytics: E5Analytics): string {
  const lines = [
    `; ${analytics.name}`,
    ...Object.entries(analytics.buildInfo).map(([key, value]) => `; ${key}: ${value}`),
    ...Object.entries(analytics.costsMs)
      .filter(([, value]) => value !== 0)
      .map(([key, value]) => `; ${key} = ${value}`),
    "",
    ...analytics.operations.map((one) => {
      const runtimes = Object.entries(one.estimatedRuntime).map(
        ([backend, value]) => `${backend} ${value.toPrecision(4)}`,
      );
      return (
        `${one.op} ${one.name}: on ${one.selectedBackend ?? "?"}, could run on ${one.supportedBackends.join(", ") || "none named"}` +
        (runtimes.length === 0 ? "" : `; estimated ${runtimes.join(", ")}`) +
        (one.isMemoryOperation ? " (inserted)" : "") +
        (one.message === null ? "" : `\n    ${one.message}`)
      );
    }),
  ];
  return `${lines.join("\n")}\n`;
}

/** A bundle folder as text: its files, then each manifest and each engine program. */
export function e5BundleListing(
  bundle: E5Bundle,
  options: { readonly registers?: boolean } = {},
): string {
  const head = [
    `; ${bundle.name}`,
    `; E5 bundle for ${bundle.targets.join(", ") || "an unknown target"}, ${bundle.files.length} files`,
    ...bundle.files.map(
      (file) => `;   ${file.kind.padEnd(10)} ${String(file.byteLength).padStart(10)}  ${file.path}`,
    ),
    ...bundle.hashes.flatMap((one) => [
      `; ${one.path}`,
      `;   program hash ${one.program}`,
      `;   weights hash ${one.weights}`,
    ]),
    ...bundle.problems.map((one) => `; problem: ${one.problem}`),
    "",
  ];
  return [
    `${head.join("\n")}\n`,
    ...bundle.manifests.map((one) => e5ManifestListing(one.manifest)),
    ...bundle.programs.map((one) => hwxListing(one.program, options)),
    ...bundle.analytics.map((one) => e5AnalyticsListing(one.analytics)),
  ].join("\n");
}
