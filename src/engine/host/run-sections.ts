import type { LoadedPlan } from "../engine.ts";

/**
 * Runs sections one after the other, as one sequence where the engine can. `onDone` hears the number of each in the
 * list as soon as it and all before it are done.
 */
export async function runSections(
  loaded: LoadedPlan,
  sections: readonly string[],
  onDone: (index: number) => void = () => undefined,
): Promise<void> {
  if (loaded.runSequence !== undefined) {
    await loaded.runSequence(sections, onDone);
    return;
  }
  for (const [index, section] of sections.entries()) {
    await loaded.run(section);
    onDone(index);
  }
}
