import type { Command } from "commander";
import { expect, test } from "vitest";
import { registerCommands } from "../../src/cli/commands.ts";
import { HelpfulCommand } from "../../src/cli/help.ts";
import { resolveTrainConfig } from "../../src/train/index.ts";
import { run } from "./in-process.ts";

const program = new HelpfulCommand("anecdote");
await registerCommands(
  program,
  () => undefined,
  () => true,
);
const commandsOf = (command: Command): readonly Command[] => [
  command,
  ...command.commands.flatMap(commandsOf),
];
const longNames = (command: Command): readonly (string | null | undefined)[] =>
  command.options.map(({ long }) => long);
const pathOf = (command: Command): string =>
  command.parent === null ? "" : `${pathOf(command.parent)} ${command.name()}`.trim();

const withEngine = commandsOf(program).filter((command) => longNames(command).includes("--engine"));

test("the commands with an engine are known", () => {
  expect(withEngine.map(pathOf)).toEqual(
    expect.arrayContaining(["train", "generate", "eval", "plan", "run"]),
  );
});

test.each(withEngine.map((command) => [pathOf(command), command] as const))(
  "%s takes --ane-driver, lists it, and takes --driver too",
  async (path, command) => {
    expect(longNames(command)).toEqual(expect.arrayContaining(["--ane-driver", "--driver"]));
    if (command instanceof HelpfulCommand) command.showAll();
    expect(command.helpInformation()).toMatch(/--ane-driver <.*also\s+--driver/s);
    const given = command.registeredArguments.map(() => "file.mil");
    for (const spelling of ["--ane-driver", "--driver"]) {
      const { code, stdout, stderr } = await run(
        ...path.split(" "),
        ...given,
        ...["--engine", "sim:m4", spelling, "in-memry"],
      );
      expect(code, path).toBe(2);
      expect(stdout + stderr).toMatch(/Did you mean "in-memory"/);
    }
  },
);

test.each(["check", "estimate"])("%s names drivers the same way", (name) => {
  const command = program.commands.find((known) => known.name() === name);
  expect(command === undefined ? [] : longNames(command)).toEqual(
    expect.arrayContaining(["--ane-driver", "--driver"]),
  );
});

test("a configuration file may say ane_driver or driver", () => {
  for (const key of ["ane_driver", "driver", "ane-driver"]) {
    const { config } = resolveTrainConfig({}, [{ origin: "file", values: { [key]: "in-memory" } }]);
    expect(config.ane_driver).toBe("in-memory");
  }
});
