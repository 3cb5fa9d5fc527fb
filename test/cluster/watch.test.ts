import { describe, expect, it } from "vitest";
import type { Communicator, Mpi, MpiMemory } from "../../src/cluster/mpi/mpi.ts";
import { StallWatch } from "../../src/cluster/mpi/watch.ts";
import type { OwnProgress } from "../../src/cluster/mpi/watch.ts";

const STALL_SECONDS = 10;

/** Members whose messages pass through memory, and what rank 0 and rank 1 tell. */
class Members {
  readonly told: string[] = [];
  readonly #mail: Uint8Array[][];
  readonly #watches: readonly StallWatch[];

  constructor(size: number) {
    this.#mail = Array.from({ length: size }, () => []);
    this.#watches = this.#mail.map((own, rank) => {
      const mpi = {
        rank: () => rank,
        size: () => size,
        send: (_: Communicator, memory: MpiMemory, length: number, to: number) => {
          this.#mail[to]?.push(memory.bytes.slice(0, length));
          return { isDone: () => true };
        },
        takeArrived: (_: Communicator, memory: MpiMemory) => {
          const letter = own.shift();
          if (letter !== undefined) memory.bytes.set(letter);
          return letter !== undefined;
        },
      };
      const tell = (text: string): void => void this.told.push(`${rank}: ${text}`);
      return new StallWatch(mpi as unknown as Mpi, 0n as Communicator, STALL_SECONDS, tell);
    });
  }

  /** Members that live, from one second to another; each is as `of` says at that time. */
  pass(from: number, to: number, of: (rank: number) => OwnProgress | undefined): void {
    for (let ms = 1000 * from; ms < 1000 * to; ms += 250)
      this.#watches.forEach((watch, rank) => {
        const own = of(rank);
        if (own !== undefined) watch.step(ms, own);
      });
  }
}

const busy = (begun: number): OwnProgress => ({
  ...{ begun, step: 3, isWorking: true, waiting: undefined },
});
const alone = (begun: number): OwnProgress => ({ ...busy(begun), isWorking: false });
const waits = (begun: number, second: number): OwnProgress => ({
  ...busy(begun),
  waiting: { kind: "allReduce", sinceMs: 1000 * second },
});

describe("members that stall", () => {
  it("are told of by rank 0 where they live and do not come, once", () => {
    const members = new Members(3);
    members.pass(0, 30, (rank) => (rank === 2 ? busy(6) : waits(7, 1)));
    expect(members.told).toHaveLength(1);
    expect(members.told[0]).toMatch(
      /^0: rank 2 on .* has not come to an exchange for 1\d\.\d s \(step 3\): .* stuck or slow/,
    );
  });

  it("are nobody's business while they work on their own, rank 0 among them", () => {
    const members = new Members(3);
    // Two wait for a command while rank 0 evaluates, writes or has not yet read its data.
    members.pass(0, 60, (rank) => (rank === 0 ? alone(6) : { ...waits(7, 1), isWorking: false }));
    expect(members.told).toEqual([]);
    // Rank 0 that is stuck in an update is another thing.
    members.pass(60, 90, (rank) => (rank === 0 ? busy(6) : waits(7, 1)));
    expect(members.told.map((text) => text.slice(0, 11)).sort()).toEqual([
      "1: rank 0 o",
      "2: rank 0 o",
    ]);
  });

  it("and all wait for each other: rank 0 tells once where each of them stands", () => {
    const members = new Members(3);
    members.pass(0, 40, (rank) => waits(7 + rank, rank));
    expect(members.told).toHaveLength(1);
    const [text = ""] = members.told;
    expect(text).toMatch(/^0: nothing moves: every process waits for another\n/);
    expect(text).toMatch(
      /rank 1 on .*: after step 3, exchange 8, waits for allReduce, for \d+\.\d s/,
    );
    expect(text.split("\n")).toHaveLength(4);
    // It went on, and stands again.
    members.pass(40, 41, (rank) => busy(20 + rank));
    members.pass(41, 60, (rank) => waits(21 + rank, 41));
    expect(members.told).toHaveLength(2);
  });

  it("are told of where they are silent, and where they are back", () => {
    const members = new Members(2);
    members.pass(0, 2, () => busy(1));
    members.pass(2, 14, (rank) => (rank === 1 ? undefined : busy(2)));
    expect(members.told).toEqual([expect.stringMatching(/rank 1 on .* has said nothing for 10/)]);
    members.pass(14, 16, () => busy(3));
    expect(members.told[1]).toMatch(/rank 1 on .* is back after/);
  });
});
