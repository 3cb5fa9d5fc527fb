import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { modelOf, parseModelConfig } from "../../src/model/index.ts";
import { verifyCheckpoint } from "../../src/runs/checkpoint.ts";
import { runBuffers } from "../../src/train/run/checkpoint-contents.ts";
import type { RunFiles } from "../../src/train/run/checkpoint-contents.ts";
import { ControlBlock } from "../../src/train/run/control.ts";
import { saveCheckpoint } from "../../src/train/run/save-checkpoint.ts";
import type { SaveOrder } from "../../src/train/run/save-checkpoint.ts";
import { SavesBeside } from "../../src/train/run/saves-beside.ts";
import type { SavedBeside } from "../../src/train/run/saves-beside.ts";
import { elementCount, staticShape } from "../../src/mil/types.ts";
import { trainableWeights } from "../../src/model/index.ts";
import { LLAMA_JSON } from "../model/configs.ts";

const { config, parameters } = modelOf(parseModelConfig(LLAMA_JSON));
const FILES: RunFiles = { model: config, parameters, tokenizer: undefined };

/** Weights and moments, each number telling of its place. */
function buffers(): Map<string, Float32Array> {
  const sizes = new Map(
    trainableWeights(parameters).map(({ name, type }) => [name, elementCount(staticShape(type))]),
  );
  return new Map(
    runBuffers(parameters).map((name, index) => {
      const weight = [...sizes.keys()].find((one) => name.endsWith(one)) ?? "";
      const count = sizes.get(weight) ?? 0;
      return [name, Float32Array.from({ length: count }, (_, at) => index + at / count)];
    }),
  );
}

let root = "";
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "anecdote-beside-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const order = (run: string, step = 7): SaveOrder => ({
  ...{ runFolder: join(root, run), step, state: { step, config: { seed: 1 } }, limit: 2 },
  ...{ best: { step, evalLoss: 1.5 }, keptStep: step },
});

interface Saver {
  readonly saves: SavesBeside;
  readonly saved: SavedBeside[];
  readonly notes: string[];
  readonly control: ControlBlock;
}

function saver(freeBytes = 2 ** 40): Saver {
  const saved: SavedBeside[] = [];
  const notes: string[] = [];
  const control = new ControlBlock();
  const saves = new SavesBeside({
    ...{ files: FILES, control, leastBytes: 0, freeBytes: () => freeBytes },
    onSaved: (one) => void saved.push(one),
    onNoRoom: (message) => void notes.push(message),
  });
  return { saves, saved, notes, control };
}

describe("a checkpoint that is written beside steps", () => {
  it("has the bytes of one that is waited for, of the moment it was begun", async () => {
    const numbers = buffers();
    const viewOf = (name: string): Float32Array => numbers.get(name) ?? new Float32Array();
    const there = saveCheckpoint(order("waited"), FILES, viewOf);
    const { saves, saved, control } = saver();
    expect(saves.suits(viewOf)).toBe(true);
    await saves.begin(order("beside"), viewOf);
    expect(control.isSavingBeside).toBe(true);
    // The next step changes everything.
    for (const view of numbers.values()) view.fill(-1);
    await saves.settle();
    expect(control.isSavingBeside).toBe(false);
    const [one] = saved;
    expect(one?.saved.byteLength).toBe(there.byteLength);
    expect(one && one.waitedMs <= one.elapsedMs).toBe(true);
    const beside = join(root, "beside", "checkpoint-7");
    verifyCheckpoint(beside);
    for (const name of ["checksums.json", "model.safetensors", "optimizer.safetensors"])
      expect(readFileSync(join(beside, name)).equals(readFileSync(join(there.folder, name)))).toBe(
        true,
      );
    expect(JSON.parse(readFileSync(join(root, "beside", "best.json"), "utf8"))).toMatchObject({
      step: 7,
    });
    // The next one is waited for by whoever begins it, and has the numbers that stand then.
    await saves.begin(order("beside", 8), viewOf);
    await saves.begin(order("beside", 9), viewOf);
    await saves.close();
    expect(saved.map(({ order: { step } }) => step)).toEqual([7, 8, 9]);
    verifyCheckpoint(join(root, "beside", "checkpoint-9"));
  });

  it("tells at the next step why it could not be written, and leaves what was there", async () => {
    const numbers = buffers();
    const viewOf = (name: string): Float32Array => numbers.get(name) ?? new Float32Array();
    writeFileSync(join(root, "taken"), "a file");
    const { saves, saved, control } = saver();
    await saves.begin(order("taken/run"), viewOf);
    await expect(saves.settle()).rejects.toThrow(/cannot make the folder/);
    expect(control.isSavingBeside).toBe(false);
    expect(saved).toEqual([]);
    expect(() => saves.require()).not.toThrow();
    // The thread goes on.
    await saves.begin(order("other"), viewOf);
    await saves.close();
    verifyCheckpoint(join(root, "other", "checkpoint-7"));
  });

  it("is waited for where its copy has no room, and the run says so once", () => {
    const numbers = buffers();
    const viewOf = (name: string): Float32Array => numbers.get(name) ?? new Float32Array();
    const { saves, notes } = saver(2 ** 20);
    expect([saves.suits(viewOf), saves.suits(viewOf)]).toEqual([false, false]);
    expect(notes).toHaveLength(1);
    expect(notes[0]).toMatch(/training waits for its checkpoints: the copy .* are free/);
  });
});
