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

const KEY_NAME = "anecdote.key";

/** The page's key, from the address that the command printed; kept for this tab. */
export const pageKey = signal(takeKey());

/** Whether the last request reached the server. */
export const isReachable = signal(true);

function takeKey(): string {
  const [, given] = /[#&]key=([\w-]+)/.exec(location.hash) ?? [];
  if (given === undefined) return sessionStorage.getItem(KEY_NAME) ?? "";
  sessionStorage.setItem(KEY_NAME, given);
  // The address in the bar may be shown to others.
  history.replaceState(null, "", location.pathname + location.hash.replace(/[#&]?key=[\w-]+/, ""));
  return given;
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

/** A path with a query; what is undefined is left out. */
export function withQuery(
  path: string,
  query: Readonly<Record<string, string | number | undefined>>,
): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
  return `${path}?${text.toString()}`;
}

export function runPath(id: string, rest = ""): string {
  return `/api/runs/${encodeURIComponent(id)}${rest}`;
}
