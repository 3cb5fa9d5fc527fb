import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { MachinePrograms } from "../../../src/engine/ane/machine-programs.ts";
import { buildDouble } from "./double-library.ts";

const TIMEOUT_MS = 60_000;
const scratch = mkdtempSync(join(tmpdir(), "anecdote-places-"));
const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const dist = (path: string): string =>
  fileURLToPath(new URL(`../../../dist/${path}`, import.meta.url));

/** Loads so many different programs through a driver, tells how it went, and holds them until it is ended. */
const HOLDER = `
const [driver, library, count] = process.argv.slice(3);
const { openDriver } = await import(${JSON.stringify(dist("engine/ane/probe.js"))});
const { FunctionBuilder } = await import(${JSON.stringify(dist("mil/builder.js"))});
const { tensorType } = await import(${JSON.stringify(dist("mil/types.js"))});
const opened = openDriver(driver, { path: library, isNamed: true });
const held = [];
try {
  for (let index = 0; index < Number(count); index++) {
    const f = new FunctionBuilder("main");
    const type = tensorType("fp16", [1, 32 + index, 1, 32]);
    const x = f.input("x", type);
    const fn = f.finish({ y: f.op("add", { x, y: x }) });
    held.push(await opened.compile({ label: "program " + index, main: fn }));
  }
  process.send("holds " + held.length);
} catch (error) {
  process.send([error.code, error.message].join(" | "));
}
setInterval(() => undefined, 1000);
`;
const holderPath = join(scratch, "holder.mjs");
writeFileSync(holderPath, HOLDER);

interface Holder {
  readonly child: ChildProcess;
  readonly told: string;
}

async function holder(
  cache: string,
  driver: "e5rt" | "in-memory",
  count: number,
  environment: Readonly<Record<string, string>> = {},
): Promise<Holder> {
  const library = buildDouble(driver === "e5rt" ? "e5rt" : "objc");
  const child = spawn(process.execPath, [holderPath, "train", driver, library, String(count)], {
    env: {
      ...process.env,
      ANECDOTE_CACHE_DIR: cache,
      ANECDOTE_ANE_MACHINE_PROGRAMS: "5",
      ANECDOTE_ANE_WAIT: "0",
      TMPDIR: scratch,
      ...environment,
    },
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  children.push(child);
  const [told] = (await once(child, "message")) as [string];
  return { child, told };
}

describe.each(["e5rt", "in-memory"] as const)(
  "processes over %s",
  { timeout: TIMEOUT_MS },
  (driver) => {
    test("share the machine's programs: who finds none left is told who holds how many", async () => {
      const cache = mkdtempSync(join(scratch, "cache-"));
      const first = await holder(cache, driver, 4);
      expect(first.told).toBe("holds 4");
      const { told } = await holder(cache, driver, 2);
      expect(told).toContain("engine.ane.shared");
      expect(told).toContain(
        `program "program 1" has no place: processes of Anecdote may hold 5 programs together on this machine, process ${first.child.pid} (train) holds 4, this one 1`,
      );
      expect(told).toContain(`kill ${first.child.pid}`);
    });

    test("wait for a place where they may, and a killed process holds none", async () => {
      const cache = mkdtempSync(join(scratch, "cache-"));
      const first = await holder(cache, driver, 5);
      const waiting = holder(cache, driver, 2, { ANECDOTE_ANE_WAIT: "30" });
      const next = once(first.child, "exit");
      first.child.kill("SIGKILL");
      await next;
      expect((await waiting).told).toBe("holds 2");
    });
  },
);

describe("places among a machine's programs", () => {
  const folder = (): string => join(mkdtempSync(join(scratch, "places-")), "programs");
  const open = (path: string, limit: number): MachinePrograms =>
    new MachinePrograms({ folder: path, limit, waitMs: 0 });

  test("come back when a program is let go, and what nobody uses is given up first", async () => {
    const path = folder();
    const programs = open(path, 3);
    const places = [await programs.take("a"), await programs.take("b")];
    writeFileSync(join(path, `${process.ppid}-0-0`), "{}");
    await expect(programs.take("c")).rejects.toMatchObject({ code: "engine.ane.shared" });
    let asked = 0;
    const third = await programs.take("c", () => {
      asked++;
      places.pop()?.leave();
    });
    expect(asked).toBe(1);
    third.leave();
    for (const place of places) place.leave();
    expect(readdirSync(path)).toEqual([`${process.ppid}-0-0`]);
  });

  test("bind no process that is alone: it has limits of its own", async () => {
    const programs = open(folder(), 1);
    for (const label of ["a", "b", "c"]) await programs.take(label);
    expect(programs.holders).toMatchObject([{ count: 3 }]);
  });

  test("of a process that is gone, or whose number another has now, are free", async () => {
    const path = folder();
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, "4194303-0-0"), "{}");
    writeFileSync(join(path, `${process.ppid}-0-0`), JSON.stringify({ began: "long ago" }));
    writeFileSync(join(path, "notes.txt"), "no mark");
    const place = await open(path, 1).take("a");
    expect(open(path, 1).holders).toMatchObject([{ pid: process.pid, count: 1 }]);
    place.leave();
    expect(readdirSync(path)).toEqual(["notes.txt"]);
  });

  test("count a mark that cannot be read yet, and a folder that cannot be made stops nobody", async () => {
    const path = folder();
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, `${process.ppid}-0-0`), '{"began": "lo');
    expect(open(path, 1).holders).toMatchObject([{ pid: process.ppid, count: 1 }]);
    const file = join(scratch, "file");
    writeFileSync(file, "");
    const place = await open(join(file, "programs"), 1).take("a");
    place.leave();
  });

  test("are scarce where others are and more than half is taken", async () => {
    const path = folder();
    const programs = open(path, 4);
    const own = [await programs.take("a"), await programs.take("b"), await programs.take("c")];
    expect(programs.isScarce).toBe(false);
    writeFileSync(join(path, `${process.ppid}-0-0`), "{}");
    expect(programs.isScarce).toBe(true);
    for (const place of own) place.leave();
    expect(programs.isScarce).toBe(false);
  });

  test("have a limit that must be a number", () => {
    const before = process.env["ANECDOTE_ANE_MACHINE_PROGRAMS"];
    process.env["ANECDOTE_ANE_MACHINE_PROGRAMS"] = "many";
    try {
      expect(() => MachinePrograms.of({ path: "/lib", isNamed: true })).toThrow(
        /ANECDOTE_ANE_MACHINE_PROGRAMS must be a number of at least 1, not "many"/,
      );
    } finally {
      if (before === undefined) delete process.env["ANECDOTE_ANE_MACHINE_PROGRAMS"];
      else process.env["ANECDOTE_ANE_MACHINE_PROGRAMS"] = before;
    }
  });
});
