import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { EventLog, eventsPath, readEvents } from "../../src/runs/event-log.ts";
import { afterRewind } from "../../src/runs/events.ts";
import type { NumberedEvent, UntimedEvent } from "../../src/runs/events.ts";
import { followEvents } from "../../src/runs/follow-events.ts";
import type { FollowOptions } from "../../src/runs/follow-events.ts";
import { finished, runCli, startCli, temporaryFolder, tinyTraining } from "../helpers/cli.ts";

const notice = (step: number): UntimedEvent => ({ kind: "notice", step, message: "x".repeat(50) });

/** What a reader gets until it has so many events. */
async function take(
  folder: string,
  count: number,
  options: FollowOptions = {},
): Promise<readonly NumberedEvent[]> {
  const events: NumberedEvent[] = [];
  if (count === 0) return events;
  for await (const event of followEvents(folder, { pollMs: 5, ...options })) {
    events.push(event);
    if (events.length === count) break;
  }
  return events;
}

/** What holds of a stream, as a page keeps it. */
function holding(stream: readonly NumberedEvent[]): readonly NumberedEvent[] {
  let events: NumberedEvent[] = [];
  for (const event of stream) {
    if (event.kind === "rewind") events = afterRewind(events, event);
    else events.push(event);
  }
  return events;
}

describe("following a run", () => {
  it("waits for the log, tells what is written, and what a reader that comes back has missed", async () => {
    const folder = temporaryFolder();
    const first = take(folder, 3);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const log = new EventLog(eventsPath(folder));
    for (let step = 1; step <= 3000; step++) log.append(notice(step));
    expect((await first).map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
    // Far from the end, near it, and at it.
    for (const after of [1, 500, 2990, 2999]) {
      const [next] = await take(folder, 1, { after });
      expect(next).toMatchObject({ sequence: after + 1, step: after + 1 });
    }
    const coming = take(folder, 1, { after: "end" });
    await new Promise((resolve) => setTimeout(resolve, 50));
    log.append(notice(3001));
    expect(await coming).toMatchObject([{ sequence: 3001 }]);
    log.close();
  });

  it("ends when it is aborted, and once nobody writes any more, with all that was written", async () => {
    const folder = temporaryFolder();
    const abort = new AbortController();
    const waiting = take(folder, 1, { signal: abort.signal });
    setTimeout(() => abort.abort(), 20);
    expect(await waiting).toEqual([]);
    const log = new EventLog(eventsPath(folder));
    log.append(notice(1));
    log.close();
    expect(await take(folder, 9, { isOver: () => true })).toHaveLength(1);
  });

  it("takes everything back where a process of version 0.1.0 wrote the log anew", async () => {
    const folder = temporaryFolder();
    const path = join(folder, "events.ndjson");
    const line = (step: number): string =>
      `${JSON.stringify({ t: 1, kind: "notice", step, message: "" })}\n`;
    writeFileSync(path, line(1) + line(2) + line(3));
    const stream = followEvents(folder, { pollMs: 5 });
    const next = async (): Promise<NumberedEvent | undefined> =>
      (await stream.next()).value ?? undefined;
    const seen = [await next(), await next(), await next()];
    // As its resume did: the steps that are done again are gone.
    rmSync(path);
    writeFileSync(path, line(1) + line(2));
    seen.push(await next(), await next(), await next());
    await stream.return();
    expect(seen.map((event) => [event?.kind, event?.sequence, event?.step])).toEqual([
      ...[
        ["notice", 1, 1],
        ["notice", 2, 2],
        ["notice", 3, 3],
      ],
      ...[
        ["rewind", 0, 0],
        ["notice", 1, 1],
        ["notice", 2, 2],
      ],
    ]);
  });

  it("goes through a kill and a resume that rewinds: numbers only grow, and what holds is the log", async () => {
    const folder = temporaryFolder();
    const run = join(folder, "run");
    const args = (steps: number): string[] =>
      tinyTraining(folder, run, [
        ...["--max-steps", String(steps), "--save-steps", "20", "--logging-steps", "1"],
        ...["--eval-steps", "0", "--resume", "--json"],
      ]);
    let isOver = false;
    const stream: NumberedEvent[] = [];
    const following = (async () => {
      for await (const event of followEvents(run, { pollMs: 5, isOver: () => isOver }))
        stream.push(event);
    })();
    const child = startCli(args(100_000));
    const end = finished(child);
    // Some steps past a checkpoint, so that the resume goes back.
    const isPast = (): boolean =>
      existsSync(join(run, "checkpoint-20")) && (stream.at(-1)?.step ?? 0) % 20 > 3;
    while (!isPast()) await new Promise((resolve) => setTimeout(resolve, 1));
    child.kill("SIGKILL");
    await end;
    const last = readEvents(eventsPath(run)).at(-1)?.step ?? 0;
    const resumed = await runCli(args(last + 5));
    expect(resumed.code, resumed.stderr).toBe(0);
    isOver = true;
    await following;
    const sequences = stream.map(({ sequence }) => sequence);
    expect(sequences).toEqual(sequences.map((_, index) => index + 1));
    const rewind = stream.find(({ kind }) => kind === "rewind");
    expect(rewind?.step).toBeLessThan(last);
    expect(holding(stream)).toEqual(readEvents(eventsPath(run)));
    const steps = holding(stream).flatMap(({ kind, step }) => (kind === "step" ? [step] : []));
    expect(steps).toEqual(Array.from({ length: last + 5 }, (_, index) => index + 1));
    // What the resumed process printed is the end of the stream.
    const printed = resumed.stdout.trimEnd().split("\n");
    expect(
      readFileSync(eventsPath(run), "utf8").trimEnd().split("\n").slice(-printed.length),
    ).toEqual(printed);
  }, 60_000);
});
