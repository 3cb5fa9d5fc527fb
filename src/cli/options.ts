import { Option } from "commander";
import type { Command } from "commander";
import { COMMAND_LINE, flagName, parseFlagText, resolveOptions } from "../util/options.ts";
import type { OptionLayer, OptionTable, OptionValues } from "../util/options.ts";
import { UsageError } from "./errors.ts";
import { noteHelp } from "./help.ts";

/**
 * Adds a flag for every option of a table; aliases are accepted and told by `--help-all` alone. `defaults`: what help
 * says of options that are not given.
 */
export function addOptions(
  command: Command,
  table: OptionTable,
  defaults: Readonly<Record<string, unknown>> = {},
): void {
  for (const [key, spec] of Object.entries(table)) {
    for (const spelling of [key, ...spec.aliases]) {
      const flag = flagName(spelling);
      const many = spec.kind === "texts" ? "..." : "";
      const usage = spec.kind === "flag" ? flag : `${flag} <${spec.placeholder ?? "VALUE"}${many}>`;
      const option = new Option(usage, spec.description).helpGroup(spec.group);
      if (spelling === key) {
        noteHelp(option, { aliases: spec.aliases.map(flagName), fallback: defaults[key] });
      } else option.hideHelp();
      command.addOption(option);
    }
  }
}

/** What the command line said, as a layer, under the spellings that were typed. */
export function commandLineLayer(command: Command, table: OptionTable): OptionLayer {
  const values: Record<string, unknown> = {};
  const given: Record<string, unknown> = command.opts();
  for (const [key, spec] of Object.entries(table)) {
    for (const spelling of [key, ...spec.aliases]) {
      const name = camelCase(spelling);
      const value = given[name];
      if (value === undefined || command.getOptionValueSource(name) !== "cli") continue;
      values[spelling] = typeof value === "string" ? parseFlagText(spelling, spec, value) : value;
    }
  }
  return { origin: COMMAND_LINE, values };
}

/** What holds of a table's options: the command line's values, else the defaults. */
export function optionValues<Table extends OptionTable>(
  command: Command,
  table: Table,
  defaults: Readonly<Record<string, unknown>> = {},
): OptionValues<Table> {
  return resolveOptions(table, [
    { origin: "default", values: defaults },
    commandLineLayer(command, table),
  ]).values;
}

/** The model that a command cannot do without. Throws `UsageError`. */
export function requiredModel(command: string, model: string | undefined): string {
  if (model !== undefined) return model;
  throw new UsageError("cli.model", `${command} needs a model: --model DIR`);
}

function camelCase(key: string): string {
  return key.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** The number that a flag's text stands for. Throws `UsageError` for anything but a whole number in the range. */
export function wholeNumber(flag: string, text: string, low: number, high: number): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isInteger(value) || value < low || value > high) {
    throw new UsageError(
      "cli.number",
      `${flag} takes a whole number from ${low} to ${high}, not "${text}"`,
    );
  }
  return value;
}
