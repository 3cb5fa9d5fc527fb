import { fileURLToPath } from "node:url";
import { describe, expect, it, vi } from "vitest";
import { finished } from "../helpers/cli.ts";
import { needsMpi, startMpi, WITHOUT_MPI } from "../helpers/mpi.ts";

// Several processes a test, each of which starts a runtime of its own.
vi.setConfig({ testTimeout: 240_000 });

const PROGRAM = fileURLToPath(new URL("./programs/exchanges.mjs", import.meta.url));

interface Member {
  readonly rank: number;
  readonly size: number;
  readonly found: Readonly<Record<string, unknown>>;
}

describe.skipIf(WITHOUT_MPI !== undefined)(needsMpi("processes that mpirun starts"), () => {
  it("exchange, with one tree of sums for all", async () => {
    const size = 3;
    const { code, stdout, stderr } = await finished(
      startMpi(["-np", String(size), process.execPath, PROGRAM]),
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const members = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Member)
      .sort((a, b) => a.rank - b.rank);
    expect(members.map(({ rank }) => rank)).toEqual([...members.keys()]);
    for (const { rank, found } of members) {
      for (const [name, value] of Object.entries(found))
        if (name.startsWith("sums of"))
          expect({ name, value }).toEqual({ name, value: [true, true, true, true, true] });
      expect(found["integers"]).toEqual(members.map((_, member) => member + 1));
      // A half has 11 bits, and each of a sum's terms and the sum itself are rounded to them.
      expect(found["halfError"]).toBeLessThan((size + 1) * 2 ** -11);
      expect(found["halfMeanError"]).toBeLessThan(Number(found["halfError"]) / 8);
      expect(found).toMatchObject({
        infinite: true,
        halvesAlike: true,
        letters: true,
        hasSent: true,
        refusal: "cluster.member",
        broadcast: [size - 1, 7, 9],
        split: members.map((member) => member.rank).filter((other) => other % 2 === rank % 2),
      });
    }
  });
});
