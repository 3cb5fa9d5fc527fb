import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Sequence } from "../../src/generate/sequence.ts";
import type { RowPlace } from "../../src/generate/sequence.ts";

const sizes = { layerCount: 2, keyValueHeadCount: 2, headSize: 3 };
const CAPACITY = 16;

/** A slot of a plan with two slots, which others have used. */
function placeOf(rowCount: number, slot: number): RowPlace {
  const size = sizes.keyValueHeadCount * rowCount * sizes.headSize;
  const numbers = (): Float32Array => new Float32Array(2 * size).fill(-7);
  const layers = Array.from({ length: sizes.layerCount }, () => ({
    keys: numbers(),
    values: numbers(),
  }));
  return { layers, start: slot * size, rowCount };
}

/** Where numbers of a position stand, with what makes each of them another one. */
function* numbersAt({ layers, start, rowCount }: RowPlace, position: number) {
  const { keyValueHeadCount, headSize } = sizes;
  for (const [layer, { keys, values }] of layers.entries()) {
    for (let head = 0; head < keyValueHeadCount; head++) {
      for (let channel = 0; channel < headSize; channel++) {
        const at = start + (head * rowCount + position) * headSize + channel;
        const salt = ((layer * 2 + head) * 3 + channel) / 64;
        yield { keys, values, at, salt };
      }
    }
  }
}

/** What a decoder does: writes rows into the slot, then counts them. */
function write(sequence: Sequence, place: RowPlace, tags: readonly number[]): void {
  for (const [row, tag] of tags.entries()) {
    for (const { keys, values, at, salt } of numbersAt(place, sequence.length + row)) {
      keys[at] = tag + salt;
      values[at] = -tag - salt;
    }
  }
  sequence.advance(tags.length);
}

function expectRows(place: RowPlace, tags: readonly number[]): void {
  for (const [position, tag] of tags.entries()) {
    for (const { keys, values, at, salt } of numbersAt(place, position)) {
      expect(keys[at]).toBe(tag + salt);
      expect(values[at]).toBe(-tag - salt);
    }
  }
}

const action = fc.oneof(
  fc.record({ kind: fc.constant("move"), to: fc.nat(2) }),
  fc.record({ kind: fc.constant("leave") }),
  fc.record({ kind: fc.constant("write"), count: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ kind: fc.constant("cut"), to: fc.nat(CAPACITY) }),
  fc.record({ kind: fc.constant("fork"), to: fc.nat(CAPACITY) }),
);

describe("a sequence's rows", () => {
  it("stay what was written, through slots, its own arrays, cuts and forks", () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 30 }), (actions) => {
        const places = [placeOf(CAPACITY, 0), placeOf(CAPACITY, 1), placeOf(2 * CAPACITY, 1)];
        let sequence = new Sequence(sizes);
        let tags: number[] = [];
        let next = 1;
        sequence.grow(CAPACITY);
        const moveTo = (index: number): RowPlace => {
          const place = places[index] ?? placeOf(CAPACITY, 0);
          sequence.moveTo(place);
          expectRows(place, tags);
          return place;
        };
        for (const each of actions) {
          if ("count" in each) {
            const place = sequence.place ?? moveTo(0);
            const added = Array.from({ length: each.count }, () => next++);
            if (tags.length + added.length > CAPACITY) continue;
            write(sequence, place, added);
            tags = [...tags, ...added];
          } else if (each.kind === "leave") {
            const left = sequence.place;
            sequence.leave();
            // Whoever comes next writes over what stood there.
            for (const { keys, values } of left?.layers ?? []) {
              keys.fill(NaN);
              values.fill(NaN);
            }
          } else if ("to" in each && each.kind === "move") moveTo(each.to);
          else if ("to" in each) {
            const length = Math.min(each.to, tags.length);
            const other = sequence;
            if (each.kind === "cut") sequence.truncate(length);
            else sequence = sequence.fork(length);
            if (each.kind === "fork") other.release();
            tags = tags.slice(0, length);
          }
          expect(sequence.length).toBe(tags.length);
        }
        moveTo(2);
      }),
    );
  });

  it("take no memory of their own while they stand in a slot", () => {
    const sequence = new Sequence(sizes);
    sequence.grow(CAPACITY);
    const place = placeOf(CAPACITY, 0);
    sequence.moveTo(place);
    write(sequence, place, [1, 2]);
    expect(sequence.place).toBe(place);
    sequence.release();
    expect(sequence).toMatchObject({ place: undefined, length: 0 });
  });
});
