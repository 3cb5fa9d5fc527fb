import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { partOf } from "../../src/engine/collective.ts";
import { writeSafetensors } from "../../src/model/index.ts";
import { WireLosses } from "../../src/train/step/wire-losses.ts";
import { lossesNotice, SavedLosses, saveLosses } from "../../src/train/run/wire-state.ts";
import { temporaryFolder } from "../helpers/cli.ts";

const LENGTH = 7;
const LAYOUT = { replicaCount: 2, isSharded: false };

function lostBy(replica: number, copy: number): Float32Array {
  return Float32Array.from({ length: LENGTH }, (_, i) => 100 * copy + 10 * replica + i);
}

/** Two processes' losses of a weight, and of a table that two stages hold. */
function saved(folder: string): void {
  const places = [0, 1].flatMap((replica) => [
    { weight: "w", replica, copy: 0, length: LENGTH },
    ...[0, 1].map((copy) => ({ weight: "table", replica, copy, length: LENGTH })),
  ]);
  const read = ({ replica, copy }: (typeof places)[number] | { replica: number; copy: number }) =>
    lostBy(replica, copy);
  saveLosses(folder, { layout: LAYOUT, unit: 4, places, read });
}

function opened(folder: string): SavedLosses {
  const found = SavedLosses.open(folder);
  if (found === undefined) throw new Error("there is none");
  return found;
}

describe("what rounding on the wire lost", () => {
  it("comes back to each process where as many go on, and as a sum to others, at those who send it", () => {
    const folder = temporaryFolder();
    saved(folder);
    const losses = opened(folder);
    expect(losses).toMatchObject({ layout: LAYOUT, unit: 4 });
    const place = { weight: "w", replica: 1, copy: 0, copyCount: 1 };
    expect(losses.shareOf(place, LENGTH, LAYOUT)).toEqual(lostBy(1, 0));
    const table = { weight: "table", replica: 1, copy: 1, copyCount: 2 };
    expect(losses.shareOf(table, LENGTH, LAYOUT)).toEqual(lostBy(1, 1));
    for (const { weight, copies } of [
      { weight: "w", copies: [0] },
      { weight: "table", copies: [0, 1] },
    ]) {
      const total = Float32Array.from({ length: LENGTH }, (_, i) =>
        copies.reduce(
          (sum, copy) => sum + (lostBy(0, copy)[i] ?? 0) + (lostBy(1, copy)[i] ?? 0),
          0,
        ),
      );
      const now = { replicaCount: 3, isSharded: true };
      const shares = [0, 1, 2].map((replica) =>
        losses.shareOf({ weight, replica, copy: 0, copyCount: 1 }, LENGTH, now),
      );
      const sum = total.map((_, i) => shares.reduce((all, share) => all + (share[i] ?? 0), 0));
      expect(sum).toEqual(total);
      // Nobody sends itself anything.
      shares.forEach((share, replica) =>
        expect(share.subarray(...partOf(LENGTH, replica, 3)).every((value) => value === 0)).toBe(
          true,
        ),
      );
    }
    losses.close();
  });

  it("is told of where it does not go on as it was", () => {
    const [folder, empty] = [temporaryFolder(), temporaryFolder()];
    saved(folder);
    expect(lossesNotice(folder, LAYOUT)).toBeUndefined();
    expect(lossesNotice(folder, { ...LAYOUT, isSharded: true })).toContain("sharded");
    expect(lossesNotice(folder, undefined)).toContain("is dropped");
    expect(lossesNotice(empty, undefined)).toBeUndefined();
    expect(lossesNotice(empty, LAYOUT)).toContain("does not have");
  });

  it("is refused where it is of a later format, damaged or of another model", () => {
    const folder = temporaryFolder();
    const write = (metadata: Record<string, string>): void =>
      writeSafetensors(join(folder, "wire.safetensors"), [], metadata);
    write({ version: "2", replicas: "2", sharded: "false", unit: "1" });
    expect(() => SavedLosses.open(folder)).toThrow("is of format version 2");
    write({ version: "1", replicas: "-1", sharded: "false", unit: "1" });
    expect(() => SavedLosses.open(folder)).toThrow("does not say of how many processes");
    writeFileSync(join(folder, "wire.safetensors"), "no such file");
    expect(() => SavedLosses.open(folder)).toThrow();
    saved(folder);
    const losses = opened(folder);
    expect(() => losses.read({ weight: "x", replica: 0, copy: 0 }, LENGTH)).toThrow(
      "x@0 is missing, 28 of F32 are wanted",
    );
    expect(() => losses.read({ weight: "w", replica: 0, copy: 0 }, 8)).toThrow("w@0 has 28 bytes");
    losses.close();
  });

  it("follows the loss scale", () => {
    const losses = new WireLosses();
    losses.of("gradient:w", 2).set([1, -2]);
    losses.useUnit(8);
    expect(losses.of("gradient:w", 2)).toEqual(Float32Array.of(8, -16));
    losses.useUnit(2);
    expect(losses.of("gradient:w", 2)).toEqual(Float32Array.of(2, -4));
  });
});
