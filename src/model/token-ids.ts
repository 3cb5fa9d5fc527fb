import * as z from "zod";

const WANTED = "must be one token id, a whole number (-1 or null for none)";

/** One token id of a configuration; -1, as LLaMA's first files have it, is none. */
export const tokenIdSchema = z
  .int({ error: ({ input }) => `${WANTED}, not ${JSON.stringify(input)}` })
  .min(-1, { error: ({ input }) => `${WANTED}, not ${JSON.stringify(input)}` })
  .nullish();

/** One token id or several. */
export const tokenIdsSchema = z.union([tokenIdSchema, z.array(z.int().nonnegative())], {
  error: ({ input }) =>
    `must be a token id or a list of them, whole numbers, not ${JSON.stringify(input)}`,
});

export function givenId(value: number | null | undefined): number | undefined {
  return value === null || value === undefined || value < 0 ? undefined : value;
}

export function givenIds(
  value: number | readonly number[] | null | undefined,
): readonly number[] | undefined {
  if (typeof value === "object") return value ?? undefined;
  const id = givenId(value);
  return id === undefined ? undefined : [id];
}
