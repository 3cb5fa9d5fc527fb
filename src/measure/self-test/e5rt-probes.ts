import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { PLAIN_BUFFER, canonicalSource } from "../../engine/ane/probe.ts";
import type { AneDriver, DriverOperation, DriverProgram } from "../../engine/ane/probe.ts";
import { foreign } from "../../ffi/foreign.ts";
import { EngineError } from "../../engine/errors.ts";
import { given } from "./arithmetic-programs.ts";
import { compileRaw, openCalls, SITE } from "./e5rt-calls.ts";
import { program } from "./number-case.ts";
import {
  compared,
  increment,
  LAYOUT_INPUT,
  LAYOUT_OUTPUT,
  layoutProgram,
  ramp,
  WIDTH,
} from "./program-probes.ts";
import { addStoredConstant, assumedBy, runAgain } from "./assumed-probe.ts";
import { held, notHeld, unknown } from "./probe.ts";
import type { Probe } from "./probe.ts";
import { LACKING, reasonOf } from "./refusal-cases.ts";
import { LoadedProgram, readNumbers, runProgram, writeNumbers } from "./run-program.ts";

const assumed = assumedBy("e5rt");

const breaks = (what: string): Probe["means"] => ({
  held: "The driver's order of calls is right.",
  "did not hold": `${what} Please report it.`,
  unknown: "The driver goes on as if it held.",
});

/** More than anybody saw loaded; a machine that takes so many has no cap that matters. */
const CAP_TRIED = 260;
/** Left to other users of the process. */
const CAP_MARGIN = 8;
const CHAIN = 16;

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
      try {
        const compiled = await open().compile(canonicalSource("probe", LACKING()));
        compiled.release();
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
        return held(`refused: ${reasonOf(error.message)}`);
      }
      return notHeld("it compiles");
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
      return compared(
        sum ?? [],
        ramp.map((x) => x + 1),
        "function and ports are found by name",
      );
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
      if (round === 0) {
        (await compileRaw(calls, increment(128), scratch)).release();
        return held("compiled");
      }
      try {
        (await compileRaw(calls, increment(128), scratch)).release();
        return held("another process's bundle is taken", { isTaken: true });
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
        (await compileRaw(calls, increment(128), scratch, { isForced: true })).release();
        return held(
          `another process's bundle is refused, force helps: ${reasonOf(error.message)}`,
          {
            isTaken: false,
          },
        );
      }
    },
  }),
  assumed("e5rt.many-operations", {
    group: "protocol",
    how: "loads one program twice with buffers of their own and runs both on one stream",
    means: breaks("One compiled stage cannot serve every layer."),
    run: async ({ open }) => {
      const driver = open();
      const compiled = await driver.compile(canonicalSource("probe", increment()));
      const size = 2 * WIDTH;
      const buffers = Array.from({ length: 4 }, () => driver.allocate(size));
      const [a, b, c, d] = buffers;
      const first = driver.load(compiled, [given(a)], [given(b)], "first");
      const second = driver.load(compiled, [given(c)], [given(d)], "second");
      const stream = driver.encode([first, second]);
      writeNumbers(given(a), ramp);
      writeNumbers(
        given(c),
        ramp.map((x) => 10 * x),
      );
      await driver.execute(stream, "both");
      const outcome = compared(
        [...readNumbers(given(b), WIDTH), ...readNumbers(given(d), WIDTH)],
        [...ramp.map((x) => x + 1), ...ramp.map((x) => 10 * x + 1)],
        "each gives the numbers of its own buffers",
      );
      stream.release();
      first.release();
      second.release();
      compiled.release();
      for (const buffer of buffers) buffer.release();
      return outcome;
    },
  }),
  assumed("e5rt.release-early", {
    group: "protocol",
    how: "releases compiler, configuration and options once the operation exists, then runs three times",
    means: breaks("Operations need what they were compiled with."),
    run: ({ open }) => runAgain(open(), 3, "three runs, right numbers"),
  }),
  assumed("e5rt.buffer", {
    group: "memory",
    how: "allocates 64 bytes to 1 MiB, asks twice for the address, writes and reads; then 80 bytes",
    means: {
      held: "Buffers are plain memory.",
      "did not hold": "Buffers are not what the driver takes them for. Please report it.",
      unknown: "The driver goes on as if it held.",
    },
    needs: ["e5rt.out-first"],
    run: async ({ library }) => {
      const calls = openCalls(library);
      for (const size of [64, 192, 4096, 1 << 20]) {
        const buffer = calls.create(SITE, "e5rt_buffer_object_alloc", BigInt(size), PLAIN_BUFFER);
        const first = calls.retain(SITE, "e5rt_buffer_object_get_data_ptr", buffer);
        const again = calls.retain(SITE, "e5rt_buffer_object_get_data_ptr", buffer);
        if (first !== again) return notHeld(`${size} bytes stand at two addresses`);
        const bytes = new Uint8Array(foreign().view(first, size)).fill(0x5a);
        if (!bytes.every((byte) => byte === 0x5a))
          return notHeld(`${size} bytes do not keep what is written`);
        calls.release("e5rt_buffer_object_release", buffer);
      }
      const out: [bigint | null] = [null];
      const takesAny = calls.attempt("e5rt_buffer_object_alloc", out, 80n, PLAIN_BUFFER);
      return held(
        `stable addresses; 80 bytes, no multiple of 64, are ${takesAny ? "taken too" : "refused"}`,
        { takesAnySize: takesAny },
      );
    },
  }),
  assumed("e5rt.shared-buffer", {
    group: "memory",
    how: "one program writes a buffer that another one on the same stream reads",
    means: breaks("Values cannot stay on the engine between programs."),
    run: async ({ open }) => {
      const driver = open();
      const double = program([[1, WIDTH]], (f, x) => f.op("mul", { x: given(x), y: 2 }));
      const [input, shared, output] = [0, 1, 2].map(() => driver.allocate(2 * WIDTH));
      const first = await driver.compile(canonicalSource("add", increment()));
      const second = await driver.compile(canonicalSource("double", double));
      const operations = [
        driver.load(first, [given(input)], [given(shared)], "add"),
        driver.load(second, [given(shared)], [given(output)], "double"),
      ];
      const stream = driver.encode(operations);
      writeNumbers(given(input), ramp);
      await driver.execute(stream, "both");
      const got = readNumbers(given(output), WIDTH);
      stream.release();
      for (const operation of operations) operation.release();
      first.release();
      second.release();
      for (const buffer of [input, shared, output]) buffer?.release();
      return compared(
        got,
        ramp.map((x) => 2 * (x + 1)),
        "the second program sees what the first wrote",
      );
    },
  }),
  {
    id: "e5rt.same-buffer",
    group: "memory",
    title: "One buffer may be input and output of one operation",
    driver: "e5rt",
    source: "ANEForge: states stay resident so",
    how: "x + 1 in place, five times",
    means: {
      held: "Values could be updated in place; the driver does not rely on it.",
      "did not hold": "As the driver has it: inputs and outputs have buffers of their own.",
      unknown: "The driver does not rely on it.",
    },
    needs: ["program.runs"],
    failure: "unknown",
    level: "thorough",
    run: async ({ open }) => {
      const driver = open();
      const buffer = driver.allocate(2 * WIDTH);
      const loaded = await LoadedProgram.load(driver, increment(), {
        inputs: [buffer],
        outputs: [buffer],
      });
      writeNumbers(buffer, ramp);
      for (let run = 0; run < 5; run++) await loaded.execute();
      const got = readNumbers(buffer, WIDTH);
      loaded.release();
      return compared(
        got,
        ramp.map((x) => x + 5),
        "five runs in place, right numbers",
      );
    },
  },
  assumed("e5rt.event-name", {
    group: "protocol",
    how: "creates a named event and binds it to an operation before it is encoded",
    means: breaks("Operations cannot be loaded this way."),
    run: async ({ library, scratch }) => {
      const calls = openCalls(library);
      const compiled = await compileRaw(calls, increment(), scratch);
      const fn = calls.retain(
        SITE,
        "e5rt_program_library_retain_program_function",
        compiled.library,
        "main",
      );
      const options = calls.create(
        SITE,
        "e5rt_precompiled_compute_op_create_options_create_with_program_function",
        fn,
      );
      calls.check(
        SITE,
        "e5rt_precompiled_compute_op_create_options_set_operation_name",
        options,
        "main",
      );
      calls.check(
        SITE,
        "e5rt_precompiled_compute_op_create_options_set_allocate_intermediate_buffers",
        options,
        1,
      );
      const operation = calls.create(
        SITE,
        "e5rt_execution_stream_operation_create_precompiled_compute_operation_with_options",
        options,
      );
      const event = calls.create(SITE, "e5rt_async_event_create", "anecdote", 0);
      const isBound = calls.attempt(
        "e5rt_execution_stream_operation_bind_completion_event",
        operation,
        event,
      );
      calls.release("e5rt_async_event_release", event);
      calls.release("e5rt_execution_stream_operation_release", operation);
      calls.release("e5rt_precompiled_compute_op_create_options_release", options);
      calls.release("e5rt_program_function_release", fn);
      compiled.release();
      return held(isBound ? "created and bound" : "created; binding it fails, which does no harm", {
        isBound,
      });
    },
  }),
  assumed("e5rt.stream-order", {
    group: "protocol",
    how: `${CHAIN} additions on one stream, each reading what the one before wrote`,
    means: breaks("Dispatches of a plan may overtake each other."),
    needs: ["program.runs", "e5rt.shared-buffer"],
    run: async ({ open }) => {
      const driver = open();
      const compiled = await driver.compile(canonicalSource("probe", increment()));
      const buffers = Array.from({ length: CHAIN + 1 }, () => driver.allocate(2 * WIDTH));
      const operations = buffers
        .slice(1)
        .map((output, index) =>
          driver.load(compiled, [given(buffers[index])], [output], `link ${index}`),
        );
      const stream = driver.encode(operations);
      writeNumbers(given(buffers[0]), ramp);
      await driver.execute(stream, "chain");
      const got = readNumbers(given(buffers[CHAIN]), WIDTH);
      stream.release();
      for (const operation of operations) operation.release();
      compiled.release();
      for (const buffer of buffers) buffer.release();
      return compared(
        got,
        ramp.map((x) => x + CHAIN),
        `${CHAIN} operations in order`,
      );
    },
  }),
  assumed("e5rt.execute-thread", {
    group: "protocol",
    how: "encodes here and executes on another thread, 20 times",
    means: breaks("Streams must run on the thread that made them."),
    // The driver always executes on koffi's thread.
    run: ({ open }) => runAgain(open(), 20, "20 runs on another thread, right numbers"),
  }),
  assumed("e5rt.dense-ports", {
    group: "memory",
    how: "a transposition of [1, 3, 5, 7], whose rows are no multiple of anything",
    means: breaks("Ports are padded: numbers are read at other places."),
    run: async ({ open }) => {
      const [got] = await runProgram(open(), layoutProgram(), [LAYOUT_INPUT]);
      return compared(got ?? [], LAYOUT_OUTPUT, "105 numbers, each at its place");
    },
  }),
  assumed("e5rt.program-cap", {
    group: "limits",
    how: `loads one program again and again, up to ${CAP_TRIED} times, releases one and loads another`,
    means: {
      held: "The driver keeps below the cap and lets others go when it is reached.",
      "did not hold": "The driver takes the cap that was found.",
      unknown: "The driver keeps below 128.",
    },
    expectedMs: 8000,
    timeLimitMs: 180_000,
    failure: "unknown",
    run: async ({ open }) => {
      const driver = open();
      const compiled = await driver.compile(canonicalSource("probe", increment()));
      const counted = countLoads(driver, compiled);
      compiled.release();
      if (counted.loaded === CAP_TRIED)
        return notHeld(`${CAP_TRIED} are loaded and there is no end`, { loaded: CAP_TRIED });
      const told = `${counted.loaded} are loaded, the next one fails: ${counted.reason}`;
      const figures = { loaded: counted.loaded, isFreedAtOnce: counted.isFreedAtOnce };
      if (!counted.isFreedAtOnce) return notHeld(`${told}; releasing one makes no room`, figures);
      return counted.loaded === 128
        ? held(`${told}; releasing one makes room`, figures)
        : notHeld(`${told}; releasing one makes room`, figures);
    },
    settings: ({ measured }) => {
      const loaded = measured?.["loaded"];
      return typeof loaded === "number"
        ? { e5rt: { operationLimit: Math.max(1, loaded - CAP_MARGIN) } }
        : undefined;
    },
  }),
  assumed("e5rt.release-order", {
    group: "protocol",
    how: "compiles, loads, runs and releases 25 times in the driver's order",
    means: breaks("Releasing in this order does harm."),
    expectedMs: 2000,
    run: async ({ open }) => {
      const driver = open();
      const before = process.memoryUsage.rss();
      for (let round = 0; round < 25; round++) {
        const loaded = await LoadedProgram.load(driver, increment());
        await loaded.run([ramp]);
        loaded.release();
      }
      const grownBytes = Math.max(0, process.memoryUsage.rss() - before);
      return held(`25 rounds, memory grew by ${Math.round(grownBytes / 1024)} KiB`, { grownBytes });
    },
  }),
];

function countLoads(
  driver: AneDriver,
  compiled: DriverProgram,
): { readonly loaded: number; readonly isFreedAtOnce: boolean; readonly reason: string } {
  const input = driver.allocate(2 * WIDTH);
  const output = driver.allocate(2 * WIDTH);
  const operations: DriverOperation[] = [];
  let reason = "";
  let isFreedAtOnce = false;
  try {
    while (operations.length < CAP_TRIED)
      operations.push(driver.load(compiled, [input], [output], `load ${operations.length}`));
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    reason = reasonOf(error.message);
  }
  const loaded = operations.length;
  if (loaded > 0 && loaded < CAP_TRIED) {
    operations.pop()?.release();
    try {
      operations.push(driver.load(compiled, [input], [output], "load again"));
      isFreedAtOnce = true;
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
    }
  }
  for (const operation of operations) operation.release();
  input.release();
  output.release();
  return { loaded, isFreedAtOnce, reason };
}

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
