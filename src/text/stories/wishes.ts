/** What a hero may wish for, and what one does with it: `to ...`. */
export interface Wish {
  readonly wish: string;
  readonly use: string;
}

/** Object: use. Every object goes with every adjective of the list. */
const WISHES = `
  kite: fly it over the hills
  drum: beat it in the parade
  flute: play it for the birds
  lantern: light the dark stairs
  sailboat: sail it across the pond
  wheelbarrow: push it down the lane
  scarf: wear it on cold walks
  telescope: look at the moon
  trumpet: wake the whole street
  violin: play it by the fire
  guitar: strum it after supper
  whistle: call the ducks home
  bell: ring it at noon
  umbrella: walk in the rain
  crown: wear it at breakfast
  hammock: nap in the shade
  bicycle: ride it to school
  sled: slide down the steep hill
  balloon: hold it at the fair
  teapot: pour tea for guests
  mirror: catch the sunlight
  clock: hear it tick all night
  camera: take pictures of the sea
  paintbrush: paint the kitchen door
  ball: bounce it against the barn
  swing: fly up to the branches
  pail: carry home the eggs
  quilt: sleep snug all winter
  necklace: wear it to the dance
  radio: listen to the news at sea
  piano: learn a slow waltz
  robot: teach it to sweep
  birdhouse: shelter the sparrows
  backpack: climb the tallest peak`;

/** Wishes by line of the table. */
export const WISH_LIST: readonly Wish[] = WISHES.trim()
  .split("\n")
  .map((line) => {
    const [wish = "", use = ""] = line.split(":").map((part) => part.trim());
    return { wish, use };
  });
