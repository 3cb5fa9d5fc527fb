/** What goes wrong on the way; `{his}` stands for the hero's possessive. */
export interface Mishap {
  /** After the hero's name: "dropped {his} basket into the stream". */
  readonly event: string;
  /** What suffered. */
  readonly item: string;
  /** After the helper's name: how it was put right. */
  readonly fix: string;
}

/** Event; item; fix. Nothing in a line depends on weather, place, wish or who the hero is. */
const MISHAPS = `
  dropped {his} basket into the stream; the basket; fished it out with a long branch
  lost {his} left boot in the mud; the boot; pulled it free with a loud pop
  tore {his} sleeve on a thorn; the sleeve; sewed it up with green thread
  spilled {his} milk on the path; the milk; filled the bottle again at a farm
  broke the strap of {his} satchel; the strap; tied it with a sailor's knot
  got {his} hat stuck in a tall tree; the hat; climbed up and tossed it down
  forgot {his} mittens on the ferry; the mittens; rowed out to bring them back
  soaked {his} socks in a puddle; the socks; dried them over a small stove
  let {his} map blow away; the map; caught it by the corner
  dropped {his} key down a deep hole; the key; dug until it shone in the dirt
  stepped on {his} spectacles; the spectacles; bent the frame straight again
  tangled {his} shawl in a hedge; the shawl; freed it one loop at a time
  cracked {his} lamp against a rock; the lamp; mended the glass with sticky sap
  knocked {his} lunch into a ditch; the lunch; cooked a pot of hot stew
  lost the last button of {his} coat; the button; found it under a fallen leaf
  ripped the pocket of {his} jacket; the pocket; stitched it with a bone needle
  bent the wheel of {his} cart; the wheel; hammered it round once more
  dropped {his} coins between two planks; the coins; lifted them out with wax
  caught {his} belt in a rusty gate; the belt; oiled the hinge until it opened
  splashed ink across {his} letter; the letter; copied it onto clean paper
  smashed {his} jar of jam; the jar; swept up every sharp piece
  lost a wheel from {his} skate; the wheel; screwed it back on tightly
  burned {his} porridge to a crust; the porridge; stirred a fresh pot with cream
  snapped the string of {his} bow; the string; wound a stronger one
  got {his} collar covered in honey; the collar; washed it in warm soapsuds
  left {his} satin ribbon on a bus; the ribbon; whistled for the driver to stop
  let {his} hen run into the reeds; the hen; lured her out with corn
  dropped {his} ring into a well; the ring; lowered a bucket and brought it up
  broke the handle of {his} cup; the handle; glued it on with resin
  sat down on {his} birthday cake; the cake; frosted it again with sugar
  lost {his} ticket in a crowd; the ticket; spotted it under a cart
  shut {his} thumb in a drawer; the thumb; wrapped it in a soft bandage
  bumped {his} knee on a bench; the knee; rubbed it with cool ointment
  woke a swarm inside {his} barrel; the swarm; hummed until it flew off
  spilled flour over {his} apron; the apron; shook it clean in the wind
  dropped {his} egg on the doorstep; the egg; fetched another from the coop
  let {his} pony wander off; the pony; followed its tracks to the barn
  tripped over {his} own shoelace; the shoelace; tied it in a double bow
  poked a hole in {his} raincoat; the hole; covered it with a bright patch
  lost the lid of {his} kettle; the lid; carved a new one from oak
  scattered {his} beads everywhere; the beads; threaded them in a neat row
  broke the tooth of {his} comb; the comb; filed it smooth on a stone
  dropped {his} paint on the rug; the rug; scrubbed it with vinegar
  let {his} bread float downstream; the bread; chased it to the dam
  squashed {his} tomatoes flat; the tomatoes; turned them into sauce
  pulled a thread from {his} sweater; the thread; knitted it back in place
  lost {his} shadow puppet in the dark; the puppet; held up a torch and found it
  got {his} wagon stuck in a rut; the wagon; pushed until it rolled free
  dropped {his} brush behind a wardrobe; the brush; reached it with a bent hanger
  broke {his} chalk into crumbs; the chalk; pressed it into a new stick
  spilled {his} tea on a stranger; the tea; offered everyone dry towels
  lost {his} place in the queue; the queue; asked the crowd to make room
  bent {his} fork in half; the fork; warmed it and made it straight
  let {his} goat eat the tickets; the goat; bought some more at the window
  dropped {his} flag in the gutter; the flag; ironed it until it looked new
  jammed the lock of {his} trunk; the lock; opened it with a hairpin
  chipped the edge of {his} plate; the plate; painted a vine over the chip
  lost {his} sponge among the rocks; the sponge; waited until the tide returned it
  snagged {his} fishing line on a log; the line; dived down and loosened it
  blew {his} candles out by mistake; the candles; lit them with one match
  broke the heel of {his} shoe; the heel; nailed it firmly in place
  mixed salt into {his} lemonade; the lemonade; squeezed a dozen new lemons
  let {his} rope slip down a cliff; the rope; climbed after it bravely
  tipped {his} bowl of soup over; the soup; ladled out a second helping`;

/** Mishaps by line of the table. */
export const MISHAP_LIST: readonly Mishap[] = MISHAPS.trim()
  .split("\n")
  .map((line) => {
    const [event = "", item = "", fix = ""] = line.split(";").map((part) => part.trim());
    return { event, item, fix };
  });
