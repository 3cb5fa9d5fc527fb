/** Whether the unit at `index` is the second half of a pair of surrogates. */
export function isLowSurrogate(text: string, index: number): boolean {
  const unit = text.charCodeAt(index);
  return unit >= 0xdc00 && unit <= 0xdfff;
}
