import { combinationCount, isHeldOut } from "./combinations.ts";
import type { StorySplit } from "./combinations.ts";
import { wordsOf } from "./generate.ts";
import { ENTITIES, ENTITY_OF, GRAMMAR, valueOf } from "./grammar.ts";
import type { Bindings, Entity } from "./grammar.ts";
import { inForm } from "./template.ts";
import type { Form, TemplateNode } from "./template.ts";

/** What the grammar makes of a text. */
export interface Recognition {
  /** In how many ways the grammar can write this text; 0 for a text outside it. */
  readonly derivationCount: number;
  /** Which split the story belongs to; undefined for a text outside the grammar. */
  readonly split: StorySplit | undefined;
  /** -ln of the text's probability in its split, summed over derivations; Infinity outside the grammar. */
  readonly nats: number;
  /** How many leading characters some derivation can explain: where a wrong text goes wrong. */
  readonly explainedLength: number;
}

/** A word of a list and how it is written in its sentence. */
interface WrittenWord {
  readonly word: string;
  readonly written: string;
}

const writtenWords = new Map<string, ReadonlyMap<string, readonly WrittenWord[]>>();

/** The words of a list by their first two characters, so that only a few are compared with a text. */
function wordsByBeginning(list: string, form: Form): ReadonlyMap<string, readonly WrittenWord[]> {
  const key = `${list} ${form.article} ${form.capital}`;
  let found = writtenWords.get(key);
  if (found === undefined) {
    const grouped = new Map<string, WrittenWord[]>();
    for (const word of wordsOf(list)) {
      const written = inForm(word, form);
      const beginning = written.slice(0, BEGINNING);
      grouped.set(beginning, [...(grouped.get(beginning) ?? []), { word, written }]);
    }
    writtenWords.set(key, (found = grouped));
  }
  return found;
}

/** What makes the combination: its probability is not a product over entities and is added at the end. */
const COMBINED: ReadonlySet<Entity> = new Set<Entity>(["hero", "wish", "mishap"]);

/** No written word is shorter than this. */
const BEGINNING = 2;

/** The rest of a derivation after some nodes. */
type Continue = (position: number, bindings: Bindings, nats: number) => void;

/**
 * Every way in which templates can have written a text from `position` on: `then` hears where each ends, what it
 * bound and what it cost in nats. `known` is bound beforehand; `explained` hears how far characters could be explained.
 */
export function matchTemplates(
  text: string,
  templates: readonly TemplateNode[],
  position: number,
  then: Continue,
  {
    known = {},
    explained = () => undefined,
  }: { readonly known?: Bindings; readonly explained?: (position: number) => void } = {},
): void {
  const matchWord = (word: string, position: number): number | undefined => {
    if (!text.startsWith(word, position)) return undefined;
    explained(position + word.length);
    return position + word.length;
  };

  const match = (
    nodes: readonly TemplateNode[],
    index: number,
    position: number,
    bindings: Bindings,
    nats: number,
    then: Continue,
  ): void => {
    const node = nodes[index];
    if (node === undefined) {
      then(position, bindings, nats);
      return;
    }
    const goOn: Continue = (end, bound, cost) => match(nodes, index + 1, end, bound, cost, then);
    switch (node.kind) {
      case "text": {
        const end = matchWord(node.text, position);
        if (end !== undefined) goOn(end, bindings, nats);
        return;
      }
      case "choose": {
        const cost = nats + Math.log(node.options.length);
        for (const option of node.options) match(option, 0, position, bindings, cost, goOn);
        return;
      }
      case "pick": {
        const cost = nats + Math.log(wordsOf(node.list).length);
        const beginning = text.slice(position, position + BEGINNING);
        for (const { word, written } of wordsByBeginning(node.list, node.form).get(beginning) ??
          []) {
          const end = matchWord(written, position);
          if (end === undefined) continue;
          goOn(
            end,
            node.variable === undefined ? bindings : { ...bindings, [node.variable]: word },
            cost,
          );
        }
        return;
      }
      case "copy": {
        const entity = ENTITY_OF[node.variable];
        if (entity === undefined || bindings[node.variable] !== undefined) {
          const end = matchWord(inForm(valueOf(node.variable, bindings), node.form), position);
          if (end !== undefined) goOn(end, bindings, nats);
          return;
        }
        const cost = COMBINED.has(entity) ? nats : nats + Math.log(ENTITIES[entity].length);
        for (const entry of ENTITIES[entity]) {
          const bound = { ...bindings, ...entry };
          const end = matchWord(inForm(valueOf(node.variable, bound), node.form), position);
          if (end !== undefined) goOn(end, bound, cost);
        }
        return;
      }
    }
  };

  match(templates, 0, position, known, 0, then);
}

/**
 * Reads a text as a story: every way in which the grammar could have written it, with its exact probability.
 * Tells whether a model's sample is a story of the grammar, with names, pronouns and things used consistently.
 */
export function recogniseStory(text: string): Recognition {
  const derivations: { readonly bindings: Bindings; readonly nats: number }[] = [];
  let explainedLength = 0;

  matchTemplates(
    text,
    GRAMMAR,
    0,
    (position, bindings, nats) => {
      if (position === text.length) derivations.push({ bindings, nats });
    },
    {
      explained: (position) => {
        explainedLength = Math.max(explainedLength, position);
      },
    },
  );

  let probability = 0;
  let split: StorySplit | undefined;
  for (const { bindings, nats } of derivations) {
    split = isHeldOut({ hero: bindings, wish: bindings, mishap: bindings })
      ? "validation"
      : "train";
    probability += Math.exp(-nats) / combinationCount(split);
  }
  return {
    derivationCount: derivations.length,
    split,
    nats: -Math.log(probability),
    explainedLength,
  };
}
