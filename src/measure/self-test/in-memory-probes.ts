import { ObjcRuntime, canonicalSource } from "../../engine/ane/probe.ts";
import type {
  AneDriver,
  DeviceBuffer,
  DriverSettings,
  ObjectPointer,
} from "../../engine/ane/probe.ts";
import { FunctionBuilder } from "../../mil/builder.ts";
import type { MilFunction } from "../../mil/program.ts";
import { given } from "./arithmetic-programs.ts";
import { half, padded, program } from "./number-case.ts";
import { spellAll } from "./outcome.ts";
import type { Outcome } from "./outcome.ts";
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
import { addStoredConstant, assumedBy, loadedTwice, runAgain } from "./assumed-probe.ts";
import { held, notHeld, unknown } from "./probe.ts";
import type { Probe } from "./probe.ts";
import {
  clearOutput,
  LoadedProgram,
  readNumbers,
  runProgram,
  sameNumbers,
  writeNumbers,
} from "./run-program.ts";
import { refusalOf } from "./refusal-probe.ts";

const assumed = assumedBy("in-memory");

const breaks = (what: string): Probe["means"] => ({
  held: "The driver's messages are right.",
  "did not hold": `${what} Please report it.`,
  unknown: "The driver goes on as if it held.",
});

/** Bytes of surfaces that are tried, smallest first; the last one is what everybody uses. */
const SURFACE_SIZES = [64, 1024, 4096, 16384, 32768, 49152] as const;
const BUDGET_TRIED = 260;
const BUDGET_MARGIN = 10;

export const IN_MEMORY_PROBES: readonly Probe[] = [
  assumed("in-memory.classes", {
    group: "symbols",
    how: "opens the framework, finds the classes and makes a driver",
    means: breaks("The driver does not reach its classes."),
    needs: ["in-memory.library"],
    level: "quick",
    run: async ({ open }) => held(open().runtime),
  }),
  assumed("in-memory.text", {
    group: "protocol",
    how: "compiles a program without weights",
    means: breaks("Programs do not compile this way."),
    needs: ["in-memory.classes"],
    level: "quick",
    run: async ({ open }) => {
      const compiled = await open().compile(canonicalSource("probe", increment()));
      compiled.release();
      return held("compiled, loaded, unloaded");
    },
  }),
  assumed("in-memory.files", {
    group: "protocol",
    how: "adds a constant of 64 different numbers that stands in a weight file",
    means: breaks("Weights are not found, or read at another place."),
    run: ({ open }) => addStoredConstant(open()),
  }),
  assumed("in-memory.quality-of-service", {
    group: "protocol",
    how: "compiles, loads, evaluates three times and unloads with 21",
    means: breaks("This quality of service is refused."),
    run: ({ open }) => runAgain(open(), 3, "three evaluations, right numbers"),
  }),
  assumed("in-memory.binding-order", {
    group: "protocol",
    how: "b - a and their sum as outputs z and y, declared against the alphabet",
    means: {
      held: "The driver numbers ports so that both orders are one; other programs must sort.",
      "did not hold": "Surfaces are bound in another order; the driver's numbered names hide it.",
      unknown: "The driver's numbered names work in both orders.",
    },
    failure: "unknown",
    run: async ({ open }) => bindingOrder(open()),
  }),
  assumed("in-memory.equal-surfaces", {
    group: "memory",
    how: "inputs of 1 x 32 and 64 x 512 and outputs likewise, each on a surface of its own size, in both orders",
    means: {
      held: "The driver gives all surfaces of a side the largest size.",
      "did not hold": "Surfaces may differ: the driver gives each its own size and saves memory.",
      unknown: "The driver gives all surfaces of a side the largest size.",
    },
    failure: "held",
    run: async ({ open }) => unequalSurfaces(open({ "in-memory": { equalSizes: false } })),
    settings: ({ verdict }) =>
      verdict === "unknown" ? undefined : { "in-memory": { equalSizes: verdict === "held" } },
  }),
  assumed("in-memory.surface-minimum", {
    group: "memory",
    how: `one addition over surfaces of ${SURFACE_SIZES.join(", ")} bytes`,
    means: {
      held: "Small values take 48 KiB each.",
      "did not hold":
        "Smaller surfaces work: the driver takes the smallest size from which all work.",
      unknown: "The driver keeps to 48 KiB.",
    },
    failure: "held",
    run: async ({ open }) => smallestSurface(open),
    settings: ({ measured }) => {
      const minimumBytes = measured?.["minimumBytes"];
      return typeof minimumBytes === "number" ? { "in-memory": { minimumBytes } } : undefined;
    },
  }),
  assumed("in-memory.surface-layout", {
    group: "memory",
    how: "a transposition of [1, 3, 5, 7] on surfaces larger than it",
    means: breaks("Numbers on surfaces are read at other places."),
    run: async ({ open }) => {
      const [got] = await runProgram(open(), layoutProgram(), [LAYOUT_INPUT]);
      return compared(got, LAYOUT_OUTPUT, "105 numbers, each at its place");
    },
  }),
  assumed("in-memory.surface-keys", {
    group: "memory",
    how: "makes surfaces of 48 KiB to 4 MiB, writes and reads all of each",
    means: breaks("Surfaces cannot be made this way."),
    needs: ["in-memory.classes"],
    run: async ({ open }) => {
      const driver = open();
      for (const size of [49152, 65536, 1 << 20, 4 << 20]) {
        const buffer = driver.allocate(size);
        buffer.access("write", (halves) => halves.fill(0x1234));
        const isWhole = buffer.access("read", (halves) => halves.every((bits) => bits === 0x1234));
        buffer.release();
        if (!isWhole) return notHeld(`a surface of ${size} bytes does not keep what is written`);
      }
      return held("four sizes, every byte");
    },
  }),
  assumed("in-memory.no-alias", {
    group: "memory",
    how: "x + 1 with one surface as input and output",
    means: {
      held: "As the driver has it: outputs have surfaces of their own.",
      "did not hold": "In-place updates would work; the driver does without.",
      unknown: "The driver gives outputs surfaces of their own.",
    },
    failure: "held",
    run: async ({ open }) => {
      const driver = open();
      const buffer = driver.allocate(driver.buffers.minimumBytes);
      const loaded = await LoadedProgram.load(driver, increment(), {
        inputs: [buffer],
        outputs: [buffer],
      });
      writeNumbers(buffer, ramp);
      const refusal = await refusalOf(() => loaded.execute());
      if (refusal !== undefined) return held(`refused: ${refusal}`);
      const got = readNumbers(buffer, WIDTH);
      return sameNumbers(got, rampPlus(1))
        ? notHeld("it works, with right numbers")
        : held(`wrong numbers: ${spellAll(got)}`);
    },
  }),
  assumed("in-memory.shared-model", {
    group: "protocol",
    how: "two requests over one loaded model, in turns",
    means: breaks("One compiled stage cannot serve every layer."),
    run: ({ open }) => {
      const driver = open();
      return loadedTwice(driver, {
        byteLength: driver.buffers.minimumBytes,
        order: (first, second) => [first, second, first],
        told: "each gives the numbers of its own surfaces",
      });
    },
  }),
  assumed("in-memory.selectors", {
    group: "symbols",
    how: "asks a class for a message that it answers and for one that nobody answers",
    means: {
      held: "The driver knows which ways the system has before it takes one.",
      "did not hold": "The driver may take a way that the system lacks, or overlook one.",
      unknown: "The driver goes on as if it held.",
    },
    needs: ["in-memory.classes"],
    level: "quick",
    run: async ({ library }) => {
      const objc = new ObjcRuntime(library.isNamed ? library.path : undefined);
      const type = objc.call("objc_getClass", "_ANEIOSurfaceObject") as ObjectPointer;
      const asks = (name: string): boolean => {
        const selector = objc.call("sel_registerName", name) as ObjectPointer;
        return objc.send(type, "respondsToSelector:", selector) === true;
      };
      if (!asks("objectWithIOSurface:")) return notHeld("a class denies what it answers");
      return asks("anecdoteAnswersNothing:")
        ? notHeld("a class affirms what nobody answers")
        : held("yes to what is there, no to what is not");
    },
  }),
  assumed("in-memory.threads", {
    group: "protocol",
    how: "makes surfaces and requests here, compiles, loads and evaluates on the driver's thread, 20 times",
    means: breaks("Objects must be used on the thread that made them."),
    run: ({ open }) => runAgain(open(), 20, "20 evaluations on another thread, right numbers"),
  }),
  assumed("in-memory.read-lock", {
    group: "memory",
    how: "reads an input's surface again and again while evaluations use it",
    means: {
      held: "The host reads values while the engine does.",
      "did not hold": "The host's readings disturb evaluations. Please report it.",
      unknown: "The driver goes on as if it held.",
    },
    run: async ({ open }) => {
      const loaded = await LoadedProgram.load(open(), increment());
      const [input] = loaded.inputs;
      let readings = 0;
      for (let run = 0; run < 20; run++) {
        writeNumbers(given(input), ramp);
        const state = { isDone: false };
        const evaluation = loaded.execute().finally(() => {
          state.isDone = true;
        });
        do {
          if (!sameNumbers(readNumbers(given(input), WIDTH), ramp))
            return notHeld("the host reads other numbers than it wrote");
          readings++;
          await new Promise((resolve) => setImmediate(resolve));
        } while (!state.isDone);
        await evaluation;
      }
      const [output] = loaded.outputs;
      const got = readNumbers(given(output), WIDTH);
      loaded.release();
      return compared(
        got,
        rampPlus(1),
        `${readings} readings during 20 evaluations, right numbers`,
      );
    },
  }),
  wayProbe("in-memory.client", { evaluation: "client" }, "evaluates through the shared client"),
  wayProbe(
    "in-memory.direct",
    { evaluation: "direct" },
    "evaluates directly, through a client of its own",
  ),
  wayProbe(
    "in-memory.client-compile",
    { compilation: "client", evaluation: "client" },
    "compiles, loads and evaluates a folder through the shared client",
  ),
  assumed("in-memory.compile-budget", {
    group: "limits",
    how: `compiles different programs, each released before the next, up to ${BUDGET_TRIED}`,
    means: {
      held: "The driver stops before the budget and says that the run must be resumed.",
      "did not hold": "The driver takes the budget that was found.",
      unknown: "The driver stops at 100.",
    },
    failure: "unknown",
    level: "thorough",
    expectedMs: 30_000,
    timeLimitMs: 600_000,
    run: async ({ open }) => compileBudget(open({ "in-memory": { compileBudget: 4096 } })),
    settings: ({ measured }) => {
      const compiled = measured?.["compiled"];
      return typeof compiled === "number"
        ? { "in-memory": { compileBudget: Math.max(1, compiled - BUDGET_MARGIN) } }
        : undefined;
    },
  }),
  {
    id: "in-memory.tile-poison",
    group: "limits",
    rule: "tile-poison",
    title: "After a program with tile the process can run others",
    driver: "in-memory",
    source: "skyfallsin field guide, M3 Max: every later call fails (0x1d)",
    how: "a program with tile, then one addition",
    means: {
      held: "The rule against tile is too strict for this machine.",
      "did not hold": "As documented: no program with tile may run through this driver.",
      unknown: "The driver's programs have no tile.",
    },
    level: "thorough",
    needs: ["program.runs"],
    failure: "did not hold",
    run: async ({ open }) => {
      const driver = open();
      const tiled = program([[1, WIDTH]], (f, x) => f.op("tile", { x, reps: [4, 1] }));
      const refusal = await refusalOf(() => runProgram(driver, tiled, [ramp]));
      if (refusal !== undefined) return unknown(`the program with tile does not run: ${refusal}`);
      const [sum] = await runProgram(driver, increment(), [ramp]);
      return compared(sum, rampPlus(1), "the next program gives right numbers");
    },
  },
];

/** A way that the driver does not take by itself unless `rate.routes` finds it faster. */
function wayProbe(
  id: "in-memory.client" | "in-memory.direct" | "in-memory.client-compile",
  settings: NonNullable<DriverSettings["in-memory"]>,
  how: string,
): Probe {
  return assumed(id, {
    group: "protocol",
    how: `${how}: one addition, three times`,
    means: {
      held: "This way works; see docs/ane.md for how to choose it.",
      "did not hold": "This way is closed on this machine.",
      unknown: "This way is not taken unless it is asked for.",
    },
    failure: "did not hold",
    run: ({ open }) => runAgain(open({ "in-memory": settings }), 3, "three runs, right numbers"),
  });
}

async function bindingOrder(driver: AneDriver): Promise<Outcome> {
  const f = new FunctionBuilder("main");
  const b = f.input("b", half(1, WIDTH));
  const a = f.input("a", half(1, WIDTH));
  const main = f.finish({ z: f.op("sub", { x: b, y: a }), y: f.op("add", { x: b, y: a }) });
  const first = ramp.map((x) => 3 * x);
  const second = ramp.map((x) => 100 + x);
  const loaded = await LoadedProgram.load(driver, { label: "probe", main });
  const [one, two] = await loaded.run([first, second]);
  loaded.release();
  const sum = first.map((x, i) => x + (second[i] ?? 0));
  const up = second.map((x, i) => x - (first[i] ?? 0));
  const down = up.map((x) => -x);
  // Alphabetical: surfaces 0, 1 are a, b, so z = second - first; outputs 0, 1 are y, z.
  if (sameNumbers(one, sum) && sameNumbers(two, up))
    return held("inputs and outputs go by the alphabet");
  if (sameNumbers(one, down) && sameNumbers(two, sum))
    return notHeld("inputs and outputs go by declaration");
  if (sameNumbers(one, sum) && sameNumbers(two, down))
    return notHeld("inputs go by declaration, outputs by the alphabet");
  if (sameNumbers(one, up) && sameNumbers(two, sum))
    return notHeld("inputs go by the alphabet, outputs by declaration");
  return notHeld(`neither order: ${spellAll(one ?? [])} and ${spellAll(two ?? [])}`);
}

/** A wide and a narrow input and output; `isAscending` declares the narrow ones first. */
function unequal(isAscending: boolean): MilFunction {
  const f = new FunctionBuilder("probe");
  const shapes = { narrow: half(1, WIDTH), wide: half(64, 512) };
  const order = isAscending ? (["narrow", "wide"] as const) : (["wide", "narrow"] as const);
  const [p, q] = order.map((name) => f.input(name, shapes[name]));
  const outputs = [p, q].map((value) => f.op("add", { x: given(value), y: 1 }));
  return f.finish({ first: given(outputs[0]), second: given(outputs[1]) });
}

async function unequalSurfaces(driver: AneDriver): Promise<Outcome> {
  const wide = padded(64 * 512, []).map((_, index) => index % 2048);
  const found: string[] = [];
  let areRight = true;
  for (const isAscending of [true, false]) {
    const inputs = isAscending ? [ramp, wide] : [wide, ramp];
    let isRight = false;
    const refusal = await refusalOf(async () => {
      const outputs = await runProgram(driver, unequal(isAscending), inputs);
      const wanted = inputs.map((numbers) => numbers.map((x) => x + 1));
      isRight = outputs.every((numbers, index) => sameNumbers(numbers, wanted[index] ?? []));
    });
    areRight &&= isRight;
    const fate = refusal ?? (isRight ? "right" : "wrong numbers without an error");
    found.push(`${isAscending ? "small" : "large"} first: ${fate}`);
  }
  const told = found.join("; ");
  return areRight ? notHeld(`surfaces of different sizes work, ${told}`) : held(told);
}

async function smallestSurface(open: Parameters<Probe["run"]>[0]["open"]): Promise<Outcome> {
  const fates: string[] = [];
  /** The smallest size from which on every size works. */
  let minimumBytes: number | undefined;
  for (const size of SURFACE_SIZES) {
    const driver = open({ "in-memory": { minimumBytes: size } });
    const buffers: DeviceBuffer[] = [];
    let isRight = false;
    const refusal = await refusalOf(async () => {
      const input = driver.allocate(size);
      buffers.push(input);
      const output = driver.allocate(size);
      buffers.push(output);
      const given = { inputs: [input], outputs: [output] };
      const loaded = await LoadedProgram.load(driver, increment(), given);
      writeNumbers(input, ramp);
      clearOutput(output);
      await loaded.execute();
      isRight = sameNumbers(readNumbers(output, WIDTH), rampPlus(1));
      loaded.release();
    });
    if (refusal !== undefined) for (const buffer of buffers) buffer.release();
    const works = refusal === undefined && isRight;
    minimumBytes = works ? (minimumBytes ?? size) : undefined;
    const fate = refusal === undefined ? "gives wrong numbers" : "fails";
    fates.push(`${size} ${works ? "works" : fate}`);
  }
  const told = fates.join(", ");
  if (minimumBytes === undefined) return unknown(`no size works all the way up: ${told}`);
  const measured = { minimumBytes };
  return minimumBytes === SURFACE_SIZES.at(-1) ? held(told, measured) : notHeld(told, measured);
}

async function compileBudget(driver: AneDriver): Promise<Outcome> {
  let compiled = 0;
  const refusal = await refusalOf(async () => {
    for (; compiled < BUDGET_TRIED; compiled++) {
      const fn = program([[1, WIDTH]], (f, x) => f.op("add", { x, y: compiled }));
      const [sum] = await runProgram(driver, fn, [ramp]);
      if (!sameNumbers(sum, rampPlus(compiled))) return;
    }
  });
  const measured = { compiled };
  if (compiled === BUDGET_TRIED)
    return notHeld(`${compiled} compile and there is no end`, measured);
  const told = `${compiled} compile, the next one fails: ${refusal ?? "wrong numbers without an error"}`;
  return compiled >= 110 && compiled <= 130 ? held(told, measured) : notHeld(told, measured);
}
