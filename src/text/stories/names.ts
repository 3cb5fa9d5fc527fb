import { items } from "./template.ts";

export const GIRLS = items(`
  Lily, Rosa, Mina, Clara, Nora, Tilly, Hazel, Ivy, Daisy, Poppy, Ruby, Stella, Luna, Willow, Juniper, Maya,
  Zoe, Ella, Ada, Flora, Greta, Hilda, Iris, Jade, Kira, Lena, Mabel, Nina, Olive, Paula, Renata, Sadie,
  Tessa, Uma, Vera, Wanda, Xenia, Yara, Zelda, Abby, Bella, Celia, Dora, Edith, Fiona, Gwen, Hanna, Inga,
  Josie, Katie, Leila, Molly, Nadia, Opal, Pearl, Ramona, Selma, Thea, Ursula, Viola, Winnie, Yasmin, Alma, Bianca,
  Cora, Delia, Elsa, Freya, Gloria, Heidi, Isla, Joan, Kayla, Lucy, Marta, Noemi, Orla, Petra, Rita, Sonia`);

export const BOYS = items(`
  Tom, Max, Ben, Leo, Finn, Oscar, Felix, Hugo, Jasper, Miles, Theo, Noah, Owen, Eli, Sam, Jack,
  Luke, Adam, Boris, Caleb, Daniel, Edgar, Frank, George, Henry, Isaac, Jonas, Karl, Liam, Mateo, Nico, Otto,
  Pablo, Quentin, Ravi, Simon, Toby, Ulrich, Victor, Walter, Xavier, Yuri, Zane, Albert, Bruno, Cyrus, Dexter, Emil,
  Fred, Gavin, Harold, Ivan, Jacob, Kevin, Lewis, Marcus, Nathan, Omar, Peter, Rufus, Stefan, Tariq, Vincent, William,
  Yusuf, Andre, Basil, Colin, Derek, Elmer, Floyd, Gilbert, Hector, Igor, Joel, Kenji, Lars, Milo, Ned, Oliver`);

/** Names of those who help; none of them is a hero's name. */
export const FEMALE_HELPERS = items(`
  Bramble, Clover, Maple, Pansy, Saffron, Marigold, Primrose, Thistle, Sorrel, Nettle, Bluebell, Tansy, Lavender,
  Fern, Myrtle, Honey, Ginger, Cinnamon, Nutmeg, Sage, Amber, Coral, Snowdrop, Whisper, Velvet, Marmalade,
  Biscuit, Dumpling, Dimple, Feather, Pebble, Ripple, Misty, Twinkle, Blossom, Petal, Ribbon, Freckle, Truffle, Lilac`);

export const MALE_HELPERS = items(`
  Bumble, Rusty, Dusty, Thorn, Barley, Rowan, Cedar, Aspen, Flint, Cobble, Boulder, Grumble, Mumble, Fidget,
  Gadget, Nibbles, Whiskers, Scamper, Scruffy, Shaggy, Smoky, Ember, Copper, Pewter, Domino, Pickle, Pumpkin,
  Turnip, Radish, Acorn, Hickory, Chestnut, Walnut, Gruff, Tuft, Bristle, Hobble, Wobble, Waddle, Skipper`);
