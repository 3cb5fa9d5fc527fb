import { PLAIN_BUFFER, canonicalSource } from "../../engine/ane/probe.ts";
import type { AneDriver, DriverOperation, DriverProgram } from "../../engine/ane/probe.ts";
import { foreign } from "../../ffi/foreign.ts";
import { given } from "./arithmetic-programs.ts";
import { breaks, compileRaw, openCalls, SITE } from "./e5rt-calls.ts";
import { program } from "./number-case.ts";
import {
  compared,
  increment,
  LAYOUT_INPUT,
  LAYOUT_OUTPUT,
  layoutProgram,
  ramp,
  rampPlus,
  WIDTH,
} from "./program-probes.ts";
import { assumedBy, loadedTwice, runAgain } from "./assumed-probe.ts";
import { held, notHeld } from "./probe.ts";
import type { Probe } from "./probe.ts";
import { LoadedProgram, readNumbers, runProgram, writeNumbers } from "./run-program.ts";
import { refusalOf } from "./refusal-probe.ts";

const assumed = assumedBy("e5rt");

/** More than anybody saw loaded; a machine that takes so many has no cap that matters. */
const CAP_TRIED = 260;
/** Left to other users of the process. */
const CAP_MARGIN = 8;
const CHAIN = 16;

/** Operations, streams and buffers of e5rt. */
export const E5RT_RUN_PROBES: readonly Probe[] = [
  assumed("e5rt.many-operations", {
    group: "protocol",
    how: "loads one program twice with buffers of their own and runs both on one stream",
    means: breaks("One compiled stage cannot serve every layer."),
    run: ({ open }) =>
      loadedTwice(open(), {
        byteLength: 2 * WIDTH,
        order: (first, second) => [first, second],
        told: "each gives the numbers of its own buffers",
      }),
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
      const double = program([[1, WIDTH]], (f, x) => f.op("mul", { x, y: 2 }));
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
      return compared(got, rampPlus(5), "five runs in place, right numbers");
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
      return compared(got, rampPlus(CHAIN), `${CHAIN} operations in order`);
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
      return compared(got, LAYOUT_OUTPUT, "105 numbers, each at its place");
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
      const { loaded, isFreedAtOnce, reason } = await countLoads(driver, compiled);
      compiled.release();
      if (loaded === CAP_TRIED)
        return notHeld(`${CAP_TRIED} are loaded and there is no end`, { loaded });
      const room = isFreedAtOnce ? "makes room" : "makes no room";
      const told = `${loaded} are loaded, the next one fails: ${reason ?? ""}; releasing one ${room}`;
      const isAsSaid = isFreedAtOnce && loaded === 128;
      return (isAsSaid ? held : notHeld)(told, { loaded, isFreedAtOnce });
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

async function countLoads(driver: AneDriver, compiled: DriverProgram) {
  const input = driver.allocate(2 * WIDTH);
  const output = driver.allocate(2 * WIDTH);
  const operations: DriverOperation[] = [];
  const load = (label: string): void =>
    void operations.push(driver.load(compiled, [input], [output], label));
  const reason = await refusalOf(() => {
    while (operations.length < CAP_TRIED) load(`load ${operations.length}`);
  });
  const loaded = operations.length;
  let isFreedAtOnce = false;
  if (loaded > 0 && loaded < CAP_TRIED) {
    operations.pop()?.release();
    isFreedAtOnce = (await refusalOf(() => load("load again"))) === undefined;
  }
  for (const operation of operations) operation.release();
  input.release();
  output.release();
  return { loaded, isFreedAtOnce, reason };
}
