import { RunError } from "./errors.ts";
import { EVENTS_VERSION, trainEventSchema } from "./events.ts";
import type { NumberedEvent } from "./events.ts";

const NEWLINE = 0x0a;

/**
 * Turns the bytes of a log into events as they come. A line that a crash cut off, and kinds this version does not know,
 * are passed over. Throws `RunError` `run.events.version` for a log of a later version.
 */
export class EventLines {
  readonly #name: string;
  /** Bytes of a line whose end has not come. */
  #rest: Uint8Array = new Uint8Array();
  #position: number;

  /** `position`: lines before the first byte, for events without a number. */
  constructor(name: string, position = 0) {
    this.#name = name;
    this.#position = position;
  }

  push(bytes: Uint8Array): readonly NumberedEvent[] {
    const events: NumberedEvent[] = [];
    const data = this.#rest.byteLength === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    let start = 0;
    for (
      let end = data.indexOf(NEWLINE, start);
      end >= 0;
      end = data.indexOf(NEWLINE, (start = end + 1))
    ) {
      const event = this.#event(data.subarray(start, end));
      if (event !== undefined) events.push(event);
    }
    this.#rest = data.slice(start);
    return events;
  }

  /** The last line where nothing ended it: whole, or cut off. */
  end(): readonly NumberedEvent[] {
    const event = this.#rest.byteLength === 0 ? undefined : this.#event(this.#rest);
    this.#rest = new Uint8Array();
    return event === undefined ? [] : [event];
  }

  #event(line: Uint8Array): NumberedEvent | undefined {
    this.#position++;
    let content: unknown;
    try {
      content = JSON.parse(Buffer.from(line.buffer, line.byteOffset, line.byteLength).toString());
    } catch {
      return undefined; // cut off by a crash
    }
    requireVersion(content, this.#name);
    const event = trainEventSchema.safeParse(content);
    if (!event.success) return undefined;
    const { sequence = this.#position } = event.data;
    return { ...event.data, sequence };
  }
}

/** Throws `RunError` `run.events.version` where this is what a later version begins a run with. */
export function requireVersion(content: unknown, name: string): void {
  if (typeof content !== "object" || content === null) return;
  const { kind, version } = content as { readonly kind?: unknown; readonly version?: unknown };
  if (kind !== "start" || typeof version !== "number" || version <= EVENTS_VERSION) return;
  throw new RunError(
    "run.events.version",
    `${name} is of version ${version}; this Anecdote reads up to version ${EVENTS_VERSION}`,
    { remedy: "Update Anecdote." },
  );
}
