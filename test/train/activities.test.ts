import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { activitiesAfter, doneEvents, LeftActivities } from "../../src/train/run/activities.ts";
import { resolveTrainConfig } from "../../src/train/config/config.ts";
import { readEvents, rewindEvents } from "../../src/runs/event-log.ts";
import { temporaryFolder } from "../helpers/cli.ts";

const { config } = resolveTrainConfig({ max_steps: 6, final_samples: 3, eval_steps: 2 }, []);
const NOTHING = { activities: [], evalLoss: null };

describe("a log that a run goes on with", () => {
  const line = (step: number, more: object): string => JSON.stringify({ t: 0, step, ...more });
  const evaluation = {
    ...{ kind: "eval", eval_loss: 1, perplexity: 2, eval_tokens: 3, elapsed_seconds: 0 },
  };
  const sample = (text: string) => ({ kind: "sample", prompt: "", text });
  const rewound = (step: number, due: Parameters<typeof doneEvents>[1]): readonly unknown[] => {
    const path = join(temporaryFolder(), "events.ndjson");
    const lines = [
      line(4, evaluation),
      line(6, evaluation),
      line(6, sample("first")),
      line(6, sample("second")),
      line(6, { kind: "interrupted", checkpoint: "checkpoint-6" }),
    ];
    writeFileSync(path, `${lines.join("\n")}\n`);
    rewindEvents(path, step, doneEvents(step, due, config));
    return readEvents(path).map((event) => (event.kind === "sample" ? event.text : event.kind));
  };

  it("keeps what is done after its last step and drops what will be told again", () => {
    const due = activitiesAfter(6, config);
    expect(rewound(6, due.slice(-1))).toEqual(["eval", "eval", "first", "second"]);
    expect(rewound(6, due.slice(-2))).toEqual(["eval", "eval", "first"]);
    expect(rewound(6, due)).toEqual(["eval"]);
    expect(rewound(6, [])).toEqual(["eval", "eval", "first", "second"]);
    expect(rewound(4, ["evaluate"])).toEqual([]);
  });
});

describe("what is left after a step", () => {
  it("is read for that step alone, and a broken file says nothing", () => {
    const folder = temporaryFolder();
    const left = new LeftActivities(folder);
    expect(left.read(6, config)).toBeUndefined();
    left.write(6, { activities: ["final-sample-1", "final-sample-2"], evalLoss: 2.5 });
    expect(left.read(6, config)).toEqual({
      activities: ["final-sample-1", "final-sample-2"],
      evalLoss: 2.5,
    });
    expect(left.read(5, config)).toBeUndefined();
    left.write(6, NOTHING);
    expect(left.read(6, config)).toEqual(NOTHING);
    const path = join(folder, "continue.json");
    writeFileSync(path, readFileSync(path).subarray(0, 9));
    expect(left.read(6, config)).toBeUndefined();
    left.clear();
    expect(left.read(6, config)).toBeUndefined();
  });
});
