import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readEvents } from "../../src/runs/event-log.ts";
import { Random } from "../../src/util/random.ts";
import { finished, runCli, startCli, temporaryFolder, tinyTraining } from "../helpers/cli.ts";

const MAX_STEPS = 240;
const KILLS_INSIDE_SAVES = 6;
const KILLS = 20;

function stepsLogged(run: string): number {
  return readEvents(join(run, "events.ndjson")).at(-1)?.step ?? 0;
}

function isSaving(run: string): boolean {
  return existsSync(run) && readdirSync(run).some((name) => /^\.checkpoint-\d+\.tmp$/.test(name));
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 4));
}

/** What must be equal: the series of losses, evaluations and samples, without times. */
function series(run: string): unknown[] {
  return readEvents(join(run, "events.ndjson")).flatMap((event): unknown[] => {
    switch (event.kind) {
      case "step":
        return [
          [event.kind, event.step, event.train_loss, event.gradient_norm, event.learning_rate],
        ];
      case "eval":
        return [[event.kind, event.step, event.eval_loss]];
      case "sample":
        return [[event.kind, event.step, event.text]];
      default:
        return [];
    }
  });
}

function finalState(run: string): unknown {
  const folder = join(run, `checkpoint-${MAX_STEPS}`);
  const state = JSON.parse(readFileSync(join(folder, "trainer_state.json"), "utf8")) as Record<
    string,
    unknown
  >;
  return {
    ...state,
    elapsedSeconds: undefined,
    config: undefined,
    weights: readFileSync(join(folder, "model.safetensors")).toString("base64"),
    moments: readFileSync(join(folder, "optimizer.safetensors")).toString("base64"),
  };
}

describe("a run that is killed", () => {
  it(`goes on bit for bit after ${KILLS} kills, ${KILLS_INSIDE_SAVES} of them inside a save`, async () => {
    const folder = temporaryFolder();
    const args = (run: string) =>
      tinyTraining(folder, run, [
        ...["--max-steps", String(MAX_STEPS), "--gradient-accumulation-steps", "2"],
        ...["--save-steps", "10", "--eval-steps", "15", "--eval-batches", "4"],
        ...["--sample-steps", "25", "--sample-tokens", "8", "--logging-steps", "3"],
        ...["--seed", "3", "--resume", "--json", "--engine", "cpu"],
      ]);
    const undisturbed = join(folder, "undisturbed");
    expect((await runCli(args(undisturbed))).code).toBe(0);

    const killed = join(folder, "killed");
    const random = new Random(11);
    let insideSaves = 0;
    for (let kill = 0; kill < KILLS; kill++) {
      const inSave = kill % 3 === 1 && insideSaves < KILLS_INSIDE_SAVES;
      // The undisturbed run waits for its checkpoints; of these every second one writes them beside its steps.
      const child = startCli(args(killed), {
        ANECDOTE_TEST_SAVE_DELAY_MS: inSave ? "150" : "0",
        ...(kill % 2 === 1 && { ANECDOTE_TEST_SAVE_BESIDE_BYTES: "0" }),
      });
      const end = finished(child);
      const from = stepsLogged(killed);
      await Promise.race([
        until(() =>
          inSave
            ? isSaving(killed)
            : stepsLogged(killed) > Math.min(MAX_STEPS - 12, from + random.below(4) * 3),
        ),
        end,
      ]);
      if (inSave && isSaving(killed)) insideSaves++;
      child.kill("SIGKILL");
      const { code, stderr } = await end;
      expect(code, stderr).toBeNull();
    }
    expect(insideSaves).toBeGreaterThanOrEqual(5);

    expect((await runCli(args(killed))).code).toBe(0);
    expect(series(killed)).toEqual(series(undisturbed));
    expect(finalState(killed)).toEqual(finalState(undisturbed));
  }, 240_000);
});
