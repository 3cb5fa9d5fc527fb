import { Command } from "commander";
import { expect, test } from "vitest";
import { registerCommands } from "../../src/cli/commands.ts";

async function registered(...argv: readonly string[]): Promise<readonly string[]> {
  const program = new Command("anecdote");
  await registerCommands(program, () => undefined, argv);
  return program.commands.map((command) => command.name());
}

test("a command line that names a command loads that one alone, under its name", async () => {
  const all = await registered();
  expect(all.length).toBeGreaterThan(10);
  for (const name of all) expect(await registered(name, "--help")).toEqual([name]);
});

test("help and typos know every command, the version none", async () => {
  const all = await registered();
  expect(await registered("--help")).toEqual(all);
  expect(await registered("trian", "--data", "x.txt")).toEqual(all);
  expect(await registered("--version")).toEqual([]);
});
