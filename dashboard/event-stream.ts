// Server-sent events by fetch: unlike EventSource it sends the page's key, and posts.
import { isMissing, isReachable, problemOf, RequestError, requestHeaders } from "./api.ts";

export interface StreamMessage {
  readonly id: string;
  /** "message" where the server names none. */
  readonly type: string;
  readonly data: string;
}

/** Messages of an answer as they come. */
export async function* messagesOf(response: Response): AsyncGenerator<StreamMessage> {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  if (reader === undefined) return;
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += value;
      const blocks = text.split(/\r?\n\r?\n/);
      text = blocks.pop() ?? "";
      for (const block of blocks) {
        let id = "";
        let type = "message";
        const data: string[] = [];
        for (const line of block.split(/\r?\n/)) {
          if (line.startsWith("id:")) id = line.slice(3).trim();
          else if (line.startsWith("event:")) type = line.slice(6).trim();
          else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
        }
        if (data.length > 0) yield { id, type, data: data.join("\n") };
      }
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}

/** The server tells of itself at least so often; a connection that is silent for longer is dead. */
const SILENCE_MS = 30_000;
/** A browser has few connections to one server: a page that nobody sees gives its own back after so long. */
const HIDDEN_MS = 5000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 5000;

export interface FollowHandlers {
  readonly onMessage: (message: StreamMessage) => void;
  /** "gone": there is no such run any more; nothing is followed then. */
  readonly onState: (state: "live" | "lost" | "gone") => void;
}

/** Follows a stream for ever: comes back after the last message that it had whenever the connection ends. */
export function follow(path: string, after: number, handlers: FollowHandlers): () => void {
  const follower = new Follower(path, String(after), handlers);
  follower.watch();
  return () => follower.end();
}

class Follower {
  readonly #path: string;
  readonly #handlers: FollowHandlers;
  readonly #ended = new AbortController();
  /** Number of the last message. */
  #last: string;
  #waitMs = FIRST_WAIT_MS;
  /** Of the connection that there is. */
  #connection: AbortController | null = null;
  #timer = 0;
  #hiddenTimer = 0;

  constructor(path: string, last: string, handlers: FollowHandlers) {
    this.#path = path;
    this.#last = last;
    this.#handlers = handlers;
  }

  watch(): void {
    const { signal } = this.#ended;
    document.addEventListener("visibilitychange", () => this.#seen(), { signal });
    if (!document.hidden) void this.#connect();
  }

  end(): void {
    this.#ended.abort();
    clearTimeout(this.#timer);
    clearTimeout(this.#hiddenTimer);
    this.#connection?.abort();
  }

  #seen(): void {
    clearTimeout(this.#hiddenTimer);
    if (document.hidden)
      this.#hiddenTimer = window.setTimeout(() => this.#connection?.abort(), HIDDEN_MS);
    else if (this.#connection === null) void this.#connect();
  }

  async #connect(): Promise<void> {
    clearTimeout(this.#timer);
    const connection = new AbortController();
    this.#connection = connection;
    let isGone = false;
    try {
      await this.#read(connection);
    } catch (error) {
      isGone = isMissing(error);
    }
    this.#connection = null;
    // Whoever looks again connects again.
    if (this.#ended.signal.aborted || document.hidden) return;
    this.#handlers.onState(isGone ? "gone" : "lost");
    if (isGone) return;
    this.#timer = window.setTimeout(() => void this.#connect(), this.#waitMs);
    this.#waitMs = Math.min(2 * this.#waitMs, LONGEST_WAIT_MS);
  }

  async #read(connection: AbortController): Promise<void> {
    let silence = 0;
    const heard = (): void => {
      clearTimeout(silence);
      silence = window.setTimeout(() => connection.abort(), SILENCE_MS);
    };
    try {
      heard();
      const response = await fetch(this.#path, {
        headers: requestHeaders({ "Last-Event-ID": this.#last }),
        signal: connection.signal,
      });
      if (!response.ok) throw new RequestError(response.status, await problemOf(response));
      isReachable.value = true;
      this.#handlers.onState("live");
      this.#waitMs = FIRST_WAIT_MS;
      const watched = new TransformStream<Uint8Array, Uint8Array>({
        transform(piece, controller) {
          heard();
          controller.enqueue(piece);
        },
      });
      const body = response.body?.pipeThrough(watched) ?? null;
      for await (const message of messagesOf(new Response(body))) {
        if (message.id !== "") this.#last = message.id;
        this.#handlers.onMessage(message);
      }
    } finally {
      clearTimeout(silence);
    }
  }
}
