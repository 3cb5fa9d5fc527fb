import { describe, expect, it } from "vitest";
import { PieceBox } from "../../src/generate/service/piece-box.ts";

/** Longer than any test takes. */
const LONG_MS = 600_000;

function boxOf(intervalMs: number) {
  const sent: (readonly number[])[] = [];
  const box = new PieceBox<number>({ intervalMs, send: (pieces) => void sent.push(pieces) });
  return { box, sent };
}

describe("pieces on their way to a client", () => {
  it("of one turn leave together, at once where nothing left lately", async () => {
    const { box, sent } = boxOf(LONG_MS);
    box.add(1, "soon");
    box.add(2, "soon");
    expect(sent).toEqual([]);
    await Promise.resolve();
    expect(sent).toEqual([[1, 2]]);
  });

  it("wait for others after that, and leave in order with one that does not wait", async () => {
    const { box, sent } = boxOf(LONG_MS);
    box.add(1, "now");
    await Promise.resolve();
    box.add(2, "soon");
    box.add(3, "soon");
    await Promise.resolve();
    expect(sent).toEqual([[1]]);
    box.add(4, "now");
    await Promise.resolve();
    expect(sent).toEqual([[1], [2, 3, 4]]);
    box.add(5, "soon");
    box.flush();
    box.flush();
    expect(sent).toEqual([[1], [2, 3, 4], [5]]);
  });

  it("that nobody waits for leave with the next that do, or at the end", async () => {
    const { box, sent } = boxOf(0);
    box.add(1, "later");
    await Promise.resolve();
    expect(sent).toEqual([]);
    box.add(2, "soon");
    await Promise.resolve();
    box.add(3, "later");
    box.flush();
    expect(sent).toEqual([[1, 2], [3]]);
  });

  it("leave by themselves where no other comes", async () => {
    const sent = await new Promise<readonly number[]>((resolve) => {
      const box = new PieceBox<number>({
        intervalMs: 1,
        send: (pieces) => {
          if (pieces.includes(2)) resolve(pieces);
          else box.add(2, "soon");
        },
      });
      box.add(1, "now");
    });
    expect(sent).toEqual([2]);
  });

  it("leave turn by turn where there is no interval", async () => {
    const { box, sent } = boxOf(0);
    for (const piece of [1, 2, 3]) {
      box.add(piece, "soon");
      await Promise.resolve();
    }
    expect(sent).toEqual([[1], [2], [3]]);
  });
});
