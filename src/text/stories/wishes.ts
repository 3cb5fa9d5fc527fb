/** What a hero may wish for, and what one does with it: `to ...`. */
export interface Wish {
  readonly wish: string;
  readonly use: string;
}

/** Object: use. Every object goes with every wish adjective. */
const WISHES = `
  kite: fly it over the hills
  drum: beat it in the parade
  flute: play it for the birds
  lantern: light the dark stairs
  sailboat: sail it across the pond
  wagon: pull it down the lane
  scarf: wear it on cold walks
  telescope: look at the moon
  compass: find the way north
  trumpet: wake the whole street
  violin: play it by the fire
  guitar: strum it after supper
  harp: pluck it at bedtime
  accordion: squeeze it at weddings
  whistle: call the ducks home
  bell: ring it at noon
  umbrella: walk in the rain
  hat: tip it to the neighbors
  cape: swirl it like a hero
  crown: wear it at breakfast
  tent: sleep under the stars
  hammock: swing in the shade
  ladder: reach the highest shelf
  bicycle: ride it to school
  scooter: race the milkman
  sled: slide down the steep hill
  raft: drift along the river
  canoe: paddle to the island
  rocket: send it past the clouds
  balloon: hold it at the fair
  puppet: make it dance and bow
  dollhouse: fill it with tiny chairs
  teapot: pour tea for guests
  mirror: catch the sunlight
  clock: hear it tick all night
  camera: take pictures of the sea
  globe: point at faraway lands
  map: hang it on the wall
  journal: write in it every day
  paintbrush: paint the kitchen door
  easel: paint the old bridge
  crayon: draw a hundred ships
  puzzle: solve it on stormy nights
  chessboard: beat the mayor at chess
  top: spin it on the floor
  yo-yo: learn seven new tricks
  hoop: roll it around the square
  ball: bounce it against the barn
  swing: fly up to the branches
  seesaw: rise and fall with a friend
  rope: jump a thousand times
  basket: carry home the eggs
  bucket: build castles of sand
  shovel: dig for buried gold
  wheelbarrow: haul the harvest
  rake: gather the autumn leaves
  hammer: build a shelf
  toolbox: mend every toy in town
  sewing kit: patch the curtains
  quilt: sleep snug all winter
  pillow: rest after long days
  slipper: dance on the carpet
  necklace: wear it to the ball
  bracelet: show it to the cousins
  brooch: pin it on a collar
  pocketknife: carve a little bear
  magnet: pick up lost pins
  microscope: study the legs of ants
  notebook: list all the clouds
  inkwell: write letters to the queen
  typewriter: type funny poems
  music box: hear it tinkle at dawn
  radio: listen to the news at sea
  tambourine: shake it by the bonfire
  banjo: play it on the porch
  xylophone: tap out a tune
  piano: learn a slow waltz
  marble: win every game
  toy train: run it under the table
  robot: teach it to sweep
  windmill: watch it turn and turn
  birdhouse: shelter the sparrows
  beehive: taste fresh honey
  fishbowl: keep a goldfish
  flowerpot: grow a sunflower
  watering can: water the roses
  cookbook: bake something new
  cupcake stand: open a small shop
  lunchbox: eat in the treetops
  backpack: climb the tallest peak
  snow globe: shake up a storm
  candle: read late at night
  rocking horse: gallop all afternoon
  parrot cage: welcome a talking parrot
  treasure chest: lock away secrets
  magnifying glass: follow tiny tracks`;

/** Wishes by line of the table. */
export const WISH_LIST: readonly Wish[] = WISHES.trim()
  .split("\n")
  .map((line) => {
    const [wish = "", use = ""] = line.split(":").map((part) => part.trim());
    return { wish, use };
  });
