import { appendFileSync, cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EventLog, eventsPath, readEvents, readStream } from "../../src/runs/event-log.ts";
import { EventLines } from "../../src/runs/event-lines.ts";
import type { NumberedEvent, UntimedEvent } from "../../src/runs/events.ts";
import { temporaryFolder } from "../helpers/cli.ts";

const OLD_RUN = fileURLToPath(new URL("../fixtures/first-round/gpt2-cpu", import.meta.url));

const notice = (step: number, message = ""): UntimedEvent => ({ kind: "notice", step, message });

function logOf(folder: string, events: readonly UntimedEvent[]): void {
  const log = new EventLog(eventsPath(folder));
  for (const event of events) log.append(event);
  log.close();
}

const numbers = (events: Iterable<NumberedEvent>): readonly number[] =>
  Array.from(events, ({ sequence }) => sequence);

describe("a run's log", () => {
  it("numbers its events through every process that writes it, and never writes a byte again", () => {
    const folder = temporaryFolder();
    const path = eventsPath(folder);
    logOf(folder, [notice(1), notice(2), notice(3)]);
    const before = readFileSync(path, "utf8");
    logOf(folder, [{ kind: "rewind", step: 1 }, notice(2, "again")]);
    expect(readFileSync(path, "utf8").startsWith(before)).toBe(true);
    expect(numbers(readStream(path))).toEqual([1, 2, 3, 4, 5]);
    // What holds: step 1, and step 2 as it was told again.
    expect(numbers(readEvents(path))).toEqual([1, 5]);
    logOf(folder, [{ kind: "rewind", step: 0, anew: true }, notice(0, "new")]);
    expect(numbers(readEvents(path))).toEqual([7]);
  });

  it("ends a line that a crash cut off before it goes on", () => {
    const folder = temporaryFolder();
    logOf(folder, [notice(1), notice(2)]);
    appendFileSync(eventsPath(folder), '{"sequence":3,"t":1,"kind":"noti');
    logOf(folder, [notice(3)]);
    expect(readEvents(eventsPath(folder)).map(({ step }) => step)).toEqual([1, 2, 3]);
    expect(numbers(readEvents(eventsPath(folder)))).toEqual([1, 2, 3]);
  });

  it("of version 0.1.0 has the numbers of its lines, and goes on after them", () => {
    const folder = temporaryFolder();
    cpSync(OLD_RUN, folder, { recursive: true });
    const path = eventsPath(folder);
    const lineCount = readFileSync(path, "utf8").trimEnd().split("\n").length;
    const old = readEvents(path);
    expect(old.length).toBeGreaterThan(3);
    expect(old.at(-1)?.sequence).toBe(lineCount);
    logOf(folder, [notice(9)]);
    expect(readEvents(path).at(-1)).toMatchObject({ sequence: lineCount + 1, step: 9 });
  });

  it("of a later version is refused by name, read and written", () => {
    const path = join(temporaryFolder(), "events.ndjson");
    writeFileSync(path, '{"kind":"start","version":3,"t":1,"step":0}\n');
    const message = /events\.ndjson is of version 3; this Anecdote reads up to version 2/;
    expect(() => readEvents(path)).toThrow(message);
    expect(() => new EventLog(path)).toThrow(message);
  });

  it("is read the same whatever pieces its bytes come in", () => {
    const folder = temporaryFolder();
    logOf(folder, [notice(1, "é\n"), notice(2, "日本"), notice(3, "🙂")]);
    const bytes = readFileSync(eventsPath(folder));
    const whole = [...new EventLines("whole").push(bytes)];
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: bytes.length })), (cuts) => {
        const lines = new EventLines("pieces");
        const events: NumberedEvent[] = [];
        let from = 0;
        for (const to of [...cuts.sort((a, b) => a - b), bytes.length]) {
          events.push(...lines.push(bytes.subarray(from, to)));
          from = to;
        }
        expect([...events, ...lines.end()]).toEqual(whole);
      }),
    );
  });
});
