import { existsSync, readdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** What the environment says about the Hugging Face Hub; the names are those of its own tools. */
export interface HubEnvironment {
  readonly HF_ENDPOINT?: string | undefined;
  readonly HF_TOKEN?: string | undefined;
  readonly HF_TOKEN_PATH?: string | undefined;
  readonly HF_HUB_OFFLINE?: string | undefined;
  readonly HF_HOME?: string | undefined;
  readonly HF_HUB_CACHE?: string | undefined;
  readonly XDG_CACHE_HOME?: string | undefined;
}

/** A file of a data set on the Hub. */
export interface HubFile {
  /** "owner/name". */
  readonly dataset: string;
  readonly file: string;
  /** Branch, tag or commit. Default "main". */
  readonly revision?: string;
}

function isYes(value: string | undefined): boolean {
  return value !== undefined && ["1", "true", "yes", "on"].includes(value.trim().toLowerCase());
}

export function isOffline(environment: HubEnvironment): boolean {
  return isYes(environment.HF_HUB_OFFLINE);
}

export function hubHome(environment: HubEnvironment): string {
  const cache = environment.XDG_CACHE_HOME ?? join(homedir(), ".cache");
  return environment.HF_HOME ?? join(cache, "huggingface");
}

/** The access token of HF_TOKEN, or of the file that `hf auth login` writes. */
export function hubToken(environment: HubEnvironment): string | undefined {
  const given = environment.HF_TOKEN?.trim();
  if (given !== undefined && given !== "") return given;
  const path = environment.HF_TOKEN_PATH ?? join(hubHome(environment), "token");
  if (!existsSync(path)) return undefined;
  const stored = readFileSync(path, "utf8").trim();
  return stored === "" ? undefined : stored;
}

/** The server that HF_ENDPOINT names, or the Hub. */
export function hubEndpoint(environment: HubEnvironment): string {
  return (environment.HF_ENDPOINT ?? "https://huggingface.co").replace(/\/+$/, "");
}

/** The folder that Hugging Face's tools share for what they fetch. */
export function hubCache(environment: HubEnvironment): string {
  return environment.HF_HUB_CACHE ?? join(hubHome(environment), "hub");
}

export function hubUrl(
  environment: HubEnvironment,
  { dataset, file, revision = "main" }: HubFile,
): string {
  const endpoint = hubEndpoint(environment);
  const path = file.split("/").map(encodeURIComponent).join("/");
  return `${endpoint}/datasets/${dataset}/resolve/${encodeURIComponent(revision)}/${path}`;
}

/** The file in the cache that Hugging Face's own tools share, if one of them has fetched it. */
export function cachedHubFile(environment: HubEnvironment, wanted: HubFile): string | undefined {
  const folder = join(hubCache(environment), `datasets--${wanted.dataset.replaceAll("/", "--")}`);
  const revision = wanted.revision ?? "main";
  const reference = join(folder, "refs", revision);
  const snapshots = join(folder, "snapshots");
  if (!existsSync(snapshots)) return undefined;
  const commits = existsSync(reference)
    ? [readFileSync(reference, "utf8").trim()]
    : readdirSync(snapshots).filter((name) => name === revision);
  const path = commits
    .map((commit) => join(snapshots, commit, wanted.file))
    .find((candidate) => existsSync(candidate));
  return path;
}
