import { describe, expect, it } from "vitest";
import { agree, differencesOf, otherByteOrder } from "../../src/cluster/agreement.ts";
import { memoryGroup } from "../helpers/memory-group.ts";

describe("members of a group", () => {
  it("are told which of them differs in what, with both values", async () => {
    const ends = await Promise.allSettled(
      memoryGroup(3).map((group, rank) =>
        agree(group, {
          version: rank === 2 ? "9.9.9" : "1.0.0",
          learning_rate: rank === 1 ? 2e-3 : 1e-3,
          data: rank === 0 ? null : `file ${rank}`,
        }),
      ),
    );
    const messages = ends.map((end) => (end.status === "rejected" ? String(end.reason) : ""));
    expect(messages[0]).toMatch(/rank 1 on .*: learning_rate is 0.002 there and 0.001 here/);
    expect(messages[0]).toMatch(/rank 2 on .*: version is "9.9.9" there and "1.0.0" here/);
    // Rank 0 has no data here, so nobody's are compared with them.
    expect(messages[0]).not.toContain("data is");
    expect(new Set(messages).size).toBe(1);
  });

  it("go on where they are of one mind", async () => {
    const hosts = await Promise.all(
      memoryGroup(2).map((group) => agree(group, { version: "1", steps: [1, { a: 2 }] })),
    );
    expect(hosts[0]).toHaveLength(2);
    expect(hosts[1]).toEqual(hosts[0]);
  });

  it("shorten what is too long to read", () => {
    const [text] = differencesOf([
      { host: "a", facts: { data: "x".repeat(500) } },
      { host: "b", facts: { data: "y".repeat(500) } },
    ]);
    expect(text?.length).toBeLessThan(250);
  });

  it("are refused where their numbers arrive in another byte order", async () => {
    const [first, second] = memoryGroup(2);
    if (first === undefined || second === undefined) throw new Error("two members");
    const swapped = new Int32Array(2);
    swapped[1] = 0x04030201;
    const other = second.allGather([swapped]).wait();
    await expect(agree(first, {})).rejects.toThrow(
      "rank 1 has another byte order: 0x01020304 arrives as 0x04030201",
    );
    await other;
    expect(otherByteOrder(1, -1).code).toBe("cluster.byte_order");
  });
});
