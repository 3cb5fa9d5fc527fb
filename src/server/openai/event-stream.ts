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
  // The length is not known: without this the first events would be held back to see whether they are all.
  context.header("Transfer-Encoding", "chunked");
  const events = new EventText(leave);
  void write(events, work);
  return context.body(events.body);
}

async function write(events: EventText, work: (sink: EventSink) => Promise<void>): Promise<void> {
  try {
    await work(events);
    events.end("[DONE]");
  } catch (error) {
    const refusal =
      error instanceof Refusal
        ? error
        : new Refusal(500, "something went wrong inside the server", { code: "internal_error" });
    events.end(JSON.stringify(errorBody(refusal)));
  }
}

/** Events as text, in the order in which they are sent. Those of one turn, or for a client that reads slowly, go out at once. */
class EventText implements EventSink {
  readonly body: ReadableStream<Uint8Array>;
  readonly #encoder = new TextEncoder();
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #pending = "";
  /** Whether what was given before has been written. */
  #isWanted = false;
  #isScheduled = false;
  #hasEnded = false;

  constructor(leave: AbortController) {
    this.body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => {
          this.#isWanted = true;
          this.#flush();
        },
        cancel: () => {
          this.#hasEnded = true;
          leave.abort();
        },
      },
      // Nothing is kept here beside what is pending.
      { highWaterMark: 0 },
    );
  }

  send(data: unknown): void {
    if (this.#hasEnded) return;
    this.#pending += `data: ${JSON.stringify(data)}\n\n`;
    if (!this.#isWanted || this.#isScheduled) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      if (this.#isWanted) this.#flush();
    });
  }

  /** Sends a last text; nothing follows. */
  end(data: string): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#pending += `data: ${data}\n\n`;
    this.#flush();
    this.#controller?.close();
  }

  #flush(): void {
    if (this.#pending === "") return;
    const text = this.#pending;
    this.#pending = "";
    this.#isWanted = false;
    this.#controller?.enqueue(this.#encoder.encode(text));
  }
}
