import * as z from "zod";
import { foreignHint } from "./foreign-names.ts";
import type { ForeignNames } from "./foreign-names.ts";
import { didYouMean } from "./nearest.ts";
import { OptionError } from "./option-error.ts";
import { plainProblem } from "./plain-problem.ts";

/** One setting: the same record makes the flag, the YAML key, the help text and the check. */
export interface OptionSpec<Value = unknown> {
  readonly kind: "number" | "text" | "texts" | "flag" | "choice";
  readonly schema: z.ZodType<Value>;
  readonly description: string;
  /** Heading of the help text it stands under. */
  readonly group: string;
  readonly placeholder?: string;
  /** Other spellings that users of mlx-lm, Hugging Face or nanoGPT may type. */
  readonly aliases: readonly string[];
  readonly choices?: readonly string[];
}

/** Settings by name. */
export type OptionTable = Readonly<Record<string, OptionSpec>>;
/** Values of a table's settings, none of which need be given. */
export type OptionValues<Table extends OptionTable> = {
  readonly [Name in keyof Table]: Table[Name] extends OptionSpec<infer Value> ? Value : never;
};

/** Values from one place: the defaults, a preset, a file, the command line. */
export interface OptionLayer {
  readonly origin: string;
  readonly values: Readonly<Record<string, unknown>>;
}

export interface ResolvedOptions<Table extends OptionTable> {
  readonly values: OptionValues<Table>;
  /** Where each value came from. */
  readonly origins: ReadonlyMap<string, string>;
}

/** The heading of options that have no other: the one that help has by itself. */
export const OPTIONS_GROUP = "Options:";

interface Details {
  readonly group?: string;
  readonly placeholder?: string;
  readonly aliases?: readonly string[];
}
interface NumberDetails extends Details {
  readonly integer?: boolean;
  readonly minimum?: number;
  readonly maximum?: number;
}

function common(description: string, details: Details, placeholder: string) {
  return {
    description,
    group: details.group ?? OPTIONS_GROUP,
    placeholder: details.placeholder ?? placeholder,
    aliases: details.aliases ?? [],
  };
}

export function numberOption(
  description: string,
  details: NumberDetails = {},
): OptionSpec<number | undefined> {
  let schema = z.number();
  if (details.integer === true) schema = schema.int();
  if (details.minimum !== undefined) schema = schema.min(details.minimum);
  if (details.maximum !== undefined) schema = schema.max(details.maximum);
  return {
    kind: "number",
    schema: schema.optional(),
    ...common(description, details, details.integer === true ? "N" : "X"),
  };
}

/** A whole number of `minimum` or more. */
export const wholeOption = (
  description: string,
  minimum: number,
  details: Omit<NumberDetails, "integer" | "minimum"> = {},
): OptionSpec<number | undefined> =>
  numberOption(description, { ...details, integer: true, minimum });

export function textOption(
  description: string,
  details: Details & { readonly mayBeEmpty?: boolean } = {},
): OptionSpec<string | undefined> {
  const schema = details.mayBeEmpty === true ? z.string() : z.string().min(1);
  return {
    kind: "text",
    schema: schema.optional(),
    ...common(description, details, "TEXT"),
  };
}

/** One text or several: a file, or more of them. */
export function dataOption(
  description: string,
  details: Details = {},
): OptionSpec<string | readonly string[] | undefined> {
  const one = z.string().min(1);
  const schema = z.union([one, z.array(one).min(1)]).transform((value) => {
    const [first, ...others] = typeof value === "string" ? [value] : value;
    return others.length === 0 && first !== undefined ? first : value;
  });
  return { kind: "texts", schema: schema.optional(), ...common(description, details, "FILE") };
}

export function flagOption(
  description: string,
  details: Details = {},
): OptionSpec<boolean | undefined> {
  return { kind: "flag", schema: z.boolean().optional(), ...common(description, details, "") };
}

export function choiceOption<const Choice extends string>(
  description: string,
  choices: readonly Choice[],
  details: Details = {},
): OptionSpec<Choice | undefined> {
  return {
    kind: "choice",
    schema: z.enum(choices as readonly [Choice, ...Choice[]]).optional(),
    choices,
    ...common(description, details, choices.join("|")),
  };
}

/** Settings that stand under one heading of the help text, but for those that have one already. */
export function inGroup<const Table extends OptionTable>(group: string, table: Table): Table {
  const grouped = Object.entries(table).map(([name, spec]) => [
    name,
    spec.group === OPTIONS_GROUP ? { ...spec, group } : spec,
  ]);
  return Object.fromEntries(grouped) as Table;
}

/** `max_steps` as `--max-steps`. */
export function flagName(key: string): string {
  return `--${key.replaceAll("_", "-")}`;
}

/** The canonical key of a spelling: itself, an alias, or with dashes for underscores. */
export function canonicalKey(table: OptionTable, spelling: string): string | undefined {
  const key = spelling.replace(/^--/, "").replaceAll("-", "_");
  if (Object.hasOwn(table, key)) return key;
  return Object.entries(table).find(([, spec]) => spec.aliases.includes(key))?.[0];
}

/** Every spelling a user may type, for suggestions. */
export function spellings(table: OptionTable): string[] {
  return Object.entries(table).flatMap(([key, spec]) => [key, ...spec.aliases]);
}

/** The value that a flag's text stands for. */
export function parseFlagText(key: string, spec: OptionSpec, text: string): unknown {
  switch (spec.kind) {
    case "number": {
      const value = Number(text);
      if (text.trim() === "" || Number.isNaN(value)) {
        throw new OptionError("option.number", `${flagName(key)} takes a number, not "${text}"`);
      }
      return value;
    }
    case "flag":
    case "text":
    case "texts":
    case "choice":
      return text;
  }
}

/** The origin of values that stand behind flags. */
export const COMMAND_LINE = "command line";

/** A setting as its user wrote it: the flag, or the file and its key. */
function place(origin: string, spelling: string): string {
  return origin === COMMAND_LINE ? flagName(spelling) : `${origin}: ${spelling}`;
}

/**
 * The settings of one place under their own names, checked. Throws `OptionError` for an unknown name (with the
 * nearest one, or what `foreign` says of it), one setting under two spellings, or a value out of bounds.
 */
export function checkedLayer<Table extends OptionTable>(
  table: Table,
  { origin, values }: OptionLayer,
  foreign: ForeignNames = {},
): Partial<OptionValues<Table>> {
  const checked: Record<string, unknown> = {};
  const spelled = new Map<string, string>();
  for (const [spelling, value] of Object.entries(values)) {
    if (value === undefined) continue;
    const key = canonicalKey(table, spelling);
    const spec = key === undefined ? undefined : table[key];
    if (key === undefined || spec === undefined) {
      throw new OptionError(
        "option.unknown",
        `${origin}: there is no option "${spelling}".${foreignHint(spelling, foreign) ?? didYouMean(spelling.replaceAll("-", "_"), spellings(table))}`,
      );
    }
    const other = spelled.get(key);
    if (other !== undefined) {
      const names = [other, spelling].map((name) =>
        origin === COMMAND_LINE ? flagName(name) : JSON.stringify(name),
      );
      throw new OptionError(
        "option.twice",
        `${origin}: ${names.join(" and ")} are one setting, given twice`,
        { remedy: "Keep one of them." },
      );
    }
    spelled.set(key, spelling);
    if (value === null) continue;
    checked[key] = checkedValue(spec, value, place(origin, spelling));
  }
  return checked as Partial<OptionValues<Table>>;
}

function checkedValue(spec: OptionSpec, value: unknown, where: string): unknown {
  const parsed = spec.schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const nearest =
    spec.choices === undefined || typeof value !== "string" ? "" : didYouMean(value, spec.choices);
  throw new OptionError(
    "option.value",
    `${where} ${plainProblem(parsed.error.issues[0])}, not ${JSON.stringify(value)}.${nearest}`,
  );
}

/** Merges layers, later ones over earlier ones, each checked as `checkedLayer` does. */
export function resolveOptions<Table extends OptionTable>(
  table: Table,
  layers: readonly OptionLayer[],
  foreign: ForeignNames = {},
): ResolvedOptions<Table> {
  const merged: Record<string, unknown> = {};
  const origins = new Map<string, string>();
  for (const layer of layers) {
    for (const [key, value] of Object.entries(checkedLayer(table, layer, foreign))) {
      merged[key] = value;
      origins.set(key, layer.origin);
    }
  }
  return { values: merged as OptionValues<Table>, origins };
}
