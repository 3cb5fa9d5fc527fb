// What the page asks of its server.
import { signal } from "@preact/signals";

/** What a request failed with. */
export class RequestError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Whether what was asked for is not there. */
export function isMissing(error: unknown): boolean {
  return error instanceof RequestError && error.status === 404;
}

const KEY_NAME = "anecdote.key";

/** The page's key, from the address that the command printed; kept for this tab. */
export const pageKey = signal(sessionStorage.getItem(KEY_NAME) ?? "");
/** Whether the server refused a request for want of a key, or of another one. */
export const wantsKey = signal(false);
/** Grows with each key that is given: what was refused is asked for again. */
export const keyCount = signal(0);

takeKey();
// The address of a server that was started anew, in a tab that has the page already.
window.addEventListener("hashchange", takeKey);

/** Whether the last request reached the server. */
export const isReachable = signal(true);

function takeKey(): void {
  const [, given] = /[#&]key=([\w-]+)/.exec(location.hash) ?? [];
  if (given === undefined) return;
  // The address in the bar may be shown to others.
  history.replaceState(null, "", location.pathname + location.hash.replace(/[#&]?key=[\w-]+/, ""));
  useKey(given);
}

/** Takes a key, or an address that ends with one, as it is pasted. */
export function useKey(text: string): void {
  const key = (/key=([\w-]+)/.exec(text)?.[1] ?? text).trim();
  sessionStorage.setItem(KEY_NAME, key);
  pageKey.value = key;
  wantsKey.value = false;
  keyCount.value++;
}

/** A key that the server does not know: it is another server's, or an older one's. */
function forgetKey(): void {
  sessionStorage.removeItem(KEY_NAME);
  pageKey.value = "";
  wantsKey.value = true;
}

export function requestHeaders(more: Readonly<Record<string, string>> = {}): HeadersInit {
  return { ...(pageKey.value !== "" && { Authorization: `Bearer ${pageKey.value}` }), ...more };
}

/** A JSON answer. Throws `RequestError`; status 0 where the server was not reached. */
export async function ask<Answer>(path: string, options: RequestInit = {}): Promise<Answer> {
  let response: Response;
  try {
    response = await fetch(path, { ...options, headers: requestHeaders(options.headers as {}) });
  } catch (error) {
    if (options.signal?.aborted !== true) isReachable.value = false;
    throw new RequestError(0, error instanceof Error ? error.message : String(error));
  }
  isReachable.value = true;
  if (!response.ok) throw new RequestError(response.status, await problemOf(response));
  return (await response.json()) as Answer;
}

export async function post<Answer>(
  path: string,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  return await ask<Answer>(path, {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "Content-Type": "application/json", ...headers },
  });
}

/** What the server says is wrong. */
export async function problemOf(response: Response): Promise<string> {
  if (response.status === 401) forgetKey();
  try {
    const { error } = (await response.json()) as { readonly error?: { readonly message?: string } };
    return error?.message ?? response.statusText;
  } catch {
    return response.statusText;
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

type QueryValue = string | number | undefined;

/** A path with a query; what is undefined is left out, and each of a list stands by itself. */
export function withQuery(
  path: string,
  query: Readonly<Record<string, QueryValue | readonly string[]>>,
): string {
  const text = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined) continue;
    for (const one of typeof value === "object" ? value : [value]) text.append(name, String(one));
  }
  return `${path}?${text.toString()}`;
}

export function runPath(id: string, rest = ""): string {
  return `/api/runs/${encodeURIComponent(id)}${rest}`;
}
