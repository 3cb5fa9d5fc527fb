import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openModel, readEvents, resolveTrainConfig, train } from "../../src/index.ts";
import type { TrainEvent, TrainSettings } from "../../src/index.ts";
import { temporaryFolder } from "../helpers/cli.ts";

const TEXT = "To be, or not to be, that is the question. ".repeat(200);

/** Settings of a run of a second on a text of its own. */
function small(folder: string): TrainSettings {
  const data = join(folder, "input.txt");
  writeFileSync(data, TEXT);
  return {
    data,
    output_dir: join(folder, "run"),
    tokenizer: "char",
    layers: 1,
    hidden_size: 16,
    heads: 2,
    max_seq_length: 16,
    batch_size: 2,
    max_steps: 6,
    logging_steps: 2,
    eval_batches: 1,
    engine: "cpu",
    threads: 1,
  };
}

async function kindsOf(run: AsyncIterable<TrainEvent>): Promise<readonly string[]> {
  const kinds: string[] = [];
  for await (const event of run) kinds.push(event.kind);
  return kinds;
}

describe("train", () => {
  it("tells each event to everyone who asks, and its model writes and is judged", async () => {
    const folder = temporaryFolder();
    const run = await train(small(folder));
    const [first, second] = await Promise.all([kindsOf(run), kindsOf(run)]);
    expect(first).toEqual(second);
    expect(first[0]).toBe("start");
    expect(first.filter((kind) => kind === "step")).toHaveLength(3);
    expect(first.at(-1)).toBe("end");
    expect((await run.finished()).kind).toBe("end");
    const { text, tokenCount } = await run.model.generate("To be", { maxTokens: 5 });
    expect(tokenCount).toBe(5);
    expect(text).toHaveLength(5);
    // What a run wrote opens as any model does, and as the same one.
    const opened = openModel(run.folder);
    expect(await opened.folder()).toBe(await run.model.folder());
    expect((await opened.config()).channelCount).toBe(16);
    const again = await opened.generate("To be", { maxTokens: 5 });
    expect(again.text).toBe(text);
    const { loss, tokens } = await run.model.evaluate(join(folder, "input.txt"));
    expect(loss).toBeGreaterThan(0);
    // With the end of the text.
    expect(tokens).toBe(TEXT.length);
    expect(readEvents(join(run.folder, "events.ndjson")).at(0)?.kind).toBe("start");
  });

  it("stops with a checkpoint, and goes on with resume", async () => {
    const folder = temporaryFolder();
    const settings = { ...small(folder), max_steps: 100_000, logging_steps: 1 };
    const run = await train(settings);
    for await (const event of run) if (event.kind === "step") run.stop();
    const last = await run.finished();
    expect(last).toMatchObject({ kind: "interrupted", checkpoint: expect.any(String) });
    const next = await train({ output_dir: run.folder, resume: true, max_steps: last.step + 2 });
    await kindsOf(next);
    expect(await next.finished()).toMatchObject({ kind: "end", step: last.step + 2 });
  });

  it("says what is wrong before it begins", async () => {
    const folder = temporaryFolder();
    const settings = small(folder);
    await expect(train({ ...settings, data: join(folder, "none.txt") })).rejects.toThrow(
      "none.txt",
    );
    // @ts-expect-error: there is no such setting
    await expect(train({ ...settings, learnin_rate: 1 })).rejects.toThrow(
      'settings: there is no option "learnin_rate". Did you mean "learning_rate"?',
    );
    await expect(train({ ...settings, preset: "nanogtp" })).rejects.toThrow("nanogpt-char");
    await expect(train({ ...settings, heads: 3 })).rejects.toThrow(
      "--hidden-size 16 is not a multiple of --heads 3",
    );
    // Two runs in one folder at once: the second is told of the first.
    const run = await train({ ...settings, max_steps: 100_000 });
    await expect(train(settings)).rejects.toMatchObject({ code: "train.busy" });
    run.stop();
    await run.finished();
  });
});

describe("resolveTrainConfig", () => {
  it("knows its names as types, in presets' settings and in layers", () => {
    // @ts-expect-error: there is no such setting
    expect(() => resolveTrainConfig({ learnin_rate: 1 }, [])).toThrow("learning_rate");
    expect(() =>
      // @ts-expect-error: there is no such setting
      resolveTrainConfig({}, [{ origin: "code", values: { batch: 1 } }]),
    ).toThrow('code: there is no option "batch"');
    // @ts-expect-error: a number is needed
    expect(() => resolveTrainConfig({ batch_size: "4" }, [])).toThrow("must be a number");
    expect(resolveTrainConfig({ batch_size: 4 }, []).config.batch_size).toBe(4);
  });
});
