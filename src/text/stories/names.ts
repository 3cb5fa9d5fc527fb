import { items } from "./template.ts";

export const GIRLS = items(
  "Lily, Rosa, Mina, Clara, Nora, Ivy, Daisy, Ruby, Luna, Zoe, Ella, Sadie",
);

export const BOYS = items("Tom, Max, Ben, Leo, Finn, Oscar, Hugo, Noah, Sam, Jack, Henry, Otto");

/** Names of those who help; none of them is a hero's name. */
export const HELPERS = items(`
  Bramble, Clover, Maple, Marigold, Thistle, Honey, Ginger, Pebble, Misty, Rusty, Barley, Cedar, Grumble, Nibbles,
  Whiskers, Pickle`);
