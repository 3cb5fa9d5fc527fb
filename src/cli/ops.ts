import { table } from "../util/format.ts";
import type { Command } from "commander";

import { opNames, opReport } from "../grad/op-report.ts";
import type { OpReport } from "../grad/op-report.ts";
import { signaturesOf } from "../mil/op-signature.ts";
import type { OpSignature } from "../mil/op-signature.ts";
import { missingOps } from "../mil/missing-ops.ts";
import { opRow } from "../mil/ops/index.ts";
import { didYouMean } from "../util/nearest.ts";
import type { Exit } from "./exit.ts";
import { UsageError } from "./errors.ts";
import { styled, printJson } from "./terminal.ts";

interface OpsFlags {
  readonly missing?: boolean;
  readonly json?: boolean;
}

export function register(program: Command, _exit: Exit): void {
  program
    .command("ops")
    .argument("[name]", "one op: its parameters in every opset")
    .option("--missing", "only ops that no test of another library executes")
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      "\nExamples:\n  anecdote ops\n  anecdote ops conv\n  anecdote ops --missing",
    )
    .action((name: string | undefined, flags: OpsFlags) => {
      if (name !== undefined && flags.missing === true) {
        throw new UsageError(
          "cli.ops.flags",
          `--missing lists ops; it does nothing beside ${name}`,
        );
      }
      if (name !== undefined) showOne(name, flags.json === true);
      else if (flags.missing === true) showMissing(flags.json === true);
      else showAll(flags.json === true);
    });
}

function showAll(json: boolean): void {
  const reports = opNames().map(opReport);
  if (json) {
    printJson({ ops: reports, missing: missingOps() });
    return;
  }
  const mark = (yes: boolean): string => (yes ? "yes" : "-");
  const rows = reports.map((op) => [
    op.name,
    op.since ?? "",
    mark(op.evaluated),
    mark(op.tested),
    { rule: "yes", zero: "zero", none: "-" }[op.derivative],
    mark(op.onnx),
  ]);
  const header = ["op", "since", "evaluated", "tested", "derivative", "cpu engine"];
  process.stdout.write(`${table([header, ...rows])}\n`);
  const count = (has: (op: OpReport) => boolean): number => reports.filter(has).length;
  process.stdout.write(
    `\n${reports.length} ops: ${count((op) => op.evaluated)} evaluated, ${count((op) => op.tested)} tested against another library, ${count((op) => op.derivative === "rule")} with a derivative, ${count((op) => op.onnx)} on the CPU engine\n`,
  );
}

function showMissing(json: boolean): void {
  const missing = missingOps();
  if (json) {
    printJson({ missing });
    return;
  }
  for (const name of missing) process.stdout.write(`${name}\n`);
  process.stderr.write(
    `${missing.length} of ${opNames().length} ops are executed by no test of another library\n`,
  );
}

function showOne(name: string, json: boolean): void {
  const names = opNames();
  if (!names.includes(name)) {
    throw new UsageError("cli.ops.unknown", `there is no op "${name}".${didYouMean(name, names)}`);
  }
  const report = opReport(name);
  const signatures = signaturesOf(name);
  if (json) {
    printJson({ ...report, signatures });
    return;
  }
  const can = [
    ["evaluated on the reference engine", report.evaluated],
    ["tested against another library", report.tested],
    ["has a derivative", report.derivative === "rule"],
    ["runs on the CPU engine", report.onnx],
  ] as const;
  process.stdout.write(`${styled(process.stdout, "bold", name)}\n`);
  for (const [what, yes] of can) process.stdout.write(`  ${yes ? "yes" : "no "} ${what}\n`);
  const fallbacks: Readonly<Record<string, { readonly fallback?: unknown }>> =
    opRow(name)?.parameters ?? {};
  for (const signature of signatures) {
    process.stdout.write(`\nfrom ${signature.since}\n${signatureTable(signature, fallbacks)}\n`);
  }
}

function signatureTable(
  { parameters }: OpSignature,
  fallbacks: Readonly<Record<string, { readonly fallback?: unknown }>>,
): string {
  return table(
    parameters.map(({ name, constant, optional, types }) => {
      const fallback = Object.hasOwn(fallbacks, name) ? fallbacks[name]?.fallback : undefined;
      const words = [
        ...(constant ? ["constant"] : []),
        ...(optional
          ? [fallback === undefined ? "optional" : `default ${JSON.stringify(fallback)}`]
          : []),
      ];
      return [`  ${name}`, types?.join(" ") ?? "any", words.join(", ")];
    }),
  );
}
