import { existsSync, mkdirSync, readFileSync, readdirSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { writeWholeFile } from "../util/atomic-file.ts";
import { readSmallFile } from "../util/byte-source.ts";
import { messageOf } from "../util/errors.ts";
import { didYouMean } from "../util/nearest.ts";
import { HubError } from "./errors.ts";
import { fetchHubFile, refuseStatus } from "./hub-download.ts";
import type { DownloadOptions } from "./hub-download.ts";
import { hubCache, hubEndpoint, hubToken, isOffline } from "./hub-environment.ts";
import type { HubEnvironment } from "./hub-environment.ts";

/** A model as the Hub names it: `owner/name`, with a revision and a GGUF file where they are given. */
export interface HubModel {
  /** `owner/name`. */
  readonly id: string;
  /** Branch, tag or commit. */
  readonly revision: string;
  /** Part of the name of the GGUF file that is meant: `Q4_K_M`. */
  readonly file: string | undefined;
}

const NAME = /^([A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*)(?::([\w.-]+))?(?:@([\w./-]+))?$/;

/**
 * The model that a name means on the Hub: `owner/name`, `owner/name@revision`, `owner/name:Q8_0`. Nothing for what
 * cannot be one, or exists as a path here.
 */
export function hubModelNamed(name: string): HubModel | undefined {
  const [, id, file, revision = "main"] = NAME.exec(name) ?? [];
  const owner = id?.split("/")[0] ?? "";
  // A folder of that name, or the one that runs stand in: this is a path, and nobody is asked about it.
  const isPath = existsSync(name) || existsSync(owner) || owner === "runs";
  if (id === undefined || isPath || id.includes("..") || revision.includes("..")) return undefined;
  return { id, revision, file };
}

/** Files of a model that are fetched whatever its weights are. */
const SMALL_FILES = [
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "chat_template.jinja",
];
const CONFIG = "config.json";
const INDEX = "model.safetensors.index.json";
const SINGLE = "model.safetensors";
const ADAPTER_FILES = ["adapter_config.json", "adapter_model.safetensors", "adapters.safetensors"];
const INDEX_BYTE_LIMIT = 64 << 20;

const indexSchema = z.looseObject({ weight_map: z.record(z.string(), z.string()) });
const answerSchema = z.looseObject({
  sha: z.string().regex(/^[0-9a-f]{7,64}$/),
  siblings: z.array(z.looseObject({ rfilename: z.string() })),
});

/** Where the cache that Hugging Face's tools share keeps a model. */
function modelFolder(environment: HubEnvironment, id: string): string {
  return join(hubCache(environment), `models--${id.replaceAll("/", "--")}`);
}

/** The snapshot that a folder of the cache has of a revision. */
function snapshotOf(folder: string, revision: string): string | undefined {
  const reference = join(folder, "refs", revision);
  const commit = existsSync(reference) ? readFileSync(reference, "utf8").trim() : revision;
  const path = join(folder, "snapshots", basename(commit));
  return existsSync(path) ? path : undefined;
}

/** Whether `path` is a model's folder of the Hub's cache; its newest snapshot, then. */
export function snapshotOfCacheFolder(path: string): string | undefined {
  if (!basename(path).startsWith("models--") || !existsSync(join(path, "snapshots")))
    return undefined;
  const named = snapshotOf(path, "main");
  if (named !== undefined) return named;
  const snapshots = readdirSync(join(path, "snapshots")).map((name) =>
    join(path, "snapshots", name),
  );
  return snapshots.toSorted((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0];
}

/** The model in the cache, folder or file, where all of it is there. */
export function cachedHubModel(
  { id, revision, file }: HubModel,
  environment: HubEnvironment = process.env,
): string | undefined {
  const snapshot = snapshotOf(modelFolder(environment, id), revision);
  if (snapshot === undefined) return undefined;
  const names = readdirSync(snapshot);
  if (file !== undefined) {
    const [chosen] = ggufFiles(names, file);
    return chosen === undefined ? undefined : join(snapshot, chosen);
  }
  const has = (name: string): boolean => existsSync(join(snapshot, name));
  if (has("adapter_config.json") && ADAPTER_FILES.slice(1).some(has)) return snapshot;
  if (has(CONFIG) && hasWeights(snapshot, has)) return snapshot;
  const [only, ...others] = ggufFiles(names, "");
  return only !== undefined && others.length === 0 ? join(snapshot, only) : undefined;
}

function hasWeights(snapshot: string, has: (name: string) => boolean): boolean {
  if (has(SINGLE)) return true;
  return has(INDEX) && shardsOf(join(snapshot, INDEX)).every(has);
}

function ggufFiles(names: readonly string[], part: string): readonly string[] {
  const wanted = part.toLowerCase();
  const found = names.filter((name) => name.toLowerCase().endsWith(".gguf"));
  const exact = found.filter((name) => name.toLowerCase() === wanted);
  return exact.length > 0
    ? exact
    : found.filter((name) => name.toLowerCase().includes(wanted)).toSorted();
}

/** Names of the files that an index sends to; each must be a file of the same folder. */
function shardsOf(index: string): readonly string[] {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(readSmallFile(index, INDEX_BYTE_LIMIT)).toString("utf8"));
  } catch (error) {
    throw new HubError("hub.index", `${index} is not JSON: ${messageOf(error)}`, { cause: error });
  }
  const parsed = indexSchema.safeParse(json);
  const names = parsed.success ? [...new Set(Object.values(parsed.data.weight_map))] : [];
  const odd = names.find((name) => basename(name) !== name || !name.endsWith(".safetensors"));
  if (odd !== undefined || !parsed.success) {
    throw new HubError(
      "hub.index",
      `${index} sends to ${odd === undefined ? "nothing" : `"${odd}"`}, which is no .safetensors file beside it`,
    );
  }
  return names;
}

/** What is told while a model comes. */
export interface FetchModelOptions extends DownloadOptions {
  /** Hears of each file before it is fetched. */
  readonly onFile?: (file: string, number: number, count: number) => void;
}

/**
 * The path of a model of the Hub: from the cache that Hugging Face's tools share, or fetched into it. A broken
 * download goes on where it stopped. Throws `HubError` where HF_HUB_OFFLINE forbids to fetch, and for what the Hub
 * does not have.
 */
export async function fetchHubModel(
  model: HubModel,
  options: FetchModelOptions = {},
): Promise<string> {
  const environment = options.environment ?? process.env;
  const cached = cachedHubModel(model, environment);
  if (cached !== undefined) return cached;
  const { id, revision } = model;
  if (isOffline(environment)) {
    throw new HubError(
      "hub.offline",
      `the model ${id} is not in the cache (${modelFolder(environment, id)}), and HF_HUB_OFFLINE forbids to fetch it`,
      { remedy: "Unset HF_HUB_OFFLINE, or give the path of a folder." },
    );
  }
  const { commit, names } = await askForFiles(model, environment, options);
  const folder = modelFolder(environment, id);
  const snapshot = join(folder, "snapshots", commit);
  mkdirSync(snapshot, { recursive: true });
  const fetchOne = async (name: string, number: number, count: number): Promise<void> => {
    const target = join(snapshot, name);
    if (existsSync(target)) return;
    options.onFile?.(name, number, count);
    const url = `${hubEndpoint(environment)}/${id}/resolve/${commit}/${encodeURIComponent(name)}`;
    await fetchHubFile(url, target, hubToken(environment), options);
  };
  const isSharded = model.file === undefined && names.includes(INDEX) && !names.includes(SINGLE);
  if (isSharded) await fetchOne(INDEX, 1, 1);
  const wanted = wantedFiles(model, names, isSharded ? shardsOf(join(snapshot, INDEX)) : []);
  for (const [index, name] of wanted.entries()) await fetchOne(name, index + 1, wanted.length);
  if (revision !== commit) {
    const reference = join(folder, "refs", revision);
    mkdirSync(dirname(reference), { recursive: true });
    writeWholeFile(reference, commit);
  }
  const path = cachedHubModel(model, environment);
  if (path === undefined)
    throw new HubError("hub.incomplete", `${snapshot} is not whole after everything was fetched`);
  return path;
}

/** The commit of a revision, and its files' names. */
async function askForFiles(
  { id, revision }: HubModel,
  environment: HubEnvironment,
  options: FetchModelOptions,
): Promise<{ readonly commit: string; readonly names: readonly string[] }> {
  const url = `${hubEndpoint(environment)}/api/models/${id}/revision/${encodeURIComponent(revision)}`;
  const token = hubToken(environment);
  const stall = AbortSignal.timeout(options.stallMs ?? 30_000);
  const signal = options.signal === undefined ? stall : AbortSignal.any([stall, options.signal]);
  let response: Response;
  try {
    response = await fetch(url, {
      headers: {
        "user-agent": "anecdote",
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      },
      signal,
    });
  } catch (error) {
    throw new HubError("hub.connection", `${url}: ${messageOf(error)}`, {
      cause: error,
      remedy: `Check the connection; HF_ENDPOINT names another server. Or put the model's folder here and give its path.`,
    });
  }
  if (!response.ok) refuseStatus(response.status, url, `the model "${id}"`);
  const parsed = answerSchema.safeParse(await response.json().catch(() => undefined));
  if (!parsed.success)
    throw new HubError("hub.answer", `${url}: the answer does not list a model's files`);
  const { sha: commit, siblings } = parsed.data;
  // Only files at the top: no name may lead out of the snapshot's folder.
  const names = siblings.map(({ rfilename }) => rfilename).filter((name) => /^[\w.-]+$/.test(name));
  return { commit, names };
}

/** What is fetched of a model, its configuration last: a folder that has one is whole. */
function wantedFiles(
  { id, file }: HubModel,
  names: readonly string[],
  shards: readonly string[],
): readonly string[] {
  const present = (wanted: readonly string[]): readonly string[] =>
    wanted.filter((name) => names.includes(name));
  const ggufs = ggufFiles(names, file ?? "");
  if (file !== undefined) {
    const [chosen] = ggufs;
    if (chosen !== undefined) return [chosen];
    const all = ggufFiles(names, "");
    throw new HubError(
      "hub.file",
      `${id} has no GGUF file "${file}".${didYouMean(file, all)} It has ${all.join(", ") || "none"}`,
    );
  }
  const adapter = present(ADAPTER_FILES);
  if (adapter.length > 1) return [...present(SMALL_FILES), ...adapter.toReversed()];
  const weights = names.includes(SINGLE) ? [SINGLE] : shards;
  if (weights.length > 0 && names.includes(CONFIG))
    return [...present(SMALL_FILES), ...weights, CONFIG];
  const [only, ...others] = ggufs;
  if (only !== undefined && others.length === 0) return [only];
  throw new HubError(
    "hub.files",
    only === undefined
      ? `${id} has no weights as .safetensors or .gguf; it has ${names.slice(0, 8).join(", ")}`
      : `${id} has ${ggufs.length} GGUF files: ${ggufs.slice(0, 12).join(", ")}`,
    {
      remedy:
        only === undefined
          ? "Take a model that is published as safetensors."
          : `Say which: ${id}:${/[-.](I?Q\d\w*|F16|BF16|F32)\.gguf$/i.exec(only)?.[1] ?? only}.`,
    },
  );
}
