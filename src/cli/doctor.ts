import os from "node:os";
import type { Command } from "commander";
import { hasNeuralEngine } from "../engine/ane/library.ts";
import { createEngine } from "../engine/create.ts";
import { measureStep } from "../train/index.ts";
import { messageOf } from "../util/errors.ts";
import { VERSION } from "../util/version.ts";
import type { Exit } from "./commands.ts";
import { EXIT_CODES } from "./errors.ts";
import { formatMs, styled } from "./terminal.ts";

interface Finding {
  readonly what: string;
  readonly state: "ok" | "missing" | "note";
  readonly detail: string;
}

export function register(program: Command, exit: Exit): void {
  program
    .command("doctor")
    .description("what runs on this machine, what does not, and why")
    .option("--json", "findings as one JSON object")
    .addHelpText("after", "\nExample:\n  anecdote doctor --json")
    .action(async (flags: { readonly json?: boolean }) => {
      const findings = await examine();
      exit(
        findings.some(({ what, state }) => what === "cpu engine" && state === "missing")
          ? EXIT_CODES.deviceUnavailable
          : EXIT_CODES.ok,
      );
      if (flags.json === true) {
        process.stdout.write(`${JSON.stringify({ version: VERSION, findings })}\n`);
        return;
      }
      const marks = {
        ok: ["green", "ok     "],
        missing: ["red", "missing"],
        note: ["dim", "note   "],
      } as const;
      for (const { what, state, detail } of findings) {
        const [style, mark] = marks[state];
        process.stdout.write(
          `${styled(process.stdout, style, mark)}  ${what.padEnd(14)} ${detail.replaceAll("\n", `\n${" ".repeat(24)}`)}\n`,
        );
      }
    });
}

async function examine(): Promise<readonly Finding[]> {
  return [
    nodeFinding(),
    await koffiFinding(),
    await cpuFinding(),
    aneFinding(),
    await speedFinding(),
    siliconFinding(),
  ];
}

function nodeFinding(): Finding {
  const major = Number(process.versions.node.split(".")[0]);
  const system = `Node ${process.versions.node} on ${process.platform} ${process.arch}, ${os.cpus().length} × ${os.cpus()[0]?.model.trim() ?? "processor"}, ${Math.round(os.totalmem() / 2 ** 30)} GiB`;
  return major >= 22
    ? { what: "system", state: "ok", detail: system }
    : {
        what: "system",
        state: "note",
        detail: `${system}; Node 20 works and is out of support since April 2026`,
      };
}

async function koffiFinding(): Promise<Finding> {
  try {
    const { default: koffi } = await import("koffi");
    return {
      what: "koffi",
      state: "ok",
      detail: `${koffi.version}: weights and kernels share memory without copies`,
    };
  } catch (error) {
    return {
      what: "koffi",
      state: "missing",
      detail: `${messageOf(error)}\nthe CPU engine copies buffers instead; the ANE engine and MPI need it`,
    };
  }
}

async function cpuFinding(): Promise<Finding> {
  try {
    const engine = await createEngine("cpu");
    const { device, runtime, threads } = engine.description;
    await engine.close();
    return {
      what: "cpu engine",
      state: "ok",
      detail: `${runtime} on ${device}, ${threads} threads`,
    };
  } catch (error) {
    return { what: "cpu engine", state: "missing", detail: messageOf(error) };
  }
}

/** A step on this machine's processor beside what the cost model says of an engine. */
async function speedFinding(): Promise<Finding> {
  const what = "speed";
  try {
    const { preset, batchSize, sequenceLength, ms, predicted } = await measureStep("cpu");
    const measured = `a step of ${preset} (${batchSize} x ${sequenceLength} tokens) takes ${formatMs(ms)} on the CPU engine here`;
    return {
      what,
      state: "ok",
      detail:
        predicted === undefined
          ? measured
          : `${measured}; predicted for the engine of ${predicted.chip}: ${formatMs(predicted.ms)}, ${predicted.joules.toPrecision(3)} J`,
    };
  } catch (error) {
    return { what, state: "missing", detail: `no step could be timed: ${messageOf(error)}` };
  }
}

function aneFinding(): Finding {
  const library = process.env["ANECDOTE_ANE_LIBRARY"];
  if (library !== undefined && library !== "") {
    return {
      what: "neural engine",
      state: "note",
      detail: `ANECDOTE_ANE_LIBRARY names ${library}: \`--engine ane\` and auto use it`,
    };
  }
  if (hasNeuralEngine()) {
    return {
      what: "neural engine",
      state: "note",
      detail:
        "`--engine ane` and auto try to reach it through its private runtime; nobody has reported a run yet",
    };
  }
  return {
    what: "neural engine",
    state: "note",
    detail:
      process.platform === "darwin"
        ? "Intel Macs have no Neural Engine and are not supported"
        : "a Neural Engine is in Apple Silicon Macs only; everything runs on the CPU engine here, `--engine sim:m4` simulates one",
  };
}

function siliconFinding(): Finding {
  return {
    what: "verified",
    state: "note",
    detail:
      "nothing of Anecdote has run on a Neural Engine yet: both drivers ran against test doubles on Linux only (docs/ane.md)",
  };
}
