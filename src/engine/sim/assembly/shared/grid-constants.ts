// What the parts of the product kernel agree on.

/** 1.5 * 2^23: adding it to |p| < 2^22 leaves rint(p) in the low bits, ties to even. */
export const MAGIC: f32 = 12582912.0;
export const MAGIC_BITS: i32 = 0x4b400000;
/** Products of magnitudes below this become 0: 1.5 * 2^-16, one and a half units of the grid. */
export const LEAST: f32 = 0.00002288818359375;
/** Steps of the depth that have a bound of their own. */
export const BLOCK: u32 = 64;
