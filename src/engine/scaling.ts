/**
 * What is scaled to keep training within the engine's arithmetic: loss and operands, the loss alone, or nothing.
 */
export const SCALINGS = ["auto", "loss", "off"] as const;
export type Scaling = (typeof SCALINGS)[number];
