import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  describeProfile,
  profilePath,
  readMachineProfile,
  saveMachineProfile,
} from "../../../src/engine/ane/machine-profile.ts";
import { createAneEngine } from "../../../src/engine/ane/index.ts";
import { temporaryFolder } from "../../helpers/cli.ts";
import { buildDouble } from "./double-library.ts";

const KEY = { chip: "m4", osBuild: "24G84", library: "/lib/one" };

describe("a machine profile", () => {
  test("is found again, and one driver's settings leave the other's alone", () => {
    const root = temporaryFolder();
    expect(readMachineProfile(KEY, root).state).toBe("absent");
    saveMachineProfile(KEY, { e5rt: { operationLimit: 100 } }, "1.0.0", { root });
    saveMachineProfile(KEY, { "in-memory": { equalSizes: false } }, "1.0.0", { root });
    const found = readMachineProfile(KEY, root);
    expect(found).toMatchObject({
      state: "used",
      profile: {
        ...KEY,
        drivers: { e5rt: { operationLimit: 100 }, "in-memory": { equalSizes: false } },
      },
    });
    expect(describeProfile(found)).toMatch(/^machine profile of \d{4}-\d\d-\d\d$/);
  });

  test("of another system build is ignored and says both builds", () => {
    const root = temporaryFolder();
    saveMachineProfile(KEY, {}, "1.0.0", { root });
    const found = readMachineProfile({ ...KEY, osBuild: "25A1" }, root);
    expect(found.state).toBe("ignored");
    expect(describeProfile(found)).toMatch(/24G84, this is 25A1/);
    // The new one takes nothing over from the old one.
    saveMachineProfile({ ...KEY, osBuild: "25A1" }, { e5rt: { operationLimit: 9 } }, "2", { root });
    expect(readMachineProfile(KEY, root).state).toBe("ignored");
  });

  test.each([
    ["half a file", (text: string) => text.slice(0, 40)],
    ["a setting nobody knows", (text: string) => text.replace("operationLimit", "limit")],
    ["a limit below 1", (text: string) => text.replace("100", "0")],
    ["another schema", (text: string) => text.replace('"schema": 1', '"schema": 2')],
    ["a file of a megabyte", (text: string) => text + " ".repeat(1 << 20)],
  ])("that is %s is reported and ignored", (_, spoil) => {
    const root = temporaryFolder();
    const path = saveMachineProfile(KEY, { e5rt: { operationLimit: 100 } }, "1.0.0", { root });
    writeFileSync(path, spoil(readFileSync(path, "utf8")));
    expect(readMachineProfile(KEY, root)).toMatchObject({ state: "ignored", path });
  });

  test("is another file for another library or chip", () => {
    expect(profilePath(KEY, "/c")).not.toBe(profilePath({ ...KEY, library: "/lib/two" }, "/c"));
    expect(profilePath(KEY, "/c")).not.toBe(profilePath({ ...KEY, chip: "m5" }, "/c"));
  });

  test("is read by the engine, which says so", async () => {
    const root = temporaryFolder();
    const library = buildDouble("e5rt");
    const before = process.env["ANECDOTE_CACHE_DIR"];
    process.env["ANECDOTE_CACHE_DIR"] = root;
    try {
      const plain = await createAneEngine({ library });
      expect(plain.description.profile).toMatch(/no machine profile/);
      await plain.close();
      const { systemBuild } = await import("../../../src/engine/ane/machine-profile.ts");
      const key = { chip: "m4", osBuild: systemBuild(), library };
      saveMachineProfile(key, { e5rt: { operationLimit: 3 } }, "1.0.0");
      const engine = await createAneEngine({ library });
      expect(engine.description.profile).toMatch(/machine profile of/);
      await engine.close();
    } finally {
      if (before === undefined) delete process.env["ANECDOTE_CACHE_DIR"];
      else process.env["ANECDOTE_CACHE_DIR"] = before;
    }
  });
});
