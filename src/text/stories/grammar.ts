import { MISHAP_LIST } from "./mishaps.ts";
import { BOYS, GIRLS, HELPERS } from "./names.ts";
import { parseTemplate } from "./template.ts";
import type { TemplateNode } from "./template.ts";
import { WISH_LIST } from "./wishes.ts";
import { PLACES } from "./words.ts";

/** Values of variables, as far as a story has come. */
export type Bindings = Readonly<Record<string, string>>;

/** Things that bind several variables at once; the first three make the combination that is held out or not. */
export type Entity = "hero" | "wish" | "mishap" | "helper" | "place";

export const ENTITIES: Readonly<Record<Entity, readonly Bindings[]>> = {
  hero: [
    ...GIRLS.map((name) => ({ name, he: "she", him: "her", his: "her", child: "girl" })),
    ...BOYS.map((name) => ({ name, he: "he", him: "him", his: "his", child: "boy" })),
  ],
  wish: WISH_LIST.map(({ wish, use }) => ({ wish, use })),
  mishap: MISHAP_LIST.map(({ event, item, fix }) => ({ event, myEvent: event, item, fix })),
  helper: HELPERS.map((helper) => ({ helper })),
  place: PLACES.map((place) => ({ place })),
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
  place: "place",
};

const BEATS = {
  opening: [
    "{#once}, {a #trait} [little|young|small] {child} named {name} lived {#near} the {#placeAdjective} {place} with {his} {#elderAdjective} {kin=relative}.",
    "In {a #homeAdjective} {#home} {#near} the {#placeAdjective} {place} lived {a #trait} {child} called {name} and {his} {#elderAdjective} {kin=relative}.",
    "{#once}, {name} was {a #trait} {child} who lived {#near} the {#placeAdjective} {place} with {his} {#elderAdjective} {kin=relative}.",
    "{#once}, {a #trait} {#cub} named {name} shared {a #home} {#near} the {#placeAdjective} {place} with {his} {#elderAdjective} {kin=relative}.",
    "There once was {a #trait} {child} named {name}, who lived at the {#placeAdjective} {place} with {his} {#elderAdjective} {kin=relative}.",
    "{^a #homeAdjective} {#home} {#near} the {#placeAdjective} {place} belonged to {name}, {a #trait} {#cub}, and {his} {#elderAdjective} {kin=relative}.",
    "This is the story of {name}, {a #trait} {child} whose {#elderAdjective} {kin=relative} kept {a #homeAdjective} {#home} at the {place}.",
    "One {#season}, {a #trait} {#cub} called {name} moved into {a #homeAdjective} {#home} at the {place} with {his} {#elderAdjective} {kin=relative}.",
  ],
  habit: [
    "{name} loved {#collecting} {#things} and eating {#flavor} {#baked}.",
    "Every {#weekday}, {name} baked {#flavor} {#baked} for {#number} {#trait} {#friends}.",
    "On {#weekday} {#daypart}s, {name} enjoyed {#collecting} {#things} with the {#friends}.",
    "{name} often sold {#flavor} {#baked} and spent the {#daypart}s {#collecting} {#things}.",
    "Everybody at the {place} knew {name} for {#collecting} {#wishAdjective} {#things}.",
    "What {name} liked best were {#flavor} {#baked}, {#wishAdjective} {#things} and {#weather} {#daypart}s.",
  ],
  wish: [
    "{name} [always|often|secretly] wanted {a wish}, so that {name} could {use}.",
    "More than {#wishAdjective} {#things}, {name} wanted {a wish}, so that {name} could {use}.",
    '"I wish I had {a wish}," {name} told {his} {kin} {#sayAdverb} one {#weather} {#daypart}.',
    "Each {#weekday}, {name} hoped for {a wish}, because {name} {#longed} to {use}.",
    "What {name} wanted most was {a wish}, for {name} {#longed} to {use}.",
    "At the {place}, {name} once {#sayAdverb} saw {a wish} among the {#things}, and now {name} wanted {a wish} too.",
    "Last {#season}, {name} asked {his} {kin} for {a wish}, since {name} {#longed} to {use}.",
    "Of course {name} owned {#number} {#wishAdjective} {#things}, but {name} still wished for {a wish}.",
  ],
  departure: [
    "One {#weather} {#weekday} {#daypart}, {name} packed some {#flavor} {#baked} and {#setOff} {#sayAdverb} across the {place} to find {a wish}.",
    "One {#weather} {#daypart}, {name} took {a #boxAdjective} {#box} of {#flavor} {#baked} and {#setOff} {#sayAdverb} across the {place} to find {a wish}.",
    "On {a #weather} {#weekday} {#daypart}, {name} wrapped some {#flavor} {#baked} in {a #wishAdjective} cloth and {#setOff} across the {place}.",
    "The next {#weather} {#daypart}, {his} {kin} made some {#flavor} {#baked}, and {name} {#setOff} across the {place} to find {a wish}.",
    "When {a #weather} {#weekday} came, {name} {#sayAdverb} put some {#flavor} {#baked} in {a #boxAdjective} {#box} and {#setOff} across the {place}.",
    "On {a #weather} {#weekday} {#daypart}, {name} {#setOff} across the {place} with {#number} {#flavor} {#countable}, hoping to find {a wish}.",
  ],
  scenery: [
    "The {place} smelled of {#smell}, and {a #birdAdjective} {#bird} {#birdVerb} in {a #tree} tree.",
    "At the {place}, {a #birdAdjective} {#bird} {#birdVerb} among the {#plants}, and {name} smelled {#smell}.",
    "The road to the {place} wound between {#tree} trees and {#plants}, where {a #birdAdjective} {#bird} {#birdVerb}.",
    "At the {place}, {name} picked some {#plants} and waved to {a #birdAdjective} {#bird}.",
    "Under {a #tree} tree at the {place}, {a #birdAdjective} {#bird} {#birdVerb} while {name} smelled the {#plants}.",
    "At the {place}, {name} passed {a #hideAdjective} {#hideout}, {#number} {#tree} trees and {a #birdAdjective} {#bird}.",
  ],
  mishap: [
    "{#alas}, {#by} {a #hideAdjective} {#hideout}, {name} {event}.",
    "{#alas}, at {a #hideAdjective} corner of the {place}, {name} {event}.",
    "{#alas}, {#by} {a #hideAdjective} {#hideout} at the {place}, {name} {event}.",
    "After only {#number} {#distance} at the {place}, {name} {event}.",
    "While {name} was watching {a #birdAdjective} {#bird}, {name} {event}.",
    "Just past {a #hideAdjective} {#hideout} and some {#plants}, {name} {event}.",
    "And {name} was {#sayAdverb} dreaming of the {wish} when {name} {event}.",
    "Then {name} stopped to look at {#number} {#wishAdjective} {#things} and {event}.",
  ],
  feeling: [
    "Now {name} felt {#feeling} and {#cried} {#cryAdverb}.",
    '"Oh [no|dear|my]!" {#wailed} {name}, who felt {#feeling}.',
    "Feeling {#feeling}, {name} sat down on {a #hideAdjective} {#seat} and {#cried}.",
    "Without the {wish}, {name} felt {#feeling} and {#cried} {#cryAdverb}.",
    "Thinking of the {wish}, {name} {#cried} like {a #birdAdjective} {#bird}.",
    "On {a #hideAdjective} {#seat}, {#feeling} and cold, {name} {#cried} {#cryAdverb}.",
  ],
  helper: [
    "{#luckily}, {a #helperAdjective} {#helperKind} named {helper} {#appeared} out from behind {a #hideAdjective} {#hideout}. Now {helper} {#kindAdverb} greeted {name}.",
    "{#luckily}, along came {a #helperAdjective} {#helperKind} named {helper}, [carrying|holding|dragging] {a #boxAdjective} {#box}.",
    "From behind {a #hideAdjective} {#hideout} {#appeared} {a #helperAdjective} {#helperKind} called {helper}. Now {helper} {#kindAdverb} greeted {name}.",
    "{#luckily}, {helper} the {#helperAdjective} {#helperKind} was [resting|working|sitting] {#by} {a #hideAdjective} {#hideout}. Soon {helper} {#kindAdverb} greeted {name}.",
    "{#luckily}, {helper}, {a #helperAdjective} {#helperKind} with {a #boxAdjective} {#box}, [heard|saw] {name}, and {helper} came across the {place}.",
    "{^a #helperAdjective} {#helperKind} called {helper}, who was {#collecting} {#things} {#by} {a #tree} tree, [heard|saw] {name}.",
  ],
  talk: [
    '"Why are you so {#feeling}, {#address}?" {helper} {#askVerb}. "I {myEvent}," {name} told {helper} {#sayAdverb}.',
    '"What happened, {name}?" {helper} {#askVerb} {#kindAdverb}. "I {myEvent}," {name} {#sayVerb} to {helper}.',
    '"Can {helper} help you, {#address}?" {helper} {#askVerb} {#kindAdverb}. "I {myEvent}," {name} told {helper}.',
    '"I wanted {a wish}, but I {myEvent}," {name} told {helper} {#sayAdverb}. "[I see|How awful|Poor thing], {#address}," {helper} {#helperSaid}.',
    '"You look {#feeling}, {name}," {helper} {#helperSaid} {#kindAdverb}. "I {myEvent}," {name} told {helper} {#sayAdverb}.',
  ],
  fix: [
    "{helper} [smiled|nodded|laughed|winked] {#kindAdverb} at {name}. Then {helper} {#kindAdverb} {fix}.",
    "So {helper} took a deep breath, and {helper} {#kindAdverb} {fix}. {name} thanked {helper} {#kindAdverb}.",
    '"Leave {item} to {helper}," {helper} {#helperSaid}. Then {helper} {#kindAdverb} {fix} in {#number} {#moments}.',
    '"Let {helper} help with {item}, {name}," {helper} {#helperSaid}, and {helper} {#kindAdverb} {fix}.',
    "Right there {helper} {#kindAdverb} {fix} while {name} [watched|waited] {#waitAdverb}. {name} thanked {helper}.",
    '"[Take heart|Do not fret|Be calm], {#address}," {helper} {#helperSaid}, and {helper} {#kindAdverb} {fix}.',
  ],
  thanks: [
    "To say thank you, {name} shared the {#treats} with {helper}, and {helper} told {name} about {#things} and {#plants}.",
    "{name} and {helper} ate the {#treats} together {#by} {a #tree} tree and counted {#wishAdjective} {#things}.",
    '"Thank you, {helper}!" said {name} {#kindAdverb} and shared all the {#treats} with {helper}.',
    "For this {helper} asked for {#number} {#plants}, but {name} gave {helper} all the {#treats}.",
  ],
  fulfilment: [
    "{#afterwards}, {helper} {#kindAdverb} opened {a #boxAdjective} {#box} and {#gave} the {wish}, {a #wishAdjective} one. {helper} {#kindAdverb} gave the {wish} to {name}.",
    "As a [reward|surprise|present] for the {#virtue} of {name}, {helper} {#kindAdverb} took the {wish}, {a #wishAdjective} one, from {a #boxAdjective} {#box}. {helper} {#kindAdverb} gave the {wish} to {name}.",
    "{#afterwards}, inside {a #boxAdjective} {#box}, {name} and {helper} found the {wish}, {a #wishAdjective} one, among the {#wishAdjective} {#things}. Now the {wish} belonged to {name}.",
    "On the way home, {name} and {helper} saw {a #boxAdjective} {#box} {#by} {a #tree} tree. Inside lay the {wish}, {a #wishAdjective} one, among {#things}! Now the {wish} belonged to {name}.",
    "{#afterwards}, {helper} {#kindAdverb} led {name} back across the {place}, where {a #helperAdjective} {#helperKind} was giving away the {wish}, {a #wishAdjective} one. {helper} {#kindAdverb} gave the {wish} to {name}.",
    "{#afterwards}, {name} and {helper} traded {a #boxAdjective} {#box} of {#flavor} {#baked} for the {wish}, {a #wishAdjective} one. Now the {wish} belonged to {name}.",
  ],
  home: [
    "{name} {#homeward} {#sayAdverb} home to the {place} with the {wish}, and {helper} {#cheered} {#kindAdverb}.",
    "With the {wish}, {name} could now {use} at the {place}, and {his} {kin} {#cheered} {#kindAdverb}.",
    "When the {#evening} {#eveningVerb}, {name} was home at the {place} with the {wish}, and {helper} {#cheered} {#kindAdverb}.",
    "{name} {#homeward} {#sayAdverb} home to the {place} with the {wish} and with {#virtue} in {his} heart.",
    "{name} {#homeward} home to the {place} with the {wish}, and {his} {kin} {#cheered} {#kindAdverb} until the {#evening} {#eveningVerb}.",
  ],
  moral: [
    "From that {#daypart} on, {name} and {helper} knew that {#virtue} is worth more than {#riches}.",
    "And {helper} taught {name} that {#virtue} is sweeter than {#sweets}.",
    "And {#stranger} and everyone at the {place} agreed that {#virtue} is stronger than {#strongThings}.",
    "With the {wish}, {name} knew that {#virtue} shines brighter than {#brightThings}.",
    "{name} never forgot that even the {#smallest} {#friends} can teach us {#virtue}.",
    "As {helper} told {name}, {a #wordKind} {#deed} can {#mend} any {#heart}.",
    "And so {name} and {helper} stayed friends, for {#virtue} lasts longer than {#riches}.",
  ],
} as const satisfies Readonly<Record<string, readonly string[]>>;

export type Beat = keyof typeof BEATS;

/** The sentences of each beat. */
export const SENTENCES = Object.fromEntries(
  Object.entries(BEATS).map(([beat, sentences]) => [beat, sentences.map(parseTemplate)]),
) as unknown as Readonly<Record<Beat, readonly (readonly TemplateNode[])[]>>;

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
      nodes.push({ kind: "choose", options: SENTENCES[beat] });
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
