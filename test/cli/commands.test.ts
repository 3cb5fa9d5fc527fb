import { Command } from "commander";
import { expect, test } from "vitest";
import { namedIn, registerCommands } from "../../src/cli/commands.ts";

async function registered(...argv: readonly string[]): Promise<Command> {
  const program = new Command("anecdote");
  await registerCommands(program, () => undefined, namedIn(argv));
  return program;
}

const names = (program: Command): readonly string[] =>
  program.commands.map((command) => command.name());

/** Those that have more than a name: an option, an argument or commands of their own. */
const loaded = (program: Command): readonly string[] =>
  program.commands
    .filter(
      ({ options, registeredArguments, commands }) =>
        options.length + registeredArguments.length + commands.length > 0,
    )
    .map((command) => command.name());

test("every command is known by name and purpose, whatever the words are", async () => {
  const all = names(await registered());
  expect(all.length).toBeGreaterThan(10);
  for (const argv of [["--help"], ["trian", "--data", "x.txt"], ["--version"], ["train"]]) {
    const program = await registered(...argv);
    expect(names(program)).toEqual(all);
    expect(program.commands.filter((command) => command.description() === "")).toEqual([]);
  }
});

test("only the command that is named is loaded, and help of one loads that one", async () => {
  for (const argv of [["--help"], ["trian"], ["--version"], []]) {
    expect(loaded(await registered(...argv))).toEqual([]);
  }
  for (const name of names(await registered())) {
    expect(loaded(await registered(name, "--help"))).toEqual([name]);
    expect(loaded(await registered("help", name))).toEqual([name]);
  }
});
