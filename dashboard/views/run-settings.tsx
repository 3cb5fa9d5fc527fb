import { signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { RunDetail, SettingsView } from "../../src/server/runs/views.ts";
import { ask, messageOf, withQuery } from "../api.ts";
import { Choice, Problem } from "../parts/kit.tsx";
import { SettingsTable } from "../parts/settings-table.tsx";
import { loadRuns, runList } from "./runs.tsx";

const search = signal("");

/** A run's settings, alone or beside those of another run. */
export function RunSettings({ detail }: { readonly detail: RunDetail }) {
  const { id } = detail.run;
  const other = useSignal("");
  const beside = useSignal<SettingsView | null>(null);
  const problem = useSignal<string | null>(null);
  const showsAll = useSignal(false);
  useEffect(() => {
    if (runList.value === null) void loadRuns();
  }, []);
  useEffect(() => {
    beside.value = null;
    problem.value = null;
    if (other.value === "") return;
    ask<SettingsView>(withQuery("/api/settings", { run: [id, other.value] })).then(
      (found) => (beside.value = found),
      (error: unknown) => (problem.value = messageOf(error)),
    );
  }, [id, other.value]);
  const own = Object.entries(detail.config).map(([name, value]) => ({
    ...{ name, values: [value], isDifferent: false },
  }));
  const wanted = search.value.toLowerCase();
  const rows = (beside.value?.rows ?? own).filter(
    ({ name, isDifferent }) =>
      name.includes(wanted) && (beside.value === null || showsAll.value || isDifferent),
  );
  const others = (runList.value?.runs ?? []).filter((run) => run.id !== id);
  return (
    <section class="panel">
      {detail.configProblem !== null && <Problem text={detail.configProblem} />}
      {problem.value !== null && <Problem text={problem.value} />}
      <div class="row">
        <label class="choice">
          <span>find</span>
          <input
            type="search"
            value={search.value}
            onInput={(event) => (search.value = event.currentTarget.value)}
          />
        </label>
        <Choice
          label="beside"
          value={other.value}
          choices={[["", "no other run"], ...others.map((run) => [run.id, run.id] as const)]}
          onChoose={(name) => (other.value = name)}
        />
        {beside.value !== null && (
          <label class="choice">
            <input
              type="checkbox"
              checked={showsAll.value}
              onChange={(event) => (showsAll.value = event.currentTarget.checked)}
            />
            <span>those that are the same as well</span>
          </label>
        )}
      </div>
      {rows.length === 0 ? (
        <p>{emptyText(beside.value !== null, wanted)}</p>
      ) : (
        <SettingsTable ids={beside.value?.ids ?? [id]} rows={rows} />
      )}
    </section>
  );
}

function emptyText(isBeside: boolean, wanted: string): string {
  if (wanted !== "") return "No setting has such a name.";
  return isBeside ? "All settings are the same." : "This run keeps no settings.";
}
