import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { canonicalSource } from "../../engine/ane/probe.ts";
import { EngineError } from "../../engine/errors.ts";
import { breaks, compileRaw, openCalls, SITE } from "./e5rt-calls.ts";
import { E5RT_RUN_PROBES } from "./e5rt-run-probes.ts";
import { compared, increment, ramp, rampPlus } from "./program-probes.ts";
import { addStoredConstant, assumedBy } from "./assumed-probe.ts";
import { held, notHeld, unknown } from "./probe.ts";
import type { Probe } from "./probe.ts";
import { LACKING, reasonOf, refusalOf } from "./refusal-probe.ts";
import { runProgram } from "./run-program.ts";

const assumed = assumedBy("e5rt");

export const E5RT_PROBES: readonly Probe[] = [
  assumed("e5rt.out-first", {
    group: "protocol",
    how: "creates a configuration and a compiler from it, out pointer first",
    means: breaks("Handles are given at another place of the call."),
    needs: ["e5rt.library"],
    level: "quick",
    run: async ({ library }) => {
      const calls = openCalls(library);
      const config = calls.create(SITE, "e5rt_e5_compiler_config_options_create");
      const compiler = calls.create(SITE, "e5rt_e5_compiler_create_with_config", config);
      const differ = config !== compiler;
      calls.release("e5rt_e5_compiler_release", compiler);
      calls.release("e5rt_e5_compiler_config_options_release", config);
      return differ ? held("both handles are there") : notHeld("both handles are the same");
    },
  }),
  assumed("e5rt.release-address", {
    group: "protocol",
    how: "creates and releases a configuration 1000 times",
    means: breaks("Handles leak or the process ends."),
    needs: ["e5rt.out-first"],
    run: async ({ library }) => {
      const calls = openCalls(library);
      const before = process.memoryUsage.rss();
      for (let i = 0; i < 1000; i++) {
        const config = calls.create(SITE, "e5rt_e5_compiler_config_options_create");
        calls.release("e5rt_e5_compiler_config_options_release", config);
      }
      const grownBytes = Math.max(0, process.memoryUsage.rss() - before);
      return held(`1000 rounds, memory grew by ${Math.round(grownBytes / 1024)} KiB`, {
        grownBytes,
      });
    },
  }),
  assumed("e5rt.status", {
    group: "protocol",
    how: "asks a compiled program for its function, and for one that it does not have",
    means: breaks("Failures are not noticed, or successes taken for failures."),
    run: async ({ library, scratch }) => {
      const calls = openCalls(library);
      const compiled = await compileRaw(calls, increment(), scratch);
      const retain = "e5rt_program_library_retain_program_function";
      const main = calls.retain(SITE, retain, compiled.library, "main");
      const out: [bigint | null] = [null];
      const wrong = calls.attempt(retain, compiled.library, "no-such-function", out);
      calls.release("e5rt_program_function_release", main);
      compiled.release();
      return wrong
        ? notHeld("a function that is not there is reported as found")
        : held("0 for what is there, another code for what is not");
    },
  }),
  assumed("e5rt.error-text", {
    group: "protocol",
    how: "compiles a program that cannot be compiled and reads what was written to stderr",
    means: {
      held: "Errors carry the runtime's reason.",
      "did not hold": "Errors carry a code and no reason.",
      unknown: "Errors may carry no reason.",
    },
    failure: "unknown",
    run: async ({ open }) => {
      const source = canonicalSource("probe", increment());
      try {
        await open().compile({ ...source, main: { ...source.main, opset: "ios99" } });
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
        return error.message.includes("It said:")
          ? held(reasonOf(error.message))
          : notHeld("it failed and wrote nothing");
      }
      return unknown("the program of an opset that does not exist compiled");
    },
  }),
  assumed("e5rt.mask", {
    group: "protocol",
    how: "compiles cumsum, which the engine lacks, for the Neural Engine alone",
    means: {
      held: "What is compiled runs on the Neural Engine and nowhere else.",
      "did not hold":
        "Programs may run elsewhere than on the Neural Engine: times and arithmetic are not the engine's.",
      unknown: "Whether programs may run elsewhere is not known.",
    },
    failure: "unknown",
    judgeDeath: (_, end) => held(`the compiler does not survive it: ${end}`),
    run: async ({ open }) => {
      const refusal = await refusalOf(async () =>
        (await open().compile(canonicalSource("probe", LACKING()))).release(),
      );
      return refusal === undefined ? notHeld("it compiles") : held(`refused: ${refusal}`);
    },
  }),
  assumed("e5rt.segmenter", {
    group: "protocol",
    how: 'sets "graph" and compiles',
    means: breaks("Programs do not compile with this segmenter."),
    run: async ({ library, scratch }) => {
      const compiled = await compileRaw(openCalls(library), increment(), scratch);
      compiled.release();
      return held('a program compiles with "graph"');
    },
  }),
  assumed("e5rt.weights-path", {
    group: "protocol",
    how: "adds a constant of 64 different numbers that stands in weights.bin",
    means: breaks("Constants are not found, or read at another place."),
    run: ({ open }) => addStoredConstant(open()),
  }),
  assumed("e5rt.function-name", {
    group: "protocol",
    how: 'retains "main", its ports by the names in the program, and runs',
    means: breaks("Ports or the function have other names."),
    needs: ["program.runs", "program.ports"],
    level: "quick",
    run: async ({ open }) => {
      const [sum] = await runProgram(open(), increment(), [ramp]);
      return compared(sum, rampPlus(1), "function and ports are found by name");
    },
  }),
  assumed("e5rt.cache-reuse", {
    group: "protocol",
    how: "compiles twice without force; what the first time left must be left alone by the second",
    means: {
      held: "Programs are compiled once and taken from the cache after.",
      "did not hold": "Programs are compiled anew in every process, with force.",
      unknown: "The cache is used, and whether it saves time is not known.",
    },
    failure: "did not hold",
    run: async ({ library, scratch }) => {
      const calls = openCalls(library);
      const timed = async (isForced: boolean): Promise<number> => {
        const started = performance.now();
        (await compileRaw(calls, increment(96), scratch, { isForced })).release();
        return performance.now() - started;
      };
      const firstMs = await timed(false);
      const left = filesUnder(scratch);
      const secondMs = await timed(false);
      const kept = filesUnder(scratch);
      const forcedMs = await timed(true);
      const figures = { firstMs, secondMs, forcedMs };
      const times = `${firstMs.toFixed(1)} ms, then ${secondMs.toFixed(1)} ms, with force ${forcedMs.toFixed(1)} ms`;
      if (left.size <= 1) return unknown(`nothing was left in the cache: ${times}`, figures);
      const written = [...kept].filter(([path, stamp]) => left.get(path) !== stamp);
      return written.length === 0
        ? held(`nothing was written anew: ${times}`, figures)
        : notHeld(`${written.length} files were written anew: ${times}`, figures);
    },
    settings: ({ verdict }) =>
      verdict === "did not hold" ? { e5rt: { forceRecompilation: true } } : undefined,
  }),
  assumed("e5rt.cache-process", {
    group: "protocol",
    how: "compiles in one process and, without force, in another; then with force",
    rounds: 2,
    means: {
      held: "A new process takes what an older one compiled, or compiles anew and goes on.",
      "did not hold":
        "What another process compiled stands in the way of this one: empty the cache.",
      unknown: "Whether a new process may use the cache is not known.",
    },
    run: async ({ library, scratch, round }) => {
      const calls = openCalls(library);
      const compile = async (isForced: boolean): Promise<void> =>
        (await compileRaw(calls, increment(128), scratch, { isForced })).release();
      if (round === 0) {
        await compile(false);
        return held("compiled");
      }
      const refusal = await refusalOf(() => compile(false));
      if (refusal === undefined)
        return held("another process's bundle is taken", { isTaken: true });
      await compile(true);
      const told = `another process's bundle is refused, force helps: ${refusal}`;
      return held(told, { isTaken: false });
    },
  }),
  ...E5RT_RUN_PROBES,
];

/** Every file below a folder with its size and time. */
function filesUnder(folder: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  if (!existsSync(folder)) return found;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) for (const row of filesUnder(path)) found.set(...row);
    else {
      const { size, mtimeMs, ino } = statSync(path);
      found.set(path, `${size} ${mtimeMs} ${ino}`);
    }
  }
  return found;
}
