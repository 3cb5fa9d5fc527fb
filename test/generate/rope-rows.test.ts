import { describe, expect, it } from "vitest";
import { KnownRopeRows } from "../../src/generate/rope-rows.ts";
import { ropeTables } from "../../src/model/index.ts";
import type { RopeSettings } from "../../src/model/index.ts";

const SEQUENCE_LENGTH = 16_384;
const plain: RopeSettings = { headSize: 4, ropeTheta: 10_000, ropeScaling: { kind: "none" } };
const linear: RopeSettings = { ...plain, ropeScaling: { kind: "linear", factor: 4 } };

describe("known rows of rope tables", () => {
  it("are those of the tables, across blocks and after more positions than are kept", () => {
    const known = new KnownRopeRows(SEQUENCE_LENGTH);
    const places = [0, 5, 63, 64, 100, 16_000];
    for (let pass = 0; pass < 2; pass++) {
      for (const settings of [plain, linear]) {
        for (const firstPosition of places) {
          for (const rowCount of [1, 3, 64, 70]) {
            const wanted = ropeTables(settings, {
              ...{ rowCount, firstPosition },
              sequenceLength: SEQUENCE_LENGTH,
            });
            const { cosines, signedSines } = known.rows(settings, firstPosition, rowCount);
            expect([...cosines]).toEqual([...wanted.cosines]);
            expect([...signedSines]).toEqual([...wanted.signedSines]);
          }
        }
      }
      for (let at = 0; at < SEQUENCE_LENGTH; at += 64) known.rows(plain, at, 1);
    }
  });
});
