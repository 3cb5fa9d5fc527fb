import { createHash } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { END_OF_TEXT, generateStories } from "../../text/index.ts";
import type { StorySplit } from "../../text/index.ts";
import { writeFileAtomically, writeWholeFile } from "../../util/atomic-file.ts";

/** Enough stories that a run of the storyteller preset sees no story twice. */
export const DEFAULT_STORY_COUNT = 24_000;
const VALIDATION_STORY_COUNT = 300;
const SEEDS: Readonly<Record<StorySplit, number>> = { train: 1, validation: 2 };

interface StoryCorpusOptions {
  readonly storyCount: number | undefined;
  /** A run goes on: the stories it began with stay, even where the grammar has changed since. */
  readonly keep: boolean;
  readonly report: (text: string) => void;
}

/**
 * Writes the built-in corpus into `<folder>/stories` as train.txt and validation.txt, unless it stands there
 * already, and returns that folder. The validation stories combine names, wishes and mishaps as no training
 * story does.
 */
export function writeStoryCorpus(
  folder: string,
  { storyCount, keep, report }: StoryCorpusOptions,
): string {
  const count = storyCount ?? DEFAULT_STORY_COUNT;
  const kept = keep ? corporaIn(folder, count) : [];
  if (kept.length === 1 && kept[0] !== undefined) return kept[0];
  const target = join(folder, `stories-${count}-${grammarKey()}`);
  if (existsSync(join(target, "complete"))) return target;
  writeSplit(join(target, "train.txt"), "train", count, report);
  writeSplit(join(target, "validation.txt"), "validation", VALIDATION_STORY_COUNT, report);
  writeWholeFile(join(target, "complete"), "");
  return target;
}

/** Whole corpora of that many stories, whatever grammar wrote them. */
function corporaIn(folder: string, count: number): readonly string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.startsWith(`stories-${count}-`))
    .map((name) => join(folder, name))
    .filter((path) => existsSync(join(path, "complete")));
}

/** Changes with the grammar, so that a folder of older stories is not taken for these. */
function grammarKey(): string {
  const hash = createHash("sha256");
  for (const { text } of generateStories({ seed: 1, count: 20 })) hash.update(text);
  return hash.digest("hex").slice(0, 8);
}

function writeSplit(
  path: string,
  split: StorySplit,
  count: number,
  report: (text: string) => void,
): void {
  writeFileAtomically(path, (write) => {
    let written = 0;
    for (const { text } of generateStories({ seed: SEEDS[split], count, split })) {
      write(Buffer.from(`${text}\n${END_OF_TEXT}\n`));
      if (++written % 500 === 0) report(`writing stories: ${written} of ${count}`);
    }
  });
}
