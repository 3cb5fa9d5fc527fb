import { useSignal } from "@preact/signals";
import type { RunCommand } from "../../src/runs/events.ts";
import { ask, messageOf, pageKey, post, runPath, wantsKey } from "../api.ts";
import { KeyForm } from "../parts/kit.tsx";
import type { LiveRun } from "../live-run.ts";

/** What a run can be asked for, where its process is there and this page has the key. */
export function RunActions({ live }: { readonly live: LiveRun }) {
  const told = useSignal("");
  const isAsking = useSignal(false);
  const run = live.detail.value?.run;
  if (run === undefined || run.state !== "running") return null;
  const act = async (command: RunCommand): Promise<void> => {
    isAsking.value = true;
    try {
      const { token } = await ask<{ readonly token: string }>(runPath(live.id, "/token"));
      await post(runPath(live.id, "/actions"), { command }, { "X-Run-Token": token });
      told.value = TOLD[command];
    } catch (error) {
      told.value = messageOf(error);
    } finally {
      isAsking.value = false;
    }
  };
  if (wantsKey.value) return null;
  if (pageKey.value === "") return <KeyForm what="to pause, save or stop this run" />;
  return (
    <div class="actions" role="group" aria-label="Actions">
      {run.isPaused ? (
        <button type="button" disabled={isAsking.value} onClick={() => void act("resume")}>
          resume
        </button>
      ) : (
        <button type="button" disabled={isAsking.value} onClick={() => void act("pause")}>
          pause
        </button>
      )}
      <button type="button" disabled={isAsking.value} onClick={() => void act("save")}>
        save now
      </button>
      <button
        type="button"
        class="danger"
        disabled={isAsking.value}
        onClick={() => {
          if (confirm(`Stop ${live.id}? It saves a checkpoint and ends; --resume goes on with it.`))
            void act("stop");
        }}
      >
        stop
      </button>
      <span class="hint" role="status">
        {told.value}
      </span>
    </div>
  );
}

const TOLD: Readonly<Record<RunCommand, string>> = {
  pause: "asked to pause after this step",
  resume: "asked to go on",
  save: "asked to save after this step",
  stop: "asked to save and stop",
};
