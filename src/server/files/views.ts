// What the server tells a page of files that it looked into. Types alone, so that the page can import them.

/** Files that a page sends, before their bytes. */
export interface UploadAnswer {
  readonly id: string;
}

/** What is in a file, and what a chip makes of it: drawn as `anecdote report FILE` draws it. */
export interface FileView {
  readonly title: string;
  /** HTML without style or script; all that a file holds is escaped in it. */
  readonly html: string;
  /** The chip that it is held against and priced for. */
  readonly chip: string;
  /** Functions that can be chosen from; none where the file has no program. */
  readonly functions: readonly string[];
  /** The one that is priced. */
  readonly function: string | null;
}

/** A file of the folder of runs that can be looked into. */
export interface FileRow {
  /** From the folder of runs on, with slashes. */
  readonly path: string;
  readonly kind: string;
  /** Absent for folders. */
  readonly byteLength?: number;
}
