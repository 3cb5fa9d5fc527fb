/** Collects an option that may be given several times. */
export function append(text: string, before: readonly string[]): readonly string[] {
  return [...before, text];
}
