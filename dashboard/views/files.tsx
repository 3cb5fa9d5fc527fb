import { batch, signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { FileRow, FileView, UploadAnswer } from "../../src/server/files/views.ts";
import type { ChipChoice } from "../../src/server/plan/views.ts";
import { formatBytes } from "../../src/util/format.ts";
import { RequestError, ask, messageOf, pageKey, post, problemOf, requestHeaders } from "../api.ts";
import { saveText } from "../parts/save-text.ts";
import { Choice, KeyForm, Problem, TableBox } from "../parts/kit.tsx";

/** A file with the path that it has in what was chosen or dropped. */
interface ChosenFile {
  readonly path: string;
  readonly file: File;
}

/** What is looked at: what was sent, or a file of the folder of runs. */
type Source =
  | { readonly upload: string; readonly main?: string; readonly names: readonly string[] }
  | { readonly path: string };

const source = signal<Source | null>(null);
const view = signal<FileView | null>(null);
const told = signal("");
const problem = signal<string | null>(null);
const chip = signal("m4");
const chosenFunction = signal("");
const sizes = signal("");
const rows = signal<readonly FileRow[]>([]);
const chips = signal<readonly ChipChoice[]>([]);
/** Answers come late; only the last question's counts. */
let asked = 0;

/** Whatever the commands open: what is in it, which rules of a chip it breaks, and what it is predicted to take. */
export function FilesView() {
  const key = pageKey.value;
  useEffect(() => {
    if (key === "") return;
    void ask<readonly ChipChoice[]>("/api/chips").then((found) => (chips.value = found));
    ask<readonly FileRow[]>("/api/files").then(
      (found) => (rows.value = found),
      (error: unknown) => (problem.value = messageOf(error)),
    );
  }, [key]);
  return (
    <>
      <h1>Files</h1>
      {key === "" ? (
        <KeyForm what="to look into files" />
      ) : (
        <>
          <Chooser />
          {problem.value !== null && <Problem text={problem.value} />}
          <p class="hint" role="status">
            {told.value}
          </p>
          {source.value !== null && <Settings source={source.value} />}
          {view.value !== null && (
            <article
              class="panel document"
              aria-label={`Report of ${view.value.title}`}
              // HTML of our own server, which escapes what a file holds.
              dangerouslySetInnerHTML={{ __html: view.value.html }}
            />
          )}
        </>
      )}
    </>
  );
}

function Chooser() {
  const choose = (list: FileList | null): void => {
    const files = [...(list ?? [])];
    void send(
      files.map((file) => ({
        path: file.webkitRelativePath === "" ? file.name : file.webkitRelativePath,
        file,
      })),
    );
  };
  return (
    <section
      class="panel drop"
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault();
        void dropped(event.dataTransfer).then(send);
      }}
    >
      <h2>a file or a folder</h2>
      <p class="hint">
        MIL text, .mlpackage, .mlmodel, .onnx, .hwx, .e5, weights, a model's folder, a report of
        bench engine. It is read by this server alone, and nothing of it runs.
      </p>
      <div class="row">
        <label class="choice">
          <span>files</span>
          <input type="file" multiple onChange={(event) => choose(event.currentTarget.files)} />
        </label>
        <label class="choice">
          <span>or a folder</span>
          <input
            type="file"
            // Core ML packages and models are folders.
            {...{ webkitdirectory: true }}
            onChange={(event) => choose(event.currentTarget.files)}
          />
        </label>
      </div>
      {rows.value.length > 0 && (
        <details>
          <summary>{rows.value.length} in the folder of runs</summary>
          <TableBox label="Files in the folder of runs">
            <table>
              <tbody>
                {rows.value.map(({ path, kind, byteLength }) => (
                  <tr key={path}>
                    <th scope="row">
                      <button
                        type="button"
                        class="link"
                        onClick={() => void look({ path }, { isNew: true })}
                      >
                        {path}
                      </button>
                    </th>
                    <td>{kind}</td>
                    <td class="number">
                      {byteLength === undefined ? "" : formatBytes(byteLength)}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </TableBox>
        </details>
      )}
    </section>
  );
}

function Settings({ source: shown }: { readonly source: Source }) {
  const again = (): void => void look(shown);
  const functions = view.value?.functions ?? [];
  const names = "upload" in shown && shown.names.length > 1 ? shown.names : [];
  return (
    <form
      class="panel row"
      aria-label="What is asked of the file"
      onSubmit={(event) => {
        event.preventDefault();
        again();
      }}
    >
      {names.length > 0 && "upload" in shown && (
        <Choice
          label="file"
          value={shown.main ?? ""}
          choices={names.map((name) => [name, name] as const)}
          onChoose={(main) => void look({ ...shown, main }, { isNew: true })}
        />
      )}
      <Choice
        label="on"
        value={chip.value}
        choices={chips.value.map(({ name, title }) => [name, title] as const)}
        onChoose={(name) => {
          chip.value = name;
          again();
        }}
      />
      {functions.length > 1 && (
        <Choice
          label="function"
          value={view.value?.function ?? ""}
          choices={functions.map((name) => [name, name] as const)}
          onChoose={(name) => {
            chosenFunction.value = name;
            again();
          }}
        />
      )}
      <label class="choice">
        <span>sizes that it leaves open</span>
        <input
          placeholder="x=1x3x224x224"
          value={sizes.value}
          onInput={(event) => (sizes.value = event.currentTarget.value)}
        />
      </label>
      <button type="submit">look again</button>
      <button type="button" disabled={view.value === null} onClick={() => void keep(shown)}>
        save as one HTML file
      </button>
    </form>
  );
}

/** The request for a look at a source with what is chosen. */
function question(of: Source): Record<string, unknown> {
  const given = sizes.value.split(/[\s,;]+/).filter((text) => text !== "");
  return {
    ...("path" in of ? { path: of.path } : { upload: of.upload, main: of.main }),
    chip: chip.value,
    ...(chosenFunction.value !== "" && { function: chosenFunction.value }),
    // A size of several numbers is an input's, one alone that of a name in an .onnx file.
    shapes: given.filter((text) => text.includes("x", text.lastIndexOf("="))),
    dimensions: given.filter((text) => !text.includes("x", text.lastIndexOf("="))),
  };
}

async function look(of: Source, { isNew = false } = {}): Promise<void> {
  const turn = ++asked;
  batch(() => {
    if (isNew) {
      chosenFunction.value = "";
      sizes.value = "";
      view.value = null;
    }
    source.value = of;
    problem.value = null;
    told.value = "looking …";
  });
  try {
    const found = await post<FileView>("/api/looks", question(of));
    if (turn === asked) view.value = found;
  } catch (error) {
    if (turn === asked) {
      problem.value = messageOf(error);
      view.value = null;
    }
  } finally {
    if (turn === asked) told.value = "";
  }
}

async function keep(of: Source): Promise<void> {
  try {
    const response = await fetch("/api/looks", {
      method: "POST",
      headers: requestHeaders({ "Content-Type": "application/json" }),
      body: JSON.stringify({ ...question(of), isFile: true }),
    });
    if (!response.ok) throw new RequestError(response.status, await problemOf(response));
    saveText(`${view.value?.title ?? "file"}.html`, await response.text());
  } catch (error) {
    problem.value = messageOf(error);
  }
}

async function send(files: readonly ChosenFile[]): Promise<void> {
  if (files.length === 0) return;
  const turn = ++asked;
  batch(() => {
    problem.value = null;
    view.value = null;
    source.value = null;
  });
  try {
    const { id } = await post<UploadAnswer>("/api/uploads", {
      files: files.map(({ path, file }) => ({ path, byteLength: file.size })),
    });
    for (const [index, { path, file }] of files.entries()) {
      told.value = `sending ${path}, ${index + 1} of ${files.length} …`;
      await ask(`/api/uploads/${id}/${index}`, {
        method: "PUT",
        body: file,
        headers: { "Content-Type": "application/octet-stream" },
      });
      if (turn !== asked) return;
    }
    await look(sourceOf(id, files), { isNew: true });
  } catch (error) {
    told.value = "";
    problem.value = messageOf(error);
  }
}

/** Files that hold a program before those that stand beside one. */
const MAIN = /\.(?:mil|mlmodel|onnx|hwx|ane|e5|gguf|json)$/i;

function sourceOf(upload: string, files: readonly ChosenFile[]): Source {
  const names = files.map(({ path }) => path);
  const [first = ""] = names;
  // A folder is looked at as a whole.
  if (first.includes("/")) return { upload, names: [] };
  const main = names.find((name) => MAIN.test(name)) ?? first;
  return { upload, main, names };
}

/** Files and folders that were dropped, with their paths. */
async function dropped(data: DataTransfer | null): Promise<readonly ChosenFile[]> {
  const entries = [...(data?.items ?? [])].flatMap((item) => item.webkitGetAsEntry() ?? []);
  return (await Promise.all(entries.map(async (entry) => filesOf(entry)))).flat();
}

async function filesOf(entry: FileSystemEntry): Promise<readonly ChosenFile[]> {
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) =>
      (entry as FileSystemFileEntry).file(resolve, reject),
    );
    return [{ path: entry.fullPath.replace(/^\//, ""), file }];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const found: ChosenFile[] = [];
  // A reader gives a hundred at a time.
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (some.length === 0) return found;
    for (const one of some) found.push(...(await filesOf(one)));
  }
}
