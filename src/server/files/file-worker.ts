// The thread that reads files which strangers made: whatever they do to it, the server goes on.
import { parentPort, workerData } from "node:worker_threads";
import { asideAnswer } from "../aside.ts";
import { fileReport, lookAtFile, lookHtml } from "./file-look.ts";
import type { FileLookOptions } from "./look.ts";
import type { FileView } from "./views.ts";

const { path, options, isFile } = workerData as {
  readonly path: string;
  readonly options: FileLookOptions;
  /** A whole document instead of what a page shows. */
  readonly isFile: boolean;
};

function view(): FileView {
  const look = lookAtFile(path, options);
  const { title, chip, functions, function: name } = look;
  const { head, sections } = lookHtml(look);
  return { title, chip, functions, function: name, html: `${head}\n${sections}` };
}

parentPort?.postMessage(
  await asideAnswer<FileView | string>(() => (isFile ? fileReport(path, options) : view())),
);
