import { assert, property, string } from "fast-check";
import { describe, expect, it } from "vitest";
import { didYouMean, editDistance, nearestName } from "../../src/util/nearest.ts";

describe("nearest names", () => {
  it.each([
    ["", "abc", 3],
    ["kitten", "sitting", 3],
    ["lerning", "learning", 1],
    ["acb", "abc", 1],
    ["same", "same", 0],
  ])("%j is %j after %i edits", (a, b, edits) => {
    expect(editDistance(a, b)).toBe(edits);
  });

  it("distances are symmetric, zero for equal words alone, and bounded by the longer word", () => {
    assert(
      property(string({ maxLength: 12 }), string({ maxLength: 12 }), (a, b) => {
        const distance = editDistance(a, b);
        expect(distance).toBe(editDistance(b, a));
        expect(distance === 0).toBe(a === b);
        expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length));
      }),
    );
  });

  it("finds what was meant, whatever its case, and nothing where nothing is near", () => {
    const names = ["learning_rate", "batch_size", "nanogpt-char"];
    expect(nearestName("lerning_rate", names)).toBe("learning_rate");
    expect(nearestName("BATCH_SIZE", names)).toBe("batch_size");
    // The misspelt beginning of a long name.
    expect(nearestName("nanogtp", names)).toBe("nanogpt-char");
    expect(nearestName("zzzzzzzzzz", names)).toBeUndefined();
    expect(nearestName("x", [])).toBeUndefined();
    expect(didYouMean("batch_sise", names)).toBe(' Did you mean "batch_size"?');
    expect(didYouMean("zzzzzzzzzz", names)).toBe("");
  });

  it("a very long word takes no time", () => {
    expect(nearestName("a".repeat(1_000_000), ["learning_rate"])).toBeUndefined();
  });
});
