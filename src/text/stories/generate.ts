import { Random } from "../../util/random.ts";
import { TextError } from "../errors.ts";
import { combinationCount, drawCombination } from "./combinations.ts";
import type { Combination, StorySplit } from "./combinations.ts";
import { ENTITIES, ENTITY_OF, GRAMMAR, valueOf } from "./grammar.ts";
import type { Bindings } from "./grammar.ts";
import { inForm } from "./template.ts";
import type { TemplateNode } from "./template.ts";
import { WORDS } from "./words.ts";

/** A story of the built-in corpus. */
export interface Story {
  readonly text: string;
  readonly name: string;
  readonly wish: string;
  /** The mishap as the table of mishaps spells it. */
  readonly mishap: string;
  /** -ln of the probability with which its split's distribution makes this story. */
  readonly nats: number;
}

/** Which stories are made. */
export interface GenerateOptions {
  readonly seed: number;
  readonly count: number;
  /** Default "train". */
  readonly split?: StorySplit;
}

/** The words of a list. Throws `TextError` `text.story.list` for a name that no list has. */
export function wordsOf(list: string): readonly string[] {
  const words = WORDS[list];
  if (words === undefined || words.length === 0) {
    throw new TextError("text.story.list", `the story grammar has no word list "${list}"`);
  }
  return words;
}

class Writer {
  text = "";
  /** -ln of the probability of the choices made. */
  nats = 0;
  #bindings: Bindings;
  readonly #random: Random;

  constructor(combination: Combination, random: Random) {
    this.#bindings = { ...combination.hero, ...combination.wish, ...combination.mishap };
    this.#random = random;
  }

  write(nodes: readonly TemplateNode[]): void {
    for (const node of nodes) this.#writeNode(node);
  }

  #writeNode(node: TemplateNode): void {
    switch (node.kind) {
      case "text":
        this.text += node.text;
        return;
      case "choose":
        this.write(this.#choose(node.options));
        return;
      case "pick": {
        const word = this.#choose(wordsOf(node.list));
        if (node.variable !== undefined)
          this.#bindings = { ...this.#bindings, [node.variable]: word };
        this.text += inForm(word, node.form);
        return;
      }
      case "copy": {
        const entity = ENTITY_OF[node.variable];
        if (entity !== undefined && this.#bindings[node.variable] === undefined) {
          this.#bindings = { ...this.#bindings, ...this.#choose(ENTITIES[entity]) };
        }
        this.text += inForm(valueOf(node.variable, this.#bindings), node.form);
        return;
      }
    }
  }

  #choose<Value>(options: readonly Value[]): Value {
    const chosen = options[this.#random.below(options.length)];
    if (chosen === undefined)
      throw new TextError("text.story.list", "the story grammar has a choice of nothing");
    this.nats += Math.log(options.length);
    return chosen;
  }
}

/** One story; its combination is drawn from the split. */
export function writeStory(random: Random, split: StorySplit): Story {
  const combination = drawCombination(split, random);
  const writer = new Writer(combination, random);
  writer.write(GRAMMAR);
  return {
    text: writer.text,
    name: combination.hero["name"] ?? "",
    wish: combination.wish["wish"] ?? "",
    mishap: combination.mishap["event"] ?? "",
    nats: writer.nats + Math.log(combinationCount(split)),
  };
}

/**
 * Children's stories of about 120 words, made as they are asked for. The same seed and split give the same stories,
 * however many are taken. Combinations of name, wish and mishap in one split never occur in the other.
 */
export function* generateStories(options: GenerateOptions): Generator<Story> {
  const split = options.split ?? "train";
  const random = new Random(options.seed);
  for (let index = 0; index < options.count; index++) yield writeStory(random, split);
}
