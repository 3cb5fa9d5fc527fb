import { MISHAP_LIST } from "./mishaps.ts";
import { BOYS, GIRLS, HELPERS } from "./names.ts";
import { parseTemplate } from "./template.ts";
import type { TemplateNode } from "./template.ts";
import { WISH_LIST } from "./wishes.ts";

/** Values of variables, as far as a story has come. */
export type Bindings = Readonly<Record<string, string>>;

/** Things that bind several variables at once; the first three make the combination that is held out or not. */
export type Entity = "hero" | "wish" | "mishap" | "helper";

export const ENTITIES: Readonly<Record<Entity, readonly Bindings[]>> = {
  hero: [
    ...GIRLS.map((name) => ({ name, he: "she", him: "her", his: "her", child: "girl" })),
    ...BOYS.map((name) => ({ name, he: "he", him: "him", his: "his", child: "boy" })),
  ],
  wish: WISH_LIST.map(({ wish, use }) => ({ wish, use })),
  mishap: MISHAP_LIST.map(({ event, item, fix }) => ({ event, myEvent: event, item, fix })),
  helper: HELPERS.map((helper) => ({ helper })),
};

/** Which entity binds a variable. */
export const ENTITY_OF: Readonly<Record<string, Entity>> = {
  name: "hero",
  he: "hero",
  him: "hero",
  his: "hero",
  child: "hero",
  wish: "wish",
  use: "wish",
  event: "mishap",
  myEvent: "mishap",
  item: "mishap",
  fix: "mishap",
  helper: "helper",
};

const BEATS = {
  opening: [
    "{#once}, {a #trait} [little|young|small] {child} named {name} lived with {his} {#elderAdjective} {kin=relative} {#near} the {#placeAdjective} {#place}.",
    "In {a #homeAdjective} {#home} {#near} the {#placeAdjective} {#place}, there lived {a #trait} {child} called {name} and {his} {#elderAdjective} {kin=relative}.",
    "{#once}, {name} was {a #trait} {child} who lived {#near} the {#placeAdjective} {#place} with {his} {#elderAdjective} {kin=relative}.",
    "{#once}, {a #trait} {#cub} named {name} shared {a #homeAdjective} {#home} with {his} {#elderAdjective} {kin=relative}.",
    "There once was {a #trait} {child} named {name}, who lived in {a #homeAdjective} {#home} with {his} {#elderAdjective} {kin=relative}.",
    "{^a #homeAdjective} {#home} {#near} the {#placeAdjective} {#place} belonged to {name}, {a #trait} {#cub}, and {his} {#elderAdjective} {kin=relative}.",
    "This is the story of {name}, {a #trait} {child} whose {#elderAdjective} {kin=relative} kept {a #homeAdjective} {#home}.",
    "One {#season}, {a #trait} {#cub} called {name} moved into {a #homeAdjective} {#home} with {his} {#elderAdjective} {kin=relative}.",
  ],
  habit: [
    "{^he} loved {#collecting} {#things} and eating {#flavor} {#baked}.",
    "Every {#weekday}, {he} baked {#flavor} {#baked} for {#number} {#trait} {#friends}.",
    "On {#weekday} {#daypart}s, {he} enjoyed {#collecting} {#things} with the {#friends}.",
    "{^he} often sold {#flavor} {#baked} and spent the {#daypart}s {#collecting} {#things}.",
    "Everybody at the {#place} knew {him} for {#collecting} {#wishAdjective} {#things}.",
    "{^his} favorite things were {#flavor} {#baked}, {#wishAdjective} {#things} and {#weather} {#daypart}s.",
  ],
  wish: [
    "{name} [always|often|secretly] wanted {a wish}, so that {he} could {use}.",
    "More than {#wishAdjective} {#things}, {he} wanted {a wish}, because {he} {#longed} to {use}.",
    '"I wish I had {a wish}," {name} told {his} {kin} {#sayAdverb} one {#weather} {#daypart}.',
    "Each {#weekday}, {he} hoped for {a wish} and imagined how {he} would {use}.",
    "What {name} wanted most was {a wish}. {^he} {#longed} to {use}.",
    "At the {#placeAdjective} {#place}, {he} once saw {a wish} among the {#things}, and now {he} wanted one.",
    "Last {#season}, {he} asked {his} {kin} for {a wish}, since {he} {#longed} to {use}.",
    "{^he} owned {#number} {#wishAdjective} {#things}, but {name} still wished for {a wish}.",
  ],
  departure: [
    "One {#weather} {#weekday} {#daypart}, {he} packed some {#flavor} {#baked} and {#setOff} toward the {#placeAdjective} {#place}.",
    "One {#weather} {#daypart}, {he} took {a #boxAdjective} {#box} of {#flavor} {#baked} and {#setOff} toward the {#placeAdjective} {#place}.",
    "On {a #weather} {#weekday}, {he} wrapped some {#flavor} {#baked} in {a #wishAdjective} cloth and {#setOff} toward the {#place}.",
    "The next {#weather} {#daypart}, {his} {kin} made some {#flavor} {#baked}, and {he} {#setOff} toward the {#placeAdjective} {#place}.",
    "When {a #weather} {#weekday} came, {he} put some {#flavor} {#baked} in {a #boxAdjective} {#box} and {#setOff} toward the {#place}.",
    "On {a #weather} {#weekday} {#daypart}, {he} {#setOff} toward the {#placeAdjective} {#place} with {#number} {#flavor} {#countable}.",
  ],
  scenery: [
    "The air smelled of {#smell}, and {a #birdAdjective} {#bird} {#birdVerb} in {a #tree} tree.",
    "{^a #birdAdjective} {#bird} {#birdVerb} among the {#plants}, and the path smelled of {#smell}.",
    "The road wound between {#tree} trees and {#plants}, where {a #birdAdjective} {#bird} {#birdVerb}.",
    "{^he} picked some {#plants} and waved to {a #birdAdjective} {#bird}.",
    "Under {a #tree} tree, {a #birdAdjective} {#bird} {#birdVerb} while {he} smelled the {#plants}.",
    "{^he} passed {a #hideAdjective} {#hideout}, {#number} {#tree} trees and {a #birdAdjective} {#bird}.",
  ],
  mishap: [
    "{#alas}, {#by} {a #hideAdjective} {#hideout}, {name} {event}.",
    "{#alas}, {he} {event}.",
    "Then something went wrong. {^#by} {a #hideAdjective} {#hideout}, {he} {event}.",
    "After only {#number} {#distance}, {name} {event}.",
    "While {he} was watching {a #birdAdjective} {#bird}, {he} {event}.",
    "Just past {a #hideAdjective} {#hideout} and some {#plants}, {he} {event}.",
    "{^he} was thinking of {#flavor} {#baked} when {he} {event}.",
    "{^he} stopped to look at {#number} {#wishAdjective} {#things} and {event}.",
  ],
  feeling: [
    "{^he} felt {#feeling} and {#cried} {#cryAdverb}.",
    '"Oh [no|dear|my]!" {#wailed} {name}, who felt {#feeling}.',
    "Feeling {#feeling}, {he} sat down on {a #hideAdjective} {#seat} and {#cried}.",
    "{^he} {#cried} {#cryAdverb}, for {he} had never felt so {#feeling}.",
    "{^his} eyes filled with tears, and {he} {#cried} like {a #birdAdjective} {#bird}.",
    "On {a #hideAdjective} {#seat}, {#feeling} and cold, {he} {#cried} {#cryAdverb}.",
  ],
  helper: [
    "{#luckily}, {a #helperAdjective} {#helperKind} named {helper} {#appeared} out from behind {a #hideAdjective} {#hideout}.",
    "{#luckily}, along came {a #helperAdjective} {#helperKind} named {helper}, [carrying|holding|dragging] {a #boxAdjective} {#box}.",
    "From behind {a #hideAdjective} {#hideout} {#appeared} {a #helperAdjective} {#helperKind} called {helper}.",
    "{#luckily}, {helper} the {#helperAdjective} {#helperKind} was [resting|working|sitting] {#by} {a #hideAdjective} {#hideout}.",
    "{#luckily}, {helper}, {a #helperAdjective} {#helperKind} with {a #boxAdjective} {#box}, [heard|saw] {him} and came closer.",
    "{^a #helperAdjective} {#helperKind} called {helper}, who was {#collecting} {#things} {#by} {a #tree} tree, [heard|saw] {him}.",
  ],
  talk: [
    '"Why are you so {#feeling}, {#address}?" {#askVerb} {#stranger}. "I {myEvent}," {#sayVerb} {name}.',
    '"What happened, {#address}?" {#askVerb} {helper}. "I {myEvent}," {he} {#sayVerb} {#sayAdverb}.',
    '"Can I help you, {#address}?" {#askVerb} {#stranger} {#kindAdverb}. "I {myEvent}," {he} {#sayVerb}.',
    '"I {myEvent}," {he} {#sayVerb} {#sayAdverb}. "[I see|How awful|Poor thing], {#address}," {#helperSaid} {helper}.',
    '"You look {#feeling}," {#helperSaid} {#stranger} {#kindAdverb}. "I {myEvent}," {#sayVerb} {name}.',
  ],
  fix: [
    "{helper} [smiled|nodded|laughed|winked] {#kindAdverb} and {fix}.",
    "{^#stranger} took a deep breath and {#kindAdverb} {fix}.",
    '"Leave {item} to me," {#helperSaid} {#stranger}, who {fix} in {#number} {#moments}.',
    '"I can help with {item}," {#helperSaid} {helper}, and {#kindAdverb} {fix}.',
    "{^#stranger} {#kindAdverb} {fix} while {he} [watched|waited] {#waitAdverb}.",
    '"[Take heart|Do not fret|Be calm], {#address}," {#helperSaid} {#stranger}, who {#kindAdverb} {fix}.',
  ],
  thanks: [
    "To say thank you, {he} shared the {#treats}, and they talked about {#things} and {#plants}.",
    "They ate the {#treats} together {#by} {a #tree} tree and counted {#wishAdjective} {#things}.",
    '"Thank you, {helper}!" said {name} {#kindAdverb}, sharing all the {#treats}.',
    "{^#stranger} asked for {#number} {#plants}, but {he} gave away all the {#treats}.",
  ],
  fulfilment: [
    '{#afterwards}, {#stranger} opened {a #boxAdjective} {#box} and {#gave} {a #wishAdjective} {wish}. "[Take it|Keep it], {#address}!"',
    "As a [reward|surprise|present] for {his} {#virtue}, {#stranger} gave {him} {a #wishAdjective} {wish} from {a #boxAdjective} {#box}.",
    "{#afterwards}, inside {a #boxAdjective} {#box}, they found {a #wishAdjective} {wish} among the {#things}.",
    "On the way home, {he} saw {a #boxAdjective} {#box} {#by} {a #tree} tree. Inside lay {a #wishAdjective} {wish}!",
    "{#afterwards}, {helper} led {him} to the {#placeAdjective} {#place}, where {a #helperAdjective} {#helperKind} was giving away {a #wishAdjective} {wish}.",
    "{#afterwards}, {name} traded {a #boxAdjective} {#box} of {#flavor} {#baked} for {a #wishAdjective} {wish}.",
  ],
  home: [
    "{^he} {#homeward} home past the {#placeAdjective} {#place}, and everyone {#cheered}.",
    "From then on, {he} could {use}, and {his} {kin} {#cheered}.",
    "When the {#evening} {#eveningVerb}, {he} was home with the {wish}, and everybody {#cheered}.",
    "{^he} {#homeward} home past the {#placeAdjective} {#place} with {#virtue} in {his} heart.",
    "{name} {#homeward} home, and {his} {kin} {#cheered} until the {#evening} {#eveningVerb}.",
  ],
  moral: [
    "From that {#daypart} on, {he} knew that {#virtue} is worth more than {#riches}.",
    "{^he} had learned that {#virtue} is sweeter than {#sweets}.",
    "And everyone agreed that {#virtue} is stronger than {#strongThings}.",
    "After all, {#virtue} shines brighter than {#brightThings}.",
    "{name} never forgot that even the {#smallest} {#friends} can teach us {#virtue}.",
    "{^a #wordKind} {#deed} can {#mend} any {#heart}.",
    "And so {name} and {helper} stayed friends, for {#virtue} lasts longer than {#riches}.",
  ],
} as const satisfies Readonly<Record<string, readonly string[]>>;

type Beat = keyof typeof BEATS;

/** A story's paragraphs as beats. Every plan tells the wish, the mishap, its mending and the moral. */
const PLANS: readonly (readonly (readonly Beat[])[])[] = [
  [
    ["opening", "wish"],
    ["departure", "mishap"],
    ["helper", "fix"],
    ["fulfilment", "home", "moral"],
  ],
  [
    ["opening", "wish"],
    ["departure", "scenery", "mishap"],
    ["helper", "fix"],
    ["fulfilment", "moral"],
  ],
  [
    ["opening", "habit", "wish"],
    ["departure", "mishap"],
    ["helper", "fix"],
    ["fulfilment", "home"],
  ],
  [
    ["opening", "wish"],
    ["departure", "mishap", "feeling"],
    ["helper", "fix"],
    ["fulfilment", "moral"],
  ],
  [
    ["opening", "wish"],
    ["departure", "mishap"],
    ["helper", "talk", "fix"],
    ["fulfilment", "home"],
  ],
  [
    ["opening", "wish"],
    ["departure", "mishap"],
    ["helper", "fix", "thanks"],
    ["fulfilment", "moral"],
  ],
  [
    ["opening", "habit", "wish"],
    ["departure", "scenery", "mishap"],
    ["helper", "fix"],
    ["fulfilment", "moral"],
  ],
  [
    ["opening", "wish"],
    ["departure", "mishap", "feeling"],
    ["helper", "talk", "fix"],
    ["fulfilment"],
  ],
];

function planNodes(plan: readonly (readonly Beat[])[]): readonly TemplateNode[] {
  const nodes: TemplateNode[] = [];
  for (const paragraph of plan) {
    for (const [index, beat] of paragraph.entries()) {
      if (nodes.length > 0) nodes.push({ kind: "text", text: index === 0 ? "\n\n" : " " });
      nodes.push({ kind: "choose", options: BEATS[beat].map(parseTemplate) });
    }
  }
  return nodes;
}

/** The whole grammar: a choice among plans, each a chain of choices among sentences. */
export const GRAMMAR: readonly TemplateNode[] = [{ kind: "choose", options: PLANS.map(planNodes) }];

/** The value of a variable in its story; events are told by or about the hero. */
export function valueOf(variable: string, bindings: Bindings): string {
  const value = bindings[variable] ?? "";
  if (variable === "event") return value.replaceAll("{his}", bindings["his"] ?? "");
  return variable === "myEvent" ? value.replaceAll("{his}", "my") : value;
}
