/** Whether all constants stand in one file, as every source has it, or each in a file of its own. */
export const WEIGHT_FILE_WAYS = ["one", "each"] as const;
export type WeightFileWay = (typeof WEIGHT_FILE_WAYS)[number];
