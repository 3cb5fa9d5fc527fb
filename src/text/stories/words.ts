import { items } from "./template.ts";

/** Where a story happens; one place a story. */
export const PLACES = items(`
    harbor, forest, meadow, orchard, library, market, village, river, lake, canyon, valley,
    desert, beach, bridge, canal, cave, cliff, creek, dam, factory, farm, fountain, garden,
    glacier, grove, gulf, hill, island, jungle, lagoon, marsh, mill, mountain, museum, oasis,
    park, pasture, pier, plain, pond, port, prairie, quarry, railway, reef, ruins, school,
    seaside, shipyard, shore, square, stadium, station, swamp, temple, theater, tunnel, vineyard,
    volcano, waterfall, wharf, windmill, woods, zoo, bazaar, bay, circus, fairground, hospital,
    hotel, kingdom, maze, monastery, observatory, playground, plaza, post office, pyramid,
    town hall, university, arcade, aquarium, ballroom, barnyard, campsite, carnival, cathedral,
    chapel, clearing, coast, courtyard, cornfield, crossroads, dock, dunes, fort, gallery,
    gardens, gorge, greenhouse, hilltop, hollow, junction, lookout, monument, mine, moor,
    outpost, parade, peak, peninsula, pool, racetrack, ranch, ravine, ridge, shop, spring,
    tavern, terrace, thicket, wilderness, workshop`);

/**
 * The word lists of the story grammar. Within a list every word fits every sentence that names the list,
 * and no word is another word with something before or after it in the same place, so a text has one reading.
 */
export const WORDS: Readonly<Record<string, readonly string[]>> = {
  trait: items(`
    brave, clever, curious, gentle, cheerful, kind, shy, quiet, lively, merry, patient, honest,
    polite, playful, thoughtful, busy, bold, bright, calm, careful, caring, creative, daring,
    dreamy, eager, earnest, friendly, funny, generous, giggly, graceful, grateful, happy,
    hardworking, helpful, hopeful, humble, imaginative, jolly, joyful, lonely, lovable, loyal,
    messy, mischievous, modest, nimble, noisy, nosy, peaceful, persistent, plucky, proud, quick,
    reliable, restless, sensible, serious, silly, sleepy, smart, sincere, skillful, spirited,
    steady, stubborn, sweet, talkative, tender, tidy, timid, tireless, trusting, truthful, wise,
    witty, adventurous, ambitious, bashful, carefree, chatty, cautious, confident, courageous,
    easygoing, fearless, forgetful, gleeful, impatient, inventive, lionhearted, observant,
    optimistic, outgoing, practical, punctual, resourceful, rowdy, scrappy, sassy, soft-spoken,
    spunky, studious, stylish, tenacious, upbeat, vivacious, wistful, quirky, headstrong`),
  cub: items(`
    rabbit, fox, bear, otter, badger, mouse, kitten, puppy, duckling, piglet, lamb, pony, monkey, panda,
    koala, squirrel, beaver, raccoon, penguin, elephant, giraffe, zebra, tiger, leopard, camel, donkey, goat,
    kangaroo, lizard, frog, seal, walrus, dolphin, wolf, moose, hamster, ferret, llama, lynx, mole`),
  elderAdjective: items(`
    loving, busy, tired, strict, clever, quiet, cheerful, patient, hardworking, gentle, proud,
    sensible, funny, generous, careful, kindhearted, famous, chatty, stern, wise, thoughtful,
    handy, musical, sleepy, jolly, tall, tiny, graceful, calm, devoted, merry, gifted, fussy,
    nervous, bossy, friendly, dreamy, poetic, sturdy, forgetful, cautious, curious, daring,
    humble, lively, modest, playful, polite, talented`),
  relative: items(`
    mother, father, grandmother, grandfather, aunt, uncle, sister, brother, cousin, parents,
    neighbors, nanny, grandpa, grandma`),
  homeAdjective: items(`
    cozy, crooked, narrow, tiny, wooden, white, yellow, round, snug, sunny, drafty, tall, painted, tidy,
    mossy, humble, rickety, creaky, leafy, thatched, pink, blue, green, red, gray, brown, purple, orange, lopsided,
    charming, cramped, spotless, ancient, modern, hidden, lonely, roomy, peaceful, dusty, grand`),
  home: items(`
    cottage, cabin, farmhouse, hut, house, lighthouse, houseboat, treehouse, mansion, bakery, inn, barn,
    tower, castle, lodge, villa, apartment, bungalow, attic, caravan, chalet, shack, palace, workshop,
    greenhouse, bookshop, toyshop, stable, schoolhouse, boathouse`),
  placeAdjective: items(`
    misty, silver, whispering, winding, golden, muddy, sandy, rocky, shady, windy, frozen,
    hidden, sleepy, sparkling, crowded, empty, enchanted, famous, grassy, hilly, mighty, old,
    peaceful, rainy, royal, sunny, wild, forgotten, gloomy, northern, southern, eastern, western,
    bustling, dusty, lonely, steep, ancient, deep, distant, emerald, foggy, little, lovely,
    mysterious, pretty, quiet, secret, snowy, wide, blooming, bright, calm, cheerful, chilly,
    cold, colorful, crooked, curious, dark, dazzling, echoing, faraway, flowery, fragrant,
    friendly, frosty, giant, glittering, grand, gray, green, haunted, humming, icy, jagged,
    large, leafy, legendary, lively, marble, moonlit, mossy, murky, narrow, noisy, pleasant,
    purple, quaint, remote, rugged, rumbling, scenic, shimmering, silent, smoky, splendid,
    starlit, stony, stormy, swampy, towering, tranquil, twisted, vast, warm, wintry, wooden`),
  collecting: items(`
    collecting, counting, painting, drawing, polishing, sorting, finding, admiring, gathering, studying, trading,
    arranging, sketching, hiding, stacking, naming, balancing, washing, wrapping, borrowing, rolling, inspecting,
    labeling, displaying, decorating, copying, measuring, describing, carrying, juggling`),
  things: items(`
    pebbles, buttons, feathers, shells, acorns, ribbons, marbles, leaves, stamps, coins, bottles,
    corks, keys, beads, pinecones, seeds, twigs, chestnuts, postcards, maps, puzzles, bells,
    spoons, teacups, thimbles, candles, bricks, ropes, nails, hats, gloves, socks, umbrellas,
    barrels, jars, boxes, crates, blankets, pillows, clocks, mirrors, pencils, notebooks,
    lanterns, kettles, plates, bowls, pumpkins, turnips, onions, potatoes, cabbages, eggs,
    snails, beetles, seashells, fossils, crystals, gears, springs, wheels, magnets, tickets,
    badges, medals, masks, puppets, toys, dice, cards, statues, flags, ladders, brooms, shoes,
    boots, scarves, sweaters, quilts, baskets, ants, apples, banners, bracelets, butterflies,
    cactuses, caterpillars, cherries, cupcakes, drums, earrings, envelopes, flowers, flutes,
    goblets, hammers, insects, kites, letters, lockets, mittens, mushrooms, necklaces, needles,
    olives, paintings, peaches, pennies, plums, poems, recipes, riddles, rocks, sandwiches,
    sailboats, signs, sticks, stones, stories, tadpoles, teapots, telescopes, trains, trophies,
    trumpets, vases, violins, walnuts, wagons, windows, saddles, baseballs, bonnets, bolts, pots,
    pans, sleds, paintbrushes, tiles, toothbrushes, zippers`),
  flavor: items(`
    ginger, plum, honey, walnut, apple, pear, cherry, lemon, orange, peach, apricot, blueberry,
    raspberry, strawberry, blackberry, cranberry, coconut, banana, mango, fig, raisin, almond,
    hazelnut, peanut, chestnut, pumpkin, carrot, potato, spinach, onion, mushroom, cheese,
    butter, cream, vanilla, chocolate, caramel, cinnamon, nutmeg, clove, mint, rosemary, thyme,
    saffron, pepper, maple, molasses, oat, barley, rye, rice, corn, wheat, poppyseed, sesame,
    sunflower, pineapple, grape, melon, rhubarb, date, lime, currant, elderberry, gooseberry,
    parsnip, leek, garlic, pistachio, pecan, cashew, toffee, lavender, cardamom, anise, basil,
    sage, turnip, squash`),
  baked: items(`
    cookies, cakes, muffins, pies, tarts, buns, rolls, bread, pudding, pancakes, waffles,
    biscuits, dumplings, crackers, scones, pastries, doughnuts, noodles, sandwiches, wafers,
    fritters, cupcakes, brownies, toast, crumble, pretzels, bagels, loaves, puffs, twists,
    biscotti, cobblers, croissants, dainties, flapjacks, jellies, knots, macaroons, omelets,
    patties, pinwheels, popovers, rings, strudels, tartlets, tortillas, truffles, turnovers, wraps`),
  wishAdjective: items(`
    red, blue, green, yellow, purple, orange, pink, silver, golden, scarlet, crimson, turquoise,
    violet, ivory, copper, bronze, white, black, gray, brown, striped, spotted, dotted,
    checkered, shiny, sturdy, splendid, marvelous, tiny, handsome, bright, brand-new, enormous,
    elegant, magical, sparkling, glittering, gleaming, polished, painted, carved, colorful,
    fancy, fine, glowing, huge, lucky, mighty, perfect, plain, pretty, rare, royal, simple,
    smooth, special, strong, superb, unusual, wonderful, antique, beautiful, clever, cheerful,
    dainty, delicate, dazzling, dreamy, fabulous, fantastic, foreign, gigantic, gorgeous, grand,
    jolly, lovely, miniature, modern, mysterious, patterned, ribboned, feathered, jeweled,
    flowery, lacy, starry, sleek, slender, wide, round, heavy, tidy, quaint, stylish, snow-white,
    sky-blue, rose-colored, cherry-red, apricot, maroon, navy, olive, peach, tan, teal, indigo,
    magenta, coral`),
  weather: items(`
    sunny, rainy, windy, foggy, misty, frosty, cloudy, breezy, chilly, warm, bright, golden,
    gray, quiet, drizzly, stormy, mild, crisp, clear, cool, dewy, balmy, blustery, hazy, icy,
    humid, lazy, peaceful, sleepy, cheerful, blue, damp, dreary, fresh, gentle, glorious, hot,
    lovely, ordinary, pleasant, silent, soft, sparkling, splendid, still, sultry, thundery, wet,
    wild, wintry, autumnal, brilliant, calm, dazzling, dusky, freezing, fragrant, hushed,
    magical, muggy, overcast, rosy, scorching, serene, sleety, sticky, tranquil, unusual`),
  weekday: items(`Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday`),
  daypart: items(`morning, afternoon, evening, night`),
  season: items(`spring, summer, autumn, winter`),
  setOff: items(`
    set off, set out, headed, hurried, started, wandered, marched, trotted, hiked, skipped,
    traveled, strolled, dashed, rode, walked, journeyed, ambled, raced, roamed, tramped`),
  plants: items(`
    daisies, ferns, tulips, roses, lilies, violets, poppies, nettles, thistles, mushrooms, brambles, buttercups,
    dandelions, daffodils, irises, orchids, marigolds, sunflowers, reeds, rushes, vines, weeds, clovers, bluebells,
    foxgloves, snowdrops, primroses, pansies, peonies, lupines, asters, cactuses, mosses, herbs, grasses,
    berries, blossoms, petals, heathers, toadstools`),
  birdAdjective: items(`
    small, plump, tame, speckled, feathery, tired, hungry, bossy, shy, cheeky, bold, glossy, ragged, proud,
    noisy, young, fluffy, skinny, clumsy, sleepy`),
  bird: items(`
    robin, sparrow, crow, blackbird, thrush, wren, finch, starling, lark, nightingale, cuckoo, magpie, pigeon,
    dove, raven, jay, swallow, woodpecker, kingfisher, heron, stork, crane, swan, pelican, seagull, hawk,
    falcon, eagle, parrot, canary, peacock, pheasant, quail, rooster, turkey, warbler, oriole, bluebird,
    hummingbird, puffin`),
  birdVerb: items(`
    sang, whistled, chirped, called, hummed, warbled, twittered, cheeped, squawked, chattered, stared, nodded,
    winked, napped, shivered, preened, waited, danced, hopped, fluttered`),
  tree: items(`
    oak, elm, birch, willow, maple, pine, cedar, ash, beech, poplar, cypress, fir, spruce, larch, chestnut,
    walnut, apple, cherry, pear, plum, olive, palm, fig, hazel, rowan, alder, linden, sycamore, hawthorn, juniper`),
  smell: items(`
    rain, hay, smoke, pine, mint, honey, roses, bread, cinnamon, salt, seaweed, mud, clover, apples, lemons,
    lavender, moss, thunder, coffee, soap, leather, pepper, vanilla, chimneys, bonfires, cedar, ginger, onions,
    sawdust, violets`),
  feeling: items(`
    sad, miserable, upset, gloomy, sorry, unlucky, foolish, lonely, hopeless, worried, ashamed,
    embarrassed, tearful, helpless, heartbroken, discouraged, disappointed, troubled, frightened,
    nervous, unhappy, dismayed, lost, weary, crestfallen, downhearted, sorrowful, wretched,
    anxious, glum, forlorn, blue, startled, shaken, desperate, hurt, tired, downcast, dejected,
    low`),
  cried: items(`
    sobbed, wept, sighed, sniffled, groaned, whimpered, moaned, grumbled, muttered, shivered,
    trembled, sulked, whined, howled, bawled, sniffed`),
  helperAdjective: items(`
    old, plump, wise, friendly, silent, wrinkled, jolly, elderly, stout, bearded, sleepy,
    smiling, limping, giant, tiny, shaggy, skinny, clever, gentle, kindly, cheerful, famous,
    lazy, lonely, muddy, nimble, noble, playful, proud, quick, round, scruffy, slender, sturdy,
    tall, traveling, whistling, young, busy, curious, graceful, sneezing, yawning, humming,
    dancing, singing, retired, forgetful, talkative, patient, chubby, dignified, dapper,
    barefoot, freckled, hungry, gruff, bowlegged, blushing, bashful, fearless, helpful, honest,
    absentminded, adventurous, polite, musical, mysterious, respected, sweet-natured, untidy`),
  helperKind: items(`
    tortoise, owl, hedgehog, goose, porcupine, toad, deer, hare, reindeer, antelope, mule,
    buffalo, gorilla, hippo, rhino, ostrich, flamingo, toucan, cricket, beetle, spider,
    bumblebee, butterfly, dragonfly, grasshopper, ladybug, snail, crab, lobster, octopus, turtle,
    salamander, iguana, alligator, crocodile, sloth, armadillo, anteater, opossum, skunk, weasel,
    chipmunk, gopher, marmot, bison, yak, gnome, giant, fairy, magician, pirate, shepherd,
    miller, baker, tailor, blacksmith, gardener, sailor, farmer, clown, newt, mongoose, meerkat,
    hyena, jaguar, cheetah, bullfrog, seahorse, stork, pelican, parrot, swan, raven, heron, cook,
    painter, poet, acrobat, juggler, carpenter, mail carrier, beekeeper, librarian, dragon,
    unicorn, elf, troll, goblin, mermaid, knight, captain, cowhand, astronaut, inventor,
    watchmaker, weaver, potter, ranger, teacher`),
  appeared: items(`
    hopped, crept, climbed, strolled, tiptoed, wandered, stepped, trotted, shuffled, scurried, hurried, waddled,
    marched, skipped, popped, crawled, jumped, ambled, sneaked, rushed, slipped, bounced, stumbled, leaped, peeked`),
  hideAdjective: items(`
    mossy, hollow, fallen, rotten, wooden, rusty, broken, leafy, thorny, prickly, painted, dusty,
    giant, tall, crooked, old, gray, stone, smooth, slippery, shady, striped, square, red,
    yellow, green, white, narrow, sunny, crumbling, mighty, splintered, twisted, weathered,
    wobbly, round, purple, blue, flowery, frosty, gnarled, hidden, ivy-covered, lopsided, muddy,
    polished, pointed, sandy, silver, thick`),
  hideout: items(`
    stump, boulder, haystack, fence, barrel, bush, wall, gate, log, post, shed, cart, tent, pillar, statue,
    chimney, hedge, tree, well, crate, bench, bridge, arch, stairway, doorway, signpost, lamppost, mailbox, wagon,
    trough, woodpile, beehive, scarecrow, kennel, hut, rowboat, anchor, flagpole, milestone, curtain`),
  askVerb: items(`
    asked, wondered, inquired, whispered, said, murmured, called, questioned`),
  sayVerb: items(`
    said, answered, replied, sniffed, whispered, explained, mumbled, admitted, cried, sighed, confessed, stammered`),
  address: items(`
    little one, my friend, dear child, small traveler, stranger, young one, my dear, sweetheart, neighbor,
    sunshine, darling, wanderer`),
  number: items(`two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, twenty`),
  distance: items(`minutes, seconds, steps, miles, turns, breaths, hours`),
  moments: items(`minutes, moments, seconds`),
  seat: items(`
    stump, boulder, log, bench, bridge, fence, crate, barrel, doorstep, haystack, wall, stool, root, rock, stone,
    box, bucket, wagon, rug, anchor`),
  wailed: items(
    `cried, wailed, sobbed, groaned, sighed, gasped, yelled, moaned, whimpered, shouted`,
  ),
  cryAdverb: items(`
    sadly, softly, loudly, quietly, bitterly, helplessly, miserably, faintly, weakly, wearily, gloomily, glumly`),
  kindAdverb: items(`
    kindly, warmly, gently, calmly, carefully, cheerfully, gladly, patiently, quickly, quietly,
    bravely, happily, slowly, eagerly, promptly, proudly, tenderly, thoughtfully, wisely,
    skillfully, cleverly, silently, neatly, merrily, swiftly, steadily, lovingly, politely,
    playfully, expertly`),
  helperSaid: items(`
    said, laughed, whispered, chuckled, promised, called, offered, murmured, declared, announced,
    exclaimed, suggested, hummed`),
  boxAdjective: items(`
    dusty, wooden, leather, velvet, paper, iron, woven, secret, heavy, patched, battered, locked, square, round,
    silk, canvas, flat, deep, huge, tattered, cardboard, embroidered, faded, knitted, quilted, bulging, tin,
    plaid, straw, linen`),
  box: items(`
    box, bag, sack, trunk, chest, suitcase, crate, drawer, cupboard, basket, pouch, purse, barrel, bundle,
    hamper, cabinet, locker, parcel, carton, wardrobe, case, knapsack, bucket, bin, pocket`),
  gave: items(`pulled out, brought out, took out, lifted out, drew out, produced`),
  cheered: items(`
    cheered, clapped, laughed, smiled, danced, sang, whistled, giggled, applauded, grinned,
    waved, beamed, twirled, shouted, chuckled, celebrated, rejoiced, shouted for joy, leaped,
    jumped, skipped, hummed`),
  homeward: items(
    `ran, skipped, hurried, danced, raced, walked, rushed, galloped, marched, strolled`,
  ),
  evening: items(
    `moon, stars, fireflies, lamps, candles, comets, lights, lanterns, torches, sunset`,
  ),
  eveningVerb: items(`glowed, twinkled, appeared, flickered, shone, sparkled, faded, brightened`),
  virtue: items(`
    kindness, patience, courage, honesty, friendship, gratitude, hope, laughter, trust, sharing,
    wisdom, love, loyalty, generosity, forgiveness, teamwork, helpfulness, bravery, cheerfulness,
    compassion, curiosity, determination, fairness, faith, gentleness, goodness, humility,
    imagination, joy, mercy, modesty, politeness, respect, thoughtfulness, truth, understanding,
    confidence, cooperation, sympathy, harmony, sincerity, tenderness, tolerance, unselfishness,
    cleverness, creativity, dedication, effort, enthusiasm, playfulness`),
  riches: items(`
    gold, silver, diamonds, pearls, rubies, emeralds, crowns, castles, jewels, money, treasure, riches, palaces,
    sapphires, ships, kingdoms, horses, fame, coins, velvet, silk, marble, medals, trophies, luxury`),
  sweets: items(`
    honey, syrup, sugar, candy, nectar, jam, jelly, caramel, toffee, fudge, icing, chocolate, marzipan, molasses,
    lemonade, cake, berries, cherries, pudding, custard`),
  strongThings: items(`
    iron, oak, stone, steel, rope, thunder, lions, chains, storms, hammers, anchors, bears, giants, waves,
    armies, walls, horses, hurricanes, bulls, granite`),
  brightThings: items(`
    candles, stars, lanterns, sunshine, lightning, fireworks, torches, moonlight, diamonds, mirrors, crystal,
    rainbows, bonfires, comets, lamps, copper, flames, daylight, sparks, snow`),
  smallest: items(`
    smallest, shyest, slowest, quietest, youngest, oldest, humblest, weakest, tiniest, poorest, plainest,
    gentlest, clumsiest, loneliest, sleepiest`),
  friends: items(`
    friends, neighbors, strangers, travelers, children, creatures, visitors, villagers, cousins, guests,
    classmates, teachers, sailors, farmers, musicians`),
  heart: items(`heart, day, home, journey, family, village, evening, house, room, friendship`),
  mend: items(`brighten, warm, change, cheer, mend, save`),
  wordKind: items(`
    kind, gentle, honest, brave, warm, cheerful, friendly, patient, simple, loving, thoughtful, hopeful,
    generous, wise, sweet`),
  deed: items(`word, smile, deed, song, gift, hug, letter, promise, laugh, thought`),
  sayAdverb: items(`
    softly, quietly, sadly, slowly, shyly, bravely, politely, calmly, earnestly, faintly, glumly,
    gravely, hastily, honestly, humbly, hoarsely, meekly, mildly, nervously, plainly, quickly,
    seriously, shakily, simply, sleepily, solemnly, tearfully, thoughtfully, timidly, truthfully,
    weakly, wearily, gloomily, bitterly, anxiously, awkwardly, breathlessly, cautiously,
    doubtfully, fearfully, frankly, gruffly, helplessly, hesitantly, hopefully, miserably,
    mournfully, openly, uneasily`),
  waitAdverb: items(`
    quietly, patiently, hopefully, nervously, eagerly, silently, breathlessly, curiously,
    happily, gratefully, anxiously, calmly, closely, politely, shyly, carefully, excitedly,
    restlessly, bravely, thankfully`),
  once: items(`
    Once upon a time, Long ago, Many years ago, Not so long ago, In olden days, Some time ago,
    Years ago, Far away, Far across the sea, Beyond the hills`),
  luckily: items(`
    Just then, Luckily, At that moment, Before long, Soon, Right away, Fortunately, By good luck,
    A moment later, As if by magic, Out of nowhere, At once`),
  alas: items(`
    Then, Suddenly, Alas, Sadly, Unfortunately, Without warning, By mistake, Unluckily,
    By bad luck`),
  afterwards: items(`
    Then, Afterward, A little later, In the end, At last, When that was done, Next, Finally,
    After that`),
  near: items(`
    near, beside, behind, above, below, past, beyond`),
  by: items(`
    near, beside, behind, by, under, below`),
  longed: items(`
    hoped, longed, planned, wanted, meant, wished, yearned`),
  countable: items(`
    cookies, cakes, muffins, pies, tarts, buns, rolls, pancakes, waffles, biscuits, dumplings,
    crackers, scones, pastries, doughnuts, sandwiches, wafers, fritters, cupcakes, brownies,
    pretzels, bagels, tartlets, turnovers, macaroons`),
  stranger: items(`
    the stranger, the newcomer, the helper, the new friend`),
  treats: items(`
    treats, snack, picnic, food, lunch`),
};
