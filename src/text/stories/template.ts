import { TextError } from "../errors.ts";

/**
 * Sentence templates of the story grammar.
 *
 *   {name}          what a variable is bound to
 *   {#weather}      a fresh choice from a word list, every word equally likely
 *   {kin=relative}  a fresh choice that binds a variable
 *   {a #weather}    with the article it takes, a or an
 *   {^he}           with a capital
 *   [near|behind]   one of several phrasings, equally likely; they may hold slots
 */
export type TemplateNode =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "copy"; readonly variable: string; readonly form: Form }
  | {
      readonly kind: "pick";
      readonly list: string;
      readonly variable: string | undefined;
      readonly form: Form;
    }
  | { readonly kind: "choose"; readonly options: readonly (readonly TemplateNode[])[] };

/** How a word appears in its sentence. */
export interface Form {
  readonly article: boolean;
  readonly capital: boolean;
}

const SLOT = /^(\^?)(a )?(?:(#)?(\w+)|(\w+)=(\w+))$/;

function parseSlot(slot: string, template: string): TemplateNode {
  const match = SLOT.exec(slot);
  if (match === null) {
    throw new TextError("text.story.template", `slot {${slot}} is malformed in "${template}"`);
  }
  const [, capital, article, sharp, name, variable, list] = match;
  const form: Form = { capital: capital === "^", article: article !== undefined };
  if (variable !== undefined && list !== undefined) return { kind: "pick", list, variable, form };
  if (sharp !== undefined) return { kind: "pick", list: name ?? "", variable: undefined, form };
  return { kind: "copy", variable: name ?? "", form };
}

/** Reads a template. Throws `TextError` `text.story.template` where brackets or slots are malformed. */
export function parseTemplate(template: string): readonly TemplateNode[] {
  const nodes: TemplateNode[] = [];
  let rest = template;
  while (rest !== "") {
    const text = /^[^[\]{}|]+/.exec(rest)?.[0];
    const slot = /^\{([^{}]*)\}/.exec(rest);
    const choice = /^\[([^[\]]*)\]/.exec(rest);
    if (text !== undefined) {
      nodes.push({ kind: "text", text });
      rest = rest.slice(text.length);
    } else if (slot !== null) {
      nodes.push(parseSlot(slot[1] ?? "", template));
      rest = rest.slice(slot[0].length);
    } else if (choice !== null) {
      nodes.push({ kind: "choose", options: (choice[1] ?? "").split("|").map(parseTemplate) });
      rest = rest.slice(choice[0].length);
    } else {
      throw new TextError("text.story.template", `stray bracket in "${template}"`);
    }
  }
  return nodes;
}

/** "an" before a vowel sound; spelling misleads for words such as unicorn, useful and honest. */
export function articleOf(word: string): "a" | "an" {
  if (/^(hour|honest|heir)/i.test(word)) return "an";
  if (/^(uni(?!n|m)|use|ukulele|eu|ewe|one\b)/i.test(word)) return "a";
  return /^[aeiou]/i.test(word) ? "an" : "a";
}

export function inForm(word: string, form: Form): string {
  const whole = form.article ? `${articleOf(word)} ${word}` : word;
  return form.capital ? whole.charAt(0).toUpperCase() + whole.slice(1) : whole;
}

/** Items of a list written with commas. */
export function items(text: string): readonly string[] {
  return text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}
