import { downloadHubFile } from "../hub/hub-download.ts";
import type { DownloadedFile, DownloadOptions } from "../hub/hub-download.ts";

/** TinyStories (Eldan and Li, 2023), the version written by GPT-4: some 2.2 GB of training and 22 MB of validation text. */
export const TINY_STORIES = {
  dataset: "roneneldan/TinyStories",
  files: ["TinyStoriesV2-GPT4-valid.txt", "TinyStoriesV2-GPT4-train.txt"],
} as const;

/**
 * Fetches TinyStories into a folder, which `openDataset` then takes as it is. The small file comes first, so that a
 * wrong setting shows at once. Throws what `downloadHubFile` throws.
 */
export async function downloadTinyStories(
  folder: string,
  options: DownloadOptions = {},
): Promise<readonly DownloadedFile[]> {
  const files: DownloadedFile[] = [];
  for (const file of TINY_STORIES.files) {
    files.push(await downloadHubFile({ dataset: TINY_STORIES.dataset, file }, folder, options));
  }
  return files;
}
