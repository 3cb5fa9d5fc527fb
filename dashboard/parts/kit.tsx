// Small parts that every view uses.
import type { ComponentChildren } from "preact";
import type { RunRow } from "../../src/server/runs/views.ts";
import { useKey } from "../api.ts";

/** A row of blocks would not be read out; a curve of a run in a table is decoration beside its numbers. */
export function Sparkline({ values }: { readonly values: readonly number[] }) {
  const finite = values.filter(Number.isFinite);
  if (finite.length < 2) return null;
  const low = Math.min(...finite);
  const span = Math.max(...finite) - low || 1;
  const points = finite.map(
    (value, index) =>
      `${((index / (finite.length - 1)) * 98 + 1).toFixed(1)},${(22 - ((value - low) / span) * 20).toFixed(1)}`,
  );
  return (
    <svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">
      <polyline points={points.join(" ")} />
    </svg>
  );
}

export function StateBadge({ run }: { readonly run: RunRow }) {
  const state = run.isPaused ? "paused" : run.state;
  return <span class={`badge ${state}`}>{state}</span>;
}

export function Progress({ run }: { readonly run: RunRow }) {
  const { step, maxSteps } = run;
  if (maxSteps === null || maxSteps === 0) return <span>{step.toLocaleString("en")}</span>;
  return (
    <span class="progress">
      <progress
        max={maxSteps}
        value={Math.min(step, maxSteps)}
        aria-label={`step ${step} of ${maxSteps}`}
      />
      <span>
        {step.toLocaleString("en")} / {maxSteps.toLocaleString("en")}
      </span>
    </span>
  );
}

export function Tile({
  name,
  children,
  hint,
}: {
  readonly name: string;
  readonly children: ComponentChildren;
  readonly hint?: string | undefined;
}) {
  return (
    <div class="tile">
      <dt>{name}</dt>
      <dd>{children}</dd>
      {hint !== undefined && <dd class="hint">{hint}</dd>}
    </div>
  );
}

export function Problem({ text }: { readonly text: string }) {
  return (
    <p class="problem" role="alert">
      {text}
    </p>
  );
}

/** Asks for the page's key where it came without one. */
export function KeyForm({ what }: { readonly what: string }) {
  return (
    <form
      class="actions"
      onSubmit={(event) => {
        event.preventDefault();
        const text = new FormData(event.currentTarget).get("key");
        if (typeof text === "string" && text.trim() !== "") useKey(text);
      }}
    >
      <label class="choice">
        <span>{what}: the key at the end of the printed address</span>
        <input name="key" autocomplete="off" />
      </label>
      <button type="submit">use it</button>
    </form>
  );
}

/** A table that scrolls by itself on a narrow screen, reachable by keyboard. */
export function TableBox({
  label,
  children,
}: {
  readonly label: string;
  readonly children: ComponentChildren;
}) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={label}>
      {children}
    </div>
  );
}

interface ChoiceProps<Value extends string> {
  readonly label: string;
  readonly value: Value;
  readonly choices: readonly (readonly [Value, string])[];
  readonly onChoose: (value: Value) => void;
}

export function Choice<Value extends string>({
  label,
  value,
  choices,
  onChoose,
}: ChoiceProps<Value>) {
  return (
    <label class="choice">
      <span>{label}</span>
      <select
        value={value}
        onChange={(event) => {
          const chosen = choices.find(([name]) => name === event.currentTarget.value);
          if (chosen !== undefined) onChoose(chosen[0]);
        }}
      >
        {choices.map(([name, text]) => (
          <option key={name} value={name}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}

/** "3 min ago". */
export function ago(seconds: number | null): string {
  if (seconds === null) return "";
  const past = Date.now() / 1000 - seconds;
  if (past < 60) return "now";
  if (past < 3600) return `${Math.floor(past / 60)} min ago`;
  if (past < 172_800) return `${Math.floor(past / 3600)} h ago`;
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString().slice(0, 10);
}

export function loss(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : value.toFixed(4);
}
