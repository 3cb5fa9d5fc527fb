import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import {
  briefMs,
  costBars,
  howOf,
  measuredTimeline,
  pairedTable,
  sectionFlow,
  stepTimeline,
} from "../../src/server/plan/pictures.ts";
import type {
  ChipChoice,
  PlanView,
  ProgramText,
  ProgramView,
} from "../../src/server/plan/views.ts";
import { formatBytes, formatFlops, formatJoules } from "../../src/util/format.ts";
import { ask, messageOf, runPath, withQuery } from "../api.ts";
import type { LiveRun } from "../live-run.ts";
import { Choice, Problem, TableBox, Tile } from "../parts/kit.tsx";

/** The run's step for a chip: what runs when and where, what flows, and what each program is. */
export function RunPlan({ live }: { readonly live: LiveRun }) {
  const chips = useSignal<readonly ChipChoice[]>([]);
  const chip = useSignal("");
  const view = useSignal<PlanView | null>(null);
  const problem = useSignal<string | null>(null);
  const picked = useSignal("");
  const text = useSignal<ProgramText | null>(null);
  const section = useSignal("");
  const query = chip.value === "" ? {} : { chip: chip.value };
  useEffect(() => {
    void ask<readonly ChipChoice[]>("/api/chips").then((found) => (chips.value = found));
  }, []);
  useEffect(() => {
    const abort = new AbortController();
    problem.value = null;
    ask<PlanView>(withQuery(runPath(live.id, "/plan"), query), { signal: abort.signal }).then(
      (found) => (view.value = found),
      (error: unknown) => {
        if (!abort.signal.aborted) problem.value = messageOf(error);
      },
    );
    return () => abort.abort();
  }, [live.id, chip.value]);
  useEffect(() => {
    text.value = null;
    if (picked.value === "") return;
    ask<ProgramText>(
      withQuery(runPath(live.id, `/programs/${encodeURIComponent(picked.value)}`), query),
    ).then(
      (found) => {
        text.value = found;
        requestAnimationFrame(() =>
          document.querySelector("#program")?.scrollIntoView({ block: "nearest" }),
        );
      },
      (error: unknown) => (problem.value = messageOf(error)),
    );
  }, [picked.value, chip.value]);
  if (view.value === null)
    return problem.value === null ? (
      <p class="waiting">making the step's plan …</p>
    ) : (
      <Problem text={problem.value} />
    );
  const plan = view.value;
  const engine = live.detail.value?.run.engine ?? plan.engine;
  const measured = live.timings.value?.dispatches ?? [];
  const shown = plan.sections.find(({ name }) => name === section.value) ?? plan.sections[0];
  const measuredPicture = measuredTimeline(plan, measured, engine);
  const paired = pairedTable(plan, measured, engine);
  return (
    <section aria-label="Plan">
      {problem.value !== null && <Problem text={problem.value} />}
      <div class="panel row">
        <Choice
          label="on"
          value={chip.value}
          choices={[
            ["", plan.isRunsOwn || chip.value === "" ? plan.chip : "the run's own"],
            ...chips.value.map(({ name, title }) => [name, title] as const),
          ]}
          onChoose={(name) => (chip.value = name)}
        />
        <span class="hint">
          {plan.isRunsOwn
            ? `this run's engine, ${engine}`
            : `this run is on ${engine}; what stands here is how its step would run on ${plan.chip} through ${plan.driver}, predicted, not measured`}
        </span>
      </div>
      <dl class="tiles spaced">
        <Tile
          name="an update"
          hint={
            plan.asRun.isJoined
              ? `predicted; dispatch by dispatch ${briefMs(plan.predictedMs)}, and a run as long as this joins some of them`
              : "predicted"
          }
        >
          {briefMs(plan.asRun.ms)}
        </Tile>
        <Tile name="engine and host at once" hint="predicted">
          {briefMs(plan.asRun.overlappedMs)}
        </Tile>
        <Tile name="energy" hint="predicted">
          {formatJoules(plan.asRun.joules)}
        </Tile>
        {Object.entries(plan.memory)
          .filter(([, bytes]) => bytes > 0)
          .map(([role, bytes]) => (
            <Tile key={role} name={`${role} buffers`}>
              {formatBytes(bytes)}
            </Tile>
          ))}
      </dl>
      <div class="panel">
        <h2>timeline of one update</h2>
        <Picture label="Timeline, predicted" svg={stepTimeline(plan)} picked={picked} />
        {measuredPicture !== undefined && (
          <Picture label={`Timeline, ${howOf(engine)}`} svg={measuredPicture} picked={picked} />
        )}
        {paired !== undefined && (
          <details class="document">
            <summary>each dispatch, {howOf(engine)} and predicted</summary>
            <div dangerouslySetInnerHTML={{ __html: paired }} />
          </details>
        )}
      </div>
      <div class="charts">
        <div class="panel">
          <h2>cost</h2>
          <Picture label="Cost" svg={costBars(plan)} picked={picked} />
        </div>
        <div class="panel">
          <h2>roofline</h2>
          <Picture label="Roofline" svg={plan.roofline} picked={picked} />
        </div>
      </div>
      <Programs plan={plan} picked={picked} />
      {picked.value !== "" && (
        <ProgramPanel name={picked.value} text={text.value} close={() => (picked.value = "")} />
      )}
      {shown !== undefined && (
        <div class="panel">
          <div class="row">
            <h2>data flow</h2>
            <Choice
              label="of"
              value={shown.name}
              choices={plan.sections.map(({ name }) => [name, name] as const)}
              onChoose={(name) => (section.value = name)}
            />
            <span class="hint">a click on a box shows its program</span>
          </div>
          <Picture label="Data flow" svg={sectionFlow(plan, shown)} picked={picked} isTall />
        </div>
      )}
    </section>
  );
}

interface PictureProps {
  readonly label: string;
  readonly svg: string;
  readonly picked: { value: string };
  readonly isTall?: boolean;
}

/** A picture of the shared kit, whose parts are picked by a click; the table of programs does the same by keyboard. */
function Picture({ label, svg, picked, isTall = false }: PictureProps) {
  return (
    <div
      class={`picture ${isTall ? "tall" : ""}`}
      tabIndex={0}
      role="region"
      aria-label={label}
      onClick={(event) => {
        const target = event.target instanceof Element ? event.target.closest("[data-key]") : null;
        const key = target?.getAttribute("data-key");
        if (key != null) picked.value = key;
      }}
      dangerouslySetInnerHTML={{ __html: svg }}
    />
  );
}

const PLACES: Readonly<Record<ProgramView["place"], string>> = {
  engine: "engine",
  host: "host",
  split: "engine, host first",
  refused: "refused",
};

function Programs({
  plan,
  picked,
}: {
  readonly plan: PlanView;
  readonly picked: { value: string };
}) {
  return (
    <div class="panel">
      <h2>where it runs on {plan.chip}</h2>
      <TableBox label="Programs">
        <table>
          <thead>
            <tr>
              <th scope="col">program</th>
              <th scope="col">where</th>
              <th scope="col">why</th>
              <th scope="col" class="number">
                runs
              </th>
              <th scope="col" class="number">
                an update
              </th>
              <th scope="col" class="number">
                ops
              </th>
              <th scope="col" class="number">
                a run
              </th>
            </tr>
          </thead>
          <tbody>
            {plan.programs.map((program) => (
              <tr key={program.name} class={program.name === picked.value ? "different" : ""}>
                <th scope="row">
                  <button type="button" class="link" onClick={() => (picked.value = program.name)}>
                    {program.name}
                  </button>
                </th>
                <td>
                  <span class={`badge place-${program.place}`}>{PLACES[program.place]}</span>
                </td>
                <td class="why">
                  <Why program={program} />
                </td>
                <td class="number">{program.dispatchCount}</td>
                <td class="number">{briefMs(program.predictedMs)}</td>
                <td class="number">{program.operationCount}</td>
                <td class="number">{formatFlops(program.flops)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </TableBox>
    </div>
  );
}

function Why({ program }: { readonly program: ProgramView }) {
  const { reason, rules, place } = program;
  const shown = place === "host" ? rules.filter(({ severity }) => severity === "error") : rules;
  return (
    <>
      {reason}
      {shown.length > 0 && (
        <details>
          <summary>
            {shown.length === 1 ? "rule" : `${shown.length} rules`}:{" "}
            {shown.map(({ rule }) => rule).join(", ")}
          </summary>
          <dl class="rules">
            {shown.map(({ rule, severity, op, says, detail, remedy, source }) => (
              <div key={rule}>
                <dt>
                  {rule} <small>{severity}</small>
                </dt>
                <dd>
                  {says} {op !== null && `(${op})`} {detail}
                </dd>
                <dd>
                  <small>
                    {remedy} Source: {source}
                  </small>
                </dd>
              </div>
            ))}
          </dl>
        </details>
      )}
    </>
  );
}

interface ProgramPanelProps {
  readonly name: string;
  readonly text: ProgramText | null;
  readonly close: () => void;
}

function ProgramPanel({ name, text, close }: ProgramPanelProps) {
  const which = useSignal<"engine" | "plan">("engine");
  const shown =
    text === null ? null : which.value === "engine" ? (text.engine ?? text.plan) : text.plan;
  return (
    <div class="panel" id="program">
      <div class="row">
        <h2>{name}</h2>
        {text?.engine !== null && (
          <Choice
            label="as"
            value={which.value}
            choices={[
              ["engine", "the engine takes it"],
              ["plan", "the plan has it"],
            ]}
            onChoose={(choice) => (which.value = choice)}
          />
        )}
        <button type="button" onClick={close}>
          close
        </button>
      </div>
      <pre class="code" tabIndex={0} aria-label={`MIL of ${name}`}>
        {shown ?? "printing …"}
      </pre>
    </div>
  );
}
