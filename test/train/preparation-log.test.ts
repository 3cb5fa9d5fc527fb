import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { eventsPath, readEvents } from "../../src/runs/event-log.ts";
import { readTrainLayer, resolveRun } from "../../src/train/index.ts";
import { ControlBlock } from "../../src/train/run/control.ts";
import { PreparationLog } from "../../src/train/run/preparation-log.ts";
import { runTraining } from "../../src/train/run/run.ts";
import { temporaryFolder } from "../helpers/cli.ts";

/** Every look at the clock is most of a second later. */
function slowMachine(): void {
  let now = performance.now();
  vi.spyOn(performance, "now").mockImplementation(() => (now += 600));
}
afterEach(() => vi.restoreAllMocks());

async function trained(folder: string, data: string): Promise<void> {
  const values = {
    ...{
      data,
      tokenizer: "bpe",
      vocab_size: 280,
      family: "llama",
      layers: 1,
      hidden_size: 16,
      heads: 1,
    },
    ...{ ffn_size: 16, max_seq_length: 16, batch_size: 1, max_steps: 1, eval_steps: 0 },
    ...{ save_steps: 0, engine: "reference", output_dir: folder },
  };
  const { config } = resolveRun([readTrainLayer({ origin: "test", values })]);
  await runTraining(config, {
    control: new ControlBlock(),
    onEvent: () => undefined,
    onProgress: () => undefined,
  });
}

describe("a run's log before there is a run", () => {
  it("tells of what is done with the texts, and the run goes on in it", async () => {
    const root = temporaryFolder();
    const data = join(root, "texts");
    mkdirSync(data);
    for (let index = 0; index < 4; index++)
      writeFileSync(join(data, `${index}.txt`), "the cat sat. ".repeat(20));
    slowMachine();
    const run = join(root, "run");
    await trained(run, data);
    const events = readEvents(eventsPath(run));
    expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_, index) => index + 1));
    const start = events.findIndex(({ kind }) => kind === "start");
    expect(start).toBeGreaterThan(0);
    for (const event of events.slice(0, start)) {
      expect(event).toMatchObject({ kind: "progress", step: 0 });
      if (event.kind === "progress")
        expect(event.text).toMatch(/^(training a tokenizer|tokenizing)/);
    }
    expect(events.at(-1)?.kind).toBe("end");
  });

  it("is not begun for what is done at once, and not left behind by what fails", () => {
    const folder = join(temporaryFolder(), "run");
    const quick = new PreparationLog(folder, 0);
    quick.tell("tokenizing");
    quick.discard();
    expect(existsSync(folder)).toBe(false);
    slowMachine();
    const failed = new PreparationLog(folder, 0);
    for (const text of ["1 %", "2 %", "3 %"]) failed.tell(text);
    expect(readEvents(eventsPath(folder)).length).toBeGreaterThan(0);
    failed.discard();
    expect(existsSync(folder)).toBe(false);
    mkdirSync(folder);
    const beside = new PreparationLog(folder, 0);
    for (const text of ["1 %", "2 %", "3 %"]) beside.tell(text);
    beside.discard();
    expect(readdirSync(folder)).toEqual([]);
  });

  it("stays where there was one, or where the run has told something since", () => {
    const folder = join(temporaryFolder(), "run");
    slowMachine();
    const first = new PreparationLog(folder, 0);
    for (const text of ["1 %", "2 %"]) first.tell(text);
    const other = new PreparationLog(folder, 0);
    expect([first.wasThere, other.wasThere]).toEqual([false, true]);
    other.tell("3 %");
    other.tell("4 %");
    first.discard();
    other.discard();
    expect(readEvents(eventsPath(folder)).length).toBeGreaterThan(1);
  });
});
