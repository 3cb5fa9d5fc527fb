import type { Dataset } from "./dataset.ts";
import type { DocumentFrame } from "./document-frame.ts";

/** What a user should know of data that were tokenized: a sentence each. */
export function dataNotes(
  { files }: Pick<Dataset, "files">,
  frame: DocumentFrame,
): readonly string[] {
  const notes: string[] = [];
  const unknownCount = files.reduce((sum, file) => sum + file.unknownCount, 0);
  if (unknownCount > 0) {
    notes.push(`${unknownCount} characters of the data are not in the tokenizer's vocabulary`);
  }
  const documentCount = files.reduce((sum, file) => sum + (file.documentCount ?? 0), 0);
  const { before, after, between } = frame;
  if (documentCount > 1 && before.length + after.length + between.length === 0) {
    notes.push(
      `${documentCount} documents follow each other with nothing between them: the tokenizer has neither an end-of-text token nor a template that begins them`,
    );
  }
  return notes;
}
