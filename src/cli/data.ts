import { formatBytes, formatDuration } from "../util/format.ts";
import { join } from "node:path";
import type { Command } from "commander";
import { END_OF_TEXT, downloadTinyStories, generateStories } from "../text/index.ts";
import type { DownloadProgress, StorySplit } from "../text/index.ts";
import { writeFileAtomically } from "../util/atomic-file.ts";
import type { Exit } from "./exit.ts";
import { register as registerCheck } from "./data-check.ts";
import { STOP_SIGNALS } from "./interruptions.ts";
import { EXIT_CODES } from "./errors.ts";
import { wholeNumber } from "./options.ts";
import { StatusLine, answer } from "./terminal.ts";
import type { DownloadedFile } from "../hub/hub-download.ts";

interface StoriesFlags {
  readonly count: string;
  readonly validation: string;
  readonly seed: string;
  readonly output: string;
  readonly json?: boolean;
}

interface TinyStoriesFlags {
  readonly output: string;
  readonly json?: boolean;
}

/** Stories of one call; more than this would take days and a disk. */
const COUNT_LIMIT = 100_000_000;

export function register(program: Command, exit: Exit): void {
  const data = program.command("data");
  registerCheck(data, exit);
  data
    .command("stories")
    .description("write the built-in children's stories: train.txt and validation.txt")
    .requiredOption("--output <dir>", "folder to write into")
    .option("--count <n>", "stories to train on", "24000")
    .option(
      "--validation <n>",
      "stories held out, of names and events that training never joins",
      "300",
    )
    .option("--seed <n>", "other stories with another seed", "1")
    .option("--json", "one JSON object")
    .addHelpText("after", "\nExample:\n  anecdote data stories --count 50000 --output stories")
    .action((flags: StoriesFlags) => writeStories(flags));
  data
    .command("tinystories")
    .description("fetch TinyStories from the Hugging Face Hub (2.2 GB); continues where it stopped")
    .requiredOption("--output <dir>", "folder to write into")
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      `
HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are obeyed, and the Hub's shared cache is used.

Example:
  anecdote data tinystories --output tinystories`,
    )
    .action(async (flags: TinyStoriesFlags) => {
      exit(await fetchTinyStories(flags));
    });
}

interface Written {
  readonly path: string;
  readonly stories: number;
  readonly bytes: number;
}

function writeStories(flags: StoriesFlags): void {
  const seed = wholeNumber("--seed", flags.seed, 0, Number.MAX_SAFE_INTEGER);
  const counts: Readonly<Record<StorySplit, number>> = {
    train: wholeNumber("--count", flags.count, 1, COUNT_LIMIT),
    validation: wholeNumber("--validation", flags.validation, 1, COUNT_LIMIT),
  };
  const status = new StatusLine();
  const files = (["train", "validation"] as const).map((split) =>
    // The seed of the held-out stories differs, so that the two files share no draw.
    writeSplit(
      join(flags.output, `${split}.txt`),
      split,
      counts[split],
      2 * seed - (split === "train" ? 1 : 0),
      status,
    ),
  );
  status.clear();
  const line = ({ path, stories, bytes }: Written): string =>
    `${path}: ${stories} stories, ${formatBytes(bytes)}\n`;
  answer(flags, { files }, () => files.map(line).join(""));
}

function writeSplit(
  path: string,
  split: StorySplit,
  count: number,
  seed: number,
  status: StatusLine,
): Written {
  let written = 0;
  let bytes = 0;
  writeFileAtomically(path, (write) => {
    for (const { text } of generateStories({ seed: Math.max(0, seed), count, split })) {
      const chunk = Buffer.from(`${text}\n${END_OF_TEXT}\n`);
      write(chunk);
      bytes += chunk.byteLength;
      if (++written % 500 === 0) status.show(`${path}: ${written} of ${count} stories`);
    }
  });
  return { path, stories: written, bytes };
}

async function fetchTinyStories(flags: TinyStoriesFlags): Promise<number> {
  const abort = new AbortController();
  const onInterrupt = (): void => abort.abort();
  for (const signal of STOP_SIGNALS) process.once(signal, onInterrupt);
  const status = new StatusLine();
  try {
    const files = await downloadTinyStories(flags.output, {
      signal: abort.signal,
      onProgress: progressOn(status),
    });
    status.clear();
    const line = ({ path, byteLength, origin }: DownloadedFile): string =>
      `${path}: ${formatBytes(byteLength)} (${origin})\n`;
    answer(flags, { files }, () => files.map(line).join(""));
    return EXIT_CODES.ok;
  } catch (error) {
    status.clear();
    if (!abort.signal.aborted) throw error;
    process.stderr.write("stopped; run the same command again to continue\n");
    return EXIT_CODES.interrupted;
  } finally {
    for (const signal of STOP_SIGNALS) process.off(signal, onInterrupt);
  }
}

/** One line: how much of a file is there, how fast it comes and how long it will take. */
function progressOn(status: StatusLine): (progress: DownloadProgress) => void {
  let current = "";
  let startedMs = 0;
  let startBytes = 0;
  return ({ file, byteCount, byteTotal }) => {
    if (file !== current) {
      current = file;
      startedMs = Date.now();
      startBytes = byteCount;
    }
    const seconds = (Date.now() - startedMs) / 1000;
    const rate = seconds > 0 ? (byteCount - startBytes) / seconds : 0;
    const left = rate > 0 ? `, ${formatDuration((byteTotal - byteCount) / rate)} left` : "";
    const share = byteTotal > 0 ? Math.floor((100 * byteCount) / byteTotal) : 0;
    status.show(`${file}: ${share} % of ${formatBytes(byteTotal)}, ${formatBytes(rate)}/s${left}`);
  };
}
