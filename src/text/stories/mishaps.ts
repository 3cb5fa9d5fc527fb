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
  soaked {his} socks in a puddle; the socks; dried them over a small stove
  let {his} map blow away; the map; caught it by the corner
  dropped {his} key down a deep hole; the key; dug until it shone in the dirt
  tangled {his} shawl in a hedge; the shawl; freed it one loop at a time
  cracked {his} lamp against a rock; the lamp; mended the glass with sticky sap
  lost the last button of {his} coat; the button; found it under a fallen leaf
  ripped the pocket of {his} jacket; the pocket; stitched it with a bone needle
  bent the wheel of {his} cart; the wheel; hammered it round once more
  dropped {his} coins between two planks; the coins; lifted them out with wax
  caught {his} belt in a rusty gate; the belt; oiled the hinge until it opened
  splashed ink across {his} letter; the letter; copied it onto clean paper
  smashed {his} jar of jam; the jar; swept up every sharp piece
  snapped the string of {his} bow; the string; wound a stronger one
  dropped {his} ring into a well; the ring; lowered a bucket and brought it up
  lost {his} ticket in a crowd; the ticket; spotted it under a cart
  let {his} pony wander off; the pony; followed its tracks to the barn
  tripped over {his} own shoelace; the shoelace; tied it in a double bow
  poked a hole in {his} raincoat; the hole; covered it with a bright patch
  lost the lid of {his} kettle; the lid; carved a new one from oak
  scattered {his} beads everywhere; the beads; threaded them in a neat row
  let {his} bread float downstream; the bread; chased it to the dam
  pulled a thread from {his} sweater; the thread; knitted it back in place
  got {his} wagon stuck in a rut; the wagon; pushed until it rolled free
  spilled {his} tea on a stranger; the tea; offered everyone dry towels
  broke the heel of {his} shoe; the heel; nailed it firmly in place
  let {his} rope slip down a cliff; the rope; climbed after it bravely`;

/** Mishaps by line of the table. */
export const MISHAP_LIST: readonly Mishap[] = MISHAPS.trim()
  .split("\n")
  .map((line) => {
    const [event = "", item = "", fix = ""] = line.split(";").map((part) => part.trim());
    return { event, item, fix };
  });
