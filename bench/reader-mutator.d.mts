export const TEXT_SEEDS: readonly string[];
export function nastyTexts(): string[];
export function deepMessage(depth: number): Buffer;

export class Mutator {
  constructor(random: { below(limit: number): number });
  pick<Item>(items: readonly Item[]): Item;
  text(seeds: readonly string[]): Buffer;
  bytes(seeds: readonly Uint8Array[]): Buffer;
  message(seeds: readonly Uint8Array[]): Buffer;
}
