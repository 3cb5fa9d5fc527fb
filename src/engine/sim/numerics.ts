/** `exact` is the engine's grid, bit for bit; `fp16` sums in fp32 and rounds once. */
export const NUMERICS = ["exact", "fp16"] as const;
export type Numerics = (typeof NUMERICS)[number];
