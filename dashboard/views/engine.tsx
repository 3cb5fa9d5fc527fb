import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { BenchRow, BenchView } from "../../src/server/benches/views.ts";
import type { ChipChoice } from "../../src/server/plan/views.ts";
import { ask, messageOf } from "../api.ts";
import { Choice, Problem } from "../parts/kit.tsx";
import { linkTo } from "../router.ts";

/** Rooflines of chips, and reports of `bench engine` as their own files draw them. */
export function EngineView({ id }: { readonly id: string }) {
  const benches = useSignal<readonly BenchRow[] | null>(null);
  const shown = useSignal<BenchView | null>(null);
  const chips = useSignal<readonly ChipChoice[]>([]);
  const chip = useSignal("m4");
  const roofline = useSignal("");
  const problem = useSignal<string | null>(null);
  const failed = (error: unknown): void => {
    problem.value = messageOf(error);
  };
  useEffect(() => {
    ask<readonly BenchRow[]>("/api/benches").then((found) => (benches.value = found), failed);
    ask<readonly ChipChoice[]>("/api/chips").then((found) => (chips.value = found), failed);
  }, []);
  useEffect(() => {
    ask<{ readonly svg: string }>(`/api/chips/${encodeURIComponent(chip.value)}/roofline`).then(
      ({ svg }) => (roofline.value = svg),
      failed,
    );
  }, [chip.value]);
  useEffect(() => {
    shown.value = null;
    problem.value = null;
    if (id === "") return;
    ask<BenchView>(`/api/benches/${encodeURIComponent(id)}`).then(
      (found) => (shown.value = found),
      failed,
    );
  }, [id]);
  return (
    <>
      <h1>Engine</h1>
      {problem.value !== null && <Problem text={problem.value} />}
      <section class="panel">
        <div class="row">
          <h2>roofline</h2>
          <Choice
            label="of"
            value={chip.value}
            choices={chips.value.map(({ name, title }) => [name, title] as const)}
            onChoose={(name) => (chip.value = name)}
          />
          <span class="hint">
            rates that others published; a run's own step stands on it under its Plan
          </span>
        </div>
        <div
          class="picture tall"
          tabIndex={0}
          role="region"
          aria-label="Roofline"
          dangerouslySetInnerHTML={{ __html: roofline.value }}
        />
      </section>
      <section class="panel">
        <h2>measurements</h2>
        {benches.value?.length === 0 && (
          <p class="empty">
            No reports yet. <code>anecdote bench engine --output-dir runs/bench</code> writes one
            into the folder of runs, and it stands here.
          </p>
        )}
        <ul class="notes">
          {benches.value?.map((row) => (
            <li key={row.id}>
              <a href={linkTo("engine", row.id)} aria-current={row.id === id ? "page" : undefined}>
                {row.id}
              </a>{" "}
              {row.title} <span class="badge">{row.kind}</span>
            </li>
          ))}
        </ul>
      </section>
      {shown.value !== null && (
        <article
          class="panel document"
          // HTML of our own server, which escapes what a report holds.
          dangerouslySetInnerHTML={{ __html: shown.value.html }}
        />
      )}
    </>
  );
}
