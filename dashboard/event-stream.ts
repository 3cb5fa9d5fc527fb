// Server-sent events by fetch: unlike EventSource it sends the page's key, and posts.
import { isReachable, problemOf, RequestError, requestHeaders } from "./api.ts";

export interface StreamMessage {
  readonly id: string;
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
        const data: string[] = [];
        for (const line of block.split(/\r?\n/)) {
          if (line.startsWith("id:")) id = line.slice(3).trim();
          else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
        }
        if (data.length > 0) yield { id, data: data.join("\n") };
      }
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}

/** The server tells of itself at least so often; a connection that is silent for longer is dead. */
const SILENCE_MS = 30_000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 5000;

export interface FollowHandlers {
  readonly onMessage: (message: StreamMessage) => void;
  readonly onState: (state: "live" | "lost") => void;
}

/** Follows a stream for ever: comes back after the last message that it had whenever the connection ends. */
export function follow(
  path: (after: string) => string,
  after: number,
  handlers: FollowHandlers,
): () => void {
  const abort = new AbortController();
  let last = String(after);
  let waitMs = FIRST_WAIT_MS;
  const connect = async (): Promise<void> => {
    const silence = new AbortController();
    const timer = { id: 0 };
    const heard = (): void => {
      clearTimeout(timer.id);
      timer.id = window.setTimeout(() => silence.abort(), SILENCE_MS);
    };
    try {
      heard();
      const response = await fetch(path(last), {
        headers: requestHeaders({ "Last-Event-ID": last }),
        signal: AbortSignal.any([abort.signal, silence.signal]),
      });
      if (!response.ok) throw new RequestError(response.status, await problemOf(response));
      isReachable.value = true;
      handlers.onState("live");
      waitMs = FIRST_WAIT_MS;
      const watched = new Response(
        response.body?.pipeThrough(
          new TransformStream<Uint8Array, Uint8Array>({
            transform(piece, controller) {
              heard();
              controller.enqueue(piece);
            },
          }),
        ) ?? null,
      );
      for await (const message of messagesOf(watched)) {
        if (message.id !== "") last = message.id;
        handlers.onMessage(message);
      }
    } catch {
      // Told by the state below.
    } finally {
      clearTimeout(timer.id);
    }
    if (abort.signal.aborted) return;
    handlers.onState("lost");
    window.setTimeout(() => {
      if (!abort.signal.aborted) void connect();
    }, waitMs);
    waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS);
  };
  void connect();
  return () => abort.abort();
}
