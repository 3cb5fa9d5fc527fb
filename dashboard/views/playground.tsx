import { batch, signal, useSignal } from "@preact/signals";
import type { Signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { RunDetail } from "../../src/server/runs/views.ts";
import { ask, messageOf, pageKey, runPath } from "../api.ts";
import { write } from "../completions.ts";
import type { ChatTurn, WrittenToken } from "../completions.ts";
import { Choice, Problem } from "../parts/kit.tsx";
import { linkTo } from "../router.ts";
import { loadRuns, runList } from "./runs.tsx";

const FIRST_PROMPT = "Once upon a time";
const prompt = signal(FIRST_PROMPT);
const maxTokens = signal(80);
const temperature = signal(0.8);
const seed = signal(1);
const mode = signal<"text" | "chat">("text");

/** An answer, or what became of it. */
interface Writing {
  readonly tokens: readonly WrittenToken[];
  readonly state: "writing" | "done" | "failed";
  readonly told: string;
}

const EMPTY: Writing = { tokens: [], state: "done", told: "" };

/** Answers of checkpoints by what was asked, so that a slider flips through what was written. */
const answers = signal<ReadonlyMap<string, Writing>>(new Map());

function questionKey(model: string, turns: readonly ChatTurn[]): string {
  return JSON.stringify([
    model,
    mode.value,
    prompt.value,
    turns,
    maxTokens.value,
    temperature.value,
    seed.value,
  ]);
}

async function writeAnswer(
  model: string,
  turns: readonly ChatTurn[],
  signalToEnd: AbortSignal,
): Promise<Writing> {
  const key = questionKey(model, turns);
  let writing: Writing = { tokens: [], state: "writing", told: "opening the checkpoint …" };
  const put = (change: Partial<Writing>): void => {
    writing = { ...writing, ...change };
    answers.value = new Map(answers.value).set(key, writing);
  };
  put({});
  try {
    const reason = await write(
      {
        model,
        prompt:
          mode.value === "chat"
            ? [...turns, { role: "user", content: prompt.value }]
            : prompt.value,
        maxTokens: maxTokens.value,
        temperature: temperature.value,
        seed: seed.value,
      },
      (tokens) => put({ tokens: [...writing.tokens, ...tokens], told: "" }),
      signalToEnd,
    );
    put({
      state: "done",
      told: reason === "length" ? "stopped at the number of tokens" : "ended by itself",
    });
  } catch (error) {
    const told = signalToEnd.aborted ? "stopped" : messageOf(error);
    put({ state: signalToEnd.aborted ? "done" : "failed", told });
  }
  return writing;
}

export function PlaygroundView({ id }: { readonly id: string }) {
  const detail = useSignal<RunDetail | null>(null);
  const problem = useSignal<string | null>(null);
  const first = useSignal("");
  const second = useSignal("");
  const slid = useSignal(0);
  const turns = useSignal<readonly ChatTurn[]>([]);
  const abort = useSignal<AbortController | null>(null);
  useEffect(() => {
    if (runList.value === null) void loadRuns();
  }, []);
  const run = id !== "" ? id : (runList.value?.runs[0]?.id ?? "");
  useEffect(() => {
    detail.value = null;
    if (run === "") return;
    ask<RunDetail>(runPath(run)).then(
      (found) => {
        const names = found.checkpoints.map(({ name }) => name);
        batch(() => {
          detail.value = found;
          first.value = names.at(-1) ?? "";
          second.value = "";
          slid.value = names.length - 1;
          turns.value = [];
          mode.value = found.isChat ? "chat" : "text";
          if (mode.value === "chat" && prompt.value === FIRST_PROMPT) prompt.value = "";
          else if (mode.value === "text" && prompt.value === "") prompt.value = FIRST_PROMPT;
        });
      },
      (error: unknown) => (problem.value = messageOf(error)),
    );
  }, [run]);
  const checkpoints = detail.value?.checkpoints ?? [];
  const modelOf = (name: string): string => `${run}/${name}`;
  const during = async (act: (signalToEnd: AbortSignal) => Promise<void>): Promise<void> => {
    const controller = new AbortController();
    abort.value = controller;
    problem.value = null;
    await act(controller.signal);
    abort.value = null;
  };
  /** What stands side by side is written at the same time. */
  const begin = async (names: readonly string[]): Promise<void> =>
    during(async (signalToEnd) => {
      await Promise.all(
        names.map(async (name) => writeAnswer(modelOf(name), turns.value, signalToEnd)),
      );
    });
  /** One checkpoint after the other; answers that are there stay. */
  const walk = async (names: readonly string[]): Promise<void> =>
    during(async (signalToEnd) => {
      for (const [index, name] of names.entries()) {
        if (signalToEnd.aborted) break;
        slid.value = index;
        const known = answers.value.get(questionKey(modelOf(name), turns.value));
        if (known?.state === "done" && known.told !== "stopped") continue;
        await writeAnswer(modelOf(name), turns.value, signalToEnd);
      }
    });
  const isBusy = abort.value !== null;
  const answerOf = (name: string): Writing =>
    answers.value.get(questionKey(modelOf(name), turns.value)) ?? EMPTY;
  const shownNames = second.value === "" ? [first.value] : [first.value, second.value];
  const choices = checkpoints.map(
    ({ name, evalLoss }) =>
      [name, evalLoss === null ? name : `${name}, loss ${evalLoss.toFixed(3)}`] as const,
  );
  if (runList.value !== null && runList.value.runs.length === 0)
    return <p class="empty">There is no run to talk to yet.</p>;
  return (
    <>
      <h1>Playground</h1>
      {problem.value !== null && <Problem text={problem.value} />}
      {pageKey.value === "" && (
        <Problem text="Writing takes the page's key: open the address that the command printed." />
      )}
      <form
        class="panel"
        onSubmit={(event) => {
          event.preventDefault();
          void begin(shownNames);
        }}
      >
        <div class="row">
          <Choice
            label="run"
            value={run}
            choices={(runList.value?.runs ?? []).map((row) => [row.id, row.id] as const)}
            onChoose={(name) => (location.hash = linkTo("playground", name))}
          />
          <Choice
            label="checkpoint"
            value={first.value}
            choices={choices}
            onChoose={(name) => (first.value = name)}
          />
          <Choice
            label="beside"
            value={second.value}
            choices={[["", "none"], ...choices]}
            onChoose={(name) => (second.value = name)}
          />
          <Choice
            label="as"
            value={mode.value}
            choices={[
              ["text", "a text to go on with"],
              ["chat", "a chat"],
            ]}
            onChoose={(name) => (mode.value = name)}
          />
        </div>
        {mode.value === "chat" && turns.value.length > 0 && (
          <ol class="turns">
            {turns.value.map(({ role, content }, index) => (
              <li key={index}>
                <b>{role === "user" ? "you" : "model"}</b> {content}
              </li>
            ))}
          </ol>
        )}
        <label class="prompt">
          <span class="hint">{mode.value === "chat" ? "you say" : "prompt"}</span>
          <textarea
            rows={3}
            value={prompt.value}
            onKeyDown={(event) => {
              // As in every chat: Enter sends, with Shift it is a line.
              if (mode.value !== "chat" || event.key !== "Enter" || event.shiftKey) return;
              event.preventDefault();
              event.currentTarget.form?.requestSubmit();
            }}
            onInput={(event) => (prompt.value = event.currentTarget.value)}
          />
        </label>
        <div class="row">
          <NumberField label="tokens" value={maxTokens} min={1} max={4096} step={1} />
          <NumberField label="temperature" value={temperature} min={0} max={2} step={0.1} />
          <NumberField label="seed" value={seed} min={0} max={2_000_000_000} step={1} />
          <button type="submit" class="primary" disabled={isBusy || first.value === ""}>
            write
          </button>
          <button type="button" disabled={!isBusy} onClick={() => abort.value?.abort()}>
            stop
          </button>
          {mode.value === "chat" && (
            <button
              type="button"
              disabled={isBusy || answerOf(first.value).tokens.length === 0}
              onClick={() => {
                const content = answerOf(first.value)
                  .tokens.map(({ text }) => text)
                  .join("");
                turns.value = [
                  ...turns.value,
                  { role: "user", content: prompt.value },
                  { role: "assistant", content },
                ];
                prompt.value = "";
              }}
            >
              go on with this answer
            </button>
          )}
        </div>
      </form>
      {detail.value !== null && checkpoints.length === 0 && (
        <p class="empty">{run} has no checkpoint yet; “save now” in the run's page writes one.</p>
      )}
      <div class="columns">
        {shownNames
          .filter((name) => name !== "")
          .map((name) => (
            <Answer key={name} name={name} writing={answerOf(name)} />
          ))}
      </div>
      {checkpoints.length > 1 && (
        <section class="panel" aria-label="Through the checkpoints">
          <div class="row">
            <h2>through the checkpoints</h2>
            <button
              type="button"
              disabled={isBusy}
              onClick={() => void walk(checkpoints.map(({ name }) => name))}
            >
              write with each
            </button>
            <label class="choice slider">
              <span>{checkpoints[slid.value]?.name ?? ""}</span>
              <input
                type="range"
                min="0"
                max={checkpoints.length - 1}
                step="1"
                value={slid.value}
                onInput={(event) => (slid.value = Number(event.currentTarget.value))}
              />
            </label>
          </div>
          <Answer
            name={checkpoints[slid.value]?.name ?? ""}
            writing={answerOf(checkpoints[slid.value]?.name ?? "")}
          />
        </section>
      )}
    </>
  );
}

interface NumberFieldProps {
  readonly label: string;
  readonly value: Signal<number>;
  readonly min: number;
  readonly max: number;
  readonly step: number;
}

function NumberField({ label, value, min, max, step }: NumberFieldProps) {
  return (
    <label class="choice">
      <span>{label}</span>
      <input
        type="number"
        {...{ min, max, step }}
        value={value.value}
        onChange={(event) => {
          const given = Number(event.currentTarget.value);
          if (Number.isFinite(given)) value.value = Math.min(max, Math.max(min, given));
          event.currentTarget.value = String(value.value);
        }}
      />
    </label>
  );
}

/** A text with its tokens shaded by how likely they were; what else was likely is told of the one pointed at. */
function Answer({ name, writing }: { readonly name: string; readonly writing: Writing }) {
  const pointed = useSignal<number | null>(null);
  const { tokens, state, told } = writing;
  const token = pointed.value === null ? undefined : tokens[pointed.value];
  return (
    <article class="panel answer" aria-label={`Answer of ${name}`}>
      <h2>
        {name} <small>{state === "writing" ? told || "writing …" : told}</small>
      </h2>
      <p
        class="output"
        aria-live="polite"
        tabIndex={0}
        onPointerOver={(event) => (pointed.value = tokenOf(event.target))}
        onPointerLeave={() => (pointed.value = null)}
        onKeyDown={(event) => {
          const change = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
          if (change === 0 || tokens.length === 0) return;
          event.preventDefault();
          pointed.value = Math.min(tokens.length - 1, Math.max(0, (pointed.value ?? -1) + change));
        }}
      >
        {tokens.map(({ text, probability }, index) => (
          <span
            key={index}
            data-token={index}
            class={`token ${index === pointed.value ? "pointed" : ""} ${shadeOf(probability)}`}
          >
            {text}
          </span>
        ))}
        {state !== "writing" && tokens.length === 0 && (
          <span class="hint">{told === "" ? "nothing written yet" : "nothing"}</span>
        )}
      </p>
      <div class="chances" aria-live="polite">
        {token === undefined ? (
          <span class="hint">
            point at a token, or go through them with ← →, to see how likely it was
          </span>
        ) : (
          <>
            <b>{shown(token.text)}</b> {percentOf(token.probability)}
            <ol>
              {token.others.map(([text, probability]) => (
                <li key={text}>
                  <meter
                    min={0}
                    max={1}
                    value={probability}
                    aria-label={`${shown(text)} ${percentOf(probability)}`}
                  />
                  <code>{shown(text)}</code> {percentOf(probability)}
                </li>
              ))}
            </ol>
          </>
        )}
      </div>
    </article>
  );
}

function tokenOf(target: EventTarget | null): number | null {
  const element = target instanceof Element ? target.closest("[data-token]") : null;
  const index = element?.getAttribute("data-token");
  return index == null ? null : Number(index);
}

function shadeOf(probability: number): string {
  if (!Number.isFinite(probability)) return "";
  if (probability >= 0.5) return "likely";
  return probability >= 0.1 ? "open" : "unlikely";
}

function percentOf(probability: number): string {
  if (!Number.isFinite(probability)) return "";
  const percent = probability * 100;
  return `${percent < 0.1 ? "< 0.1" : percent.toFixed(1)} %`;
}

function shown(text: string): string {
  return text.replaceAll("\n", "↵").replaceAll(" ", "␣") || "∅";
}
