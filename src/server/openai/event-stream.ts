import { stream } from "hono/streaming";
import type { ApplicationContext } from "../application.ts";
import { errorBody, Refusal } from "../errors.ts";

/** Where the pieces of a streamed answer go. */
export interface EventSink {
  /** Sends an object as an event. */
  send(data: unknown): void;
}

/** Keeps what is sent before the answer is begun. */
export class EventQueue implements EventSink {
  #kept: unknown[] = [];
  #sink: EventSink | undefined;

  send(data: unknown): void {
    if (this.#sink === undefined) this.#kept.push(data);
    else this.#sink.send(data);
  }

  /** Sends on to `sink`: first these, then what was kept. */
  begin(sink: EventSink, first: readonly unknown[] = []): void {
    for (const data of [...first, ...this.#kept]) sink.send(data);
    this.#kept = [];
    this.#sink = sink;
  }
}

/**
 * Answers with server-sent events as OpenAI does: an object each, `[DONE]` at the end. What goes wrong once the answer was
 * begun is the last object. `work` ends early where the client leaves: its signal is the request's.
 */
export function eventStream(
  context: ApplicationContext,
  leave: AbortController,
  work: (sink: EventSink) => Promise<void>,
): Response {
  context.header("Content-Type", "text/event-stream");
  context.header("Cache-Control", "no-cache");
  context.header("X-Accel-Buffering", "no");
  return stream(context, async (out) => {
    out.onAbort(() => leave.abort());
    // Writes are queued in their order; closing waits for them.
    const send = (data: unknown): void => void out.write(`data: ${JSON.stringify(data)}\n\n`);
    try {
      await work({ send });
      await out.write("data: [DONE]\n\n");
    } catch (error) {
      send(
        errorBody(
          error instanceof Refusal
            ? error
            : new Refusal(500, "something went wrong inside the server", {
                code: "internal_error",
              }),
        ),
      );
    }
  });
}
