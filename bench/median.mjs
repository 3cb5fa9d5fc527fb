/** The middle number, of an even count the upper one of the two; nothing of none. */
export const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];
