import { existsSync, readdirSync, realpathSync, statSync } from "node:fs";
import { extname, join, sep } from "node:path";
import { z } from "zod";
import { compiledUrl } from "../../util/source-layout.ts";
import { aside } from "../aside.ts";
import type { AsideLimits } from "../aside.ts";
import { jsonBody } from "../application.ts";
import type { Application, ApplicationContext } from "../application.ts";
import { Refusal } from "../errors.ts";
import type { PageKey } from "../page-key.ts";
import { requireChip } from "../plan/plans.ts";
import type { FileLookOptions } from "./look.ts";
import type { Uploads } from "./uploads.ts";
import type { FileRow, FileView, UploadAnswer } from "./views.ts";

const announceSchema = z.strictObject({
  files: z.array(z.strictObject({ path: z.string().max(2000), byteLength: z.int().nonnegative() })),
});
const text = z.string().max(500);
const lookSchema = z.strictObject({
  /** Either this, and maybe which of its files is meant, or `path`. */
  upload: text.optional(),
  main: z.string().max(2000).optional(),
  /** In the folder of runs. */
  path: z.string().max(2000).optional(),
  chip: text.optional(),
  function: text.optional(),
  shapes: z.array(text).max(50).optional(),
  dimensions: z.array(text).max(50).optional(),
  /** The whole document, to be kept, instead of what a page shows. */
  isFile: z.boolean().optional(),
});

/** What a file that somebody sent may take. */
const LIMITS: AsideLimits = { milliseconds: 60_000, mebibytes: 2048 };

export function isUploadPath(path: string): boolean {
  return /^\/api\/uploads\/\w+\/\d+$/.test(path);
}

/** What the routes of files stand on. */
export interface FileRoutesOptions {
  /** The folder of runs. */
  readonly root: string;
  readonly uploads: Uploads;
  readonly key: PageKey;
}

/**
 * Adds what a page asks of any file: it is sent, or stands in the folder of runs, and what is in it, what rules it breaks
 * and what it is predicted to take comes back. All of it takes the page's key, and files are read in a thread of their own
 * that may take so long and so much.
 */
export function addFileRoutes(
  application: Application,
  { root, uploads, key }: FileRoutesOptions,
): void {
  const requireKey = (context: ApplicationContext): void =>
    key.require(context.req.header("authorization"));
  application.get("/api/files", (context) => {
    requireKey(context);
    return context.json([...filesBelow(root)]);
  });
  application.post("/api/uploads", (context) => {
    requireKey(context);
    const { files } = parsed(announceSchema, jsonBody(context));
    return context.json({ id: uploads.announce(files) } satisfies UploadAnswer, 201);
  });
  application.put("/api/uploads/:id/:index", async (context) => {
    requireKey(context);
    const { id, index } = context.req.param();
    await uploads.write(id, Number(index), context.req.raw.body);
    return context.json({ index: Number(index) });
  });
  application.post("/api/looks", async (context) => {
    requireKey(context);
    const {
      upload,
      main,
      path,
      isFile = false,
      ...options
    } = parsed(lookSchema, jsonBody(context));
    if (options.chip !== undefined) requireChip(options.chip);
    if ((upload === undefined) === (path === undefined))
      throw new Refusal(400, "a look is at one of upload and path");
    const found =
      upload === undefined
        ? { path: pathBelow(root, path ?? ""), name: path ?? "" }
        : uploads.pathOf(upload, main);
    const look = async <Answer>(): Promise<Answer> =>
      answerOf<Answer>(found, { ...options, name: found.name }, isFile);
    if (isFile) return context.html(await look<string>());
    return context.json(await look<FileView>());
  });
}

async function answerOf<Answer>(
  { path, name }: { readonly path: string; readonly name: string },
  options: FileLookOptions,
  isFile: boolean,
): Promise<Answer> {
  try {
    const module = compiledUrl("server/files/file-worker.ts");
    return await aside<Answer>(module, { path, options, isFile }, LIMITS);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    // Whoever sent a file knows it by its name, and nobody needs to know where it stands here.
    const folder = path.slice(0, path.length - name.split("/").join(sep).length);
    throw new Refusal(error.status, error.message.replaceAll(folder, ""), error.details);
  }
}

function parsed<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const found = schema.safeParse(value);
  if (found.success) return found.data;
  const [issue] = found.error.issues;
  const name = issue?.path.join(".") ?? "";
  throw new Refusal(400, `${name}: ${issue?.message ?? "cannot be read"}`, { param: name });
}

/**
 * A file or folder of the folder of runs, links followed. Throws `Refusal` 404 for one that is not there, or not below it,
 * and for names that begin with a dot or stand in a run's `control` folder: they hold keys.
 */
function pathBelow(root: string, path: string): string {
  const parts = path.split("/");
  const isSecret = parts.some((part) => part === "" || part.startsWith(".") || part === "control");
  const full = join(root, ...parts);
  if (!isSecret && !path.includes("\\") && existsSync(full)) {
    const real = realpathSync(full);
    const above = `${realpathSync(root)}${sep}`;
    const rest = real.slice(above.length).split(sep);
    if (real.startsWith(above) && !rest.some((part) => part.startsWith(".") || part === "control"))
      return full;
  }
  throw new Refusal(404, `the folder of runs has no ${JSON.stringify(path.slice(0, 200))}`, {
    code: "unknown_file",
  });
}

/** Endings that are looked into where they stand. */
const ENDINGS: Readonly<Record<string, string>> = {
  ".mil": "MIL text",
  ".mlpackage": "Core ML package",
  ".mlmodel": "Core ML model",
  ".mlmodelc": "compiled Core ML model",
  ".onnx": "ONNX",
  ".hwx": "program of an engine",
  ".gguf": "GGUF model",
  ".safetensors": "weights",
};
const FOLDER_DEPTH = 3;
const MOST_ROWS = 500;

/** What of the folder of runs can be looked into: runs, checkpoints, and files by their endings. */
function filesBelow(root: string): readonly FileRow[] {
  const rows: FileRow[] = [];
  const visit = (path: string, depth: number): void => {
    const folder = join(root, ...path.split("/").filter((part) => part !== ""));
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const { name } = entry;
      if (rows.length >= MOST_ROWS || name.startsWith(".") || name === "control") continue;
      const below = path === "" ? name : `${path}/${name}`;
      const kind = ENDINGS[extname(name).toLowerCase()];
      if (entry.isFile()) {
        if (kind === undefined) continue;
        rows.push({ path: below, kind, byteLength: statSync(join(folder, name)).size });
      } else if (entry.isDirectory()) {
        if (kind !== undefined) rows.push({ path: below, kind });
        else {
          const isModel = existsSync(join(folder, name, "config.json"));
          if (isModel) rows.push({ path: below, kind: "model" });
          else if (depth < FOLDER_DEPTH) visit(below, depth + 1);
        }
      }
    }
  };
  if (existsSync(root)) visit("", 0);
  return rows;
}
