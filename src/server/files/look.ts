// What a look into a file is given, and what it gives.
import type { Chip, Driver } from "../../chip/chip.ts";

/** What of a file is shown, and for which chip. */
export interface FileLookOptions {
  /** What the file is called in texts. Default: its path. */
  readonly name?: string | undefined;
  /** "m1" to "m6", "m4-max", ... Default "m4". */
  readonly chip?: string | undefined;
  /** Which function is priced and drawn, where a program has several. */
  readonly function?: string | undefined;
  /** Sizes that a program leaves open, as `NAME=2x3`. */
  readonly shapes?: readonly string[] | undefined;
  /** Sizes that an .onnx file leaves open by names of theirs, as `NAME=4`. */
  readonly dimensions?: readonly string[] | undefined;
}

/** What a look at a file is given beside its path. */
export interface LookContext extends FileLookOptions {
  readonly name: string;
  readonly chip: Chip["name"];
  readonly target: Chip;
  readonly driver: Driver;
}

/** Parts of a document about a file: HTML, everything of the file escaped. */
export interface FileLook {
  readonly title: string;
  /** A line below the title. */
  readonly subtitle: string;
  readonly sections: readonly string[];
  readonly chip: string;
  readonly functions: readonly string[];
  readonly function: string | null;
}

/** What readers of a kind of file give. */
export type LookParts = Pick<FileLook, "subtitle" | "sections"> &
  Partial<Pick<FileLook, "title" | "functions" | "function">>;
