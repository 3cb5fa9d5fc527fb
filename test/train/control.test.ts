import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { ControlBlock } from "../../src/train/run/control.ts";
import { packageUrl } from "../../src/util/source-layout.ts";

/** Publishes states of many lengths whose every part says the step, as fast as it can. */
const WRITER = `
const { workerData, parentPort } = require("node:worker_threads");
import(workerData.control).then(({ ControlBlock }) => {
  const block = new ControlBlock(workerData.buffer);
  const word = new Int32Array(workerData.stop);
  let step = 0;
  try {
    for (; Atomics.load(word, 0) === 0; ) {
      step++;
      const state = { first: step, filler: String(step).repeat(1 + (step * 7) % 400), last: step };
      if (workerData.updates) {
        block.beginUpdate();
        block.endUpdate(step, state);
        // Between two updates a reader has a chance.
        for (let spin = 0; spin < 3000; spin++) Atomics.load(word, 0);
      } else block.publish(step, state);
    }
    parentPort.postMessage({ step });
  } catch (error) {
    parentPort.postMessage({ step, code: error.code });
  }
});
`;

interface WriterEnd {
  readonly step: number;
  readonly code?: string;
}

async function withWriter(
  updates: boolean,
  read: (control: ControlBlock) => void,
): Promise<WriterEnd> {
  const control = new ControlBlock();
  const stop = new SharedArrayBuffer(4);
  const worker = new Worker(WRITER, {
    eval: true,
    workerData: {
      ...{ buffer: control.buffer, stop, updates },
      control: packageUrl("dist/train/run/control.js").href,
    },
  });
  const end = new Promise<WriterEnd>((resolve, reject) => {
    worker.on("message", resolve);
    worker.on("error", reject);
  });
  // A writer that fails says so here, and is not waited for.
  while (control.step < 100) {
    await Promise.race([end, new Promise((resolve) => setTimeout(resolve, 1))]);
  }
  read(control);
  Atomics.store(new Int32Array(stop), 0, 1);
  const result = await end;
  await worker.terminate();
  return result;
}

interface State {
  readonly first: number;
  readonly filler: string;
  readonly last: number;
}

function checkWhole(control: ControlBlock): number | undefined {
  const published = control.readPublished();
  if (published === undefined) return undefined;
  const { first, filler, last } = published.state as State;
  const digits = String(first);
  expect(last).toBe(first);
  expect(published.step).toBe(first);
  expect(filler).toBe(digits.repeat(1 + ((first * 7) % 400)));
  return first;
}

describe("the state that a training thread publishes", () => {
  it.each([true, false])(
    "is never read torn while another thread writes it as fast as it can (inside updates: %s)",
    async (updates) => {
      const steps = new Set<number>();
      let newest = 0;
      const { step } = await withWriter(updates, (control) => {
        const startedMs = performance.now();
        while (steps.size < 500 && performance.now() - startedMs < 20_000) {
          const read = checkWhole(control);
          if (read === undefined) continue;
          expect(read).toBeGreaterThanOrEqual(newest);
          newest = read;
          steps.add(read);
        }
      });
      expect(steps.size).toBeGreaterThan(100);
      expect(step).toBeGreaterThanOrEqual(newest);
    },
  );

  it("stands still once another thread has taken the run over", async () => {
    let frozenAt: number | undefined;
    const { step, code } = await withWriter(true, (control) => {
      while (control.freeze() !== "frozen");
      frozenAt = checkWhole(control);
      for (let attempt = 0; attempt < 1000; attempt++) expect(checkWhole(control)).toBe(frozenAt);
    });
    expect(code).toBe("train.frozen");
    expect(step).toBe((frozenAt ?? 0) + 1);
  });

  it("is not given away inside an update or a save", () => {
    const control = new ControlBlock();
    control.publish(3, { step: 3 });
    control.beginUpdate();
    expect(control.freeze()).toBe("updating");
    expect(control.readState()).toBeUndefined();
    control.endUpdate(4, { step: 4 });
    control.whileSaving(() => expect(control.freeze()).toBe("saving"));
    expect(control.freeze()).toBe("frozen");
    expect(control.readPublished()).toEqual({ step: 4, state: { step: 4 } });
    expect(() => control.whileSaving(() => 1)).toThrow("another thread has taken this run over");
  });

  it("must fit with room to grow: a state that does not is an error before the first step", () => {
    const control = new ControlBlock();
    control.requireRoom({ prompt: "é".repeat(500_000) });
    expect(() => control.requireRoom({ prompt: "é".repeat(523_000) })).toThrow(
      /state takes 1046013 bytes, and 1044480 are kept for it[\s\S]*--sample-prompt/,
    );
    control.publish(1, { step: 1 });
    expect(() => control.publish(2, { text: "x".repeat(1 << 20) })).toThrow("the run's state");
    // What stood before stands.
    expect(control.readPublished()).toEqual({ step: 1, state: { step: 1 } });
  });
});
