import { useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { formatBytes, formatCount, formatDuration, formatJoules } from "../../src/util/format.ts";
import type { RunDetail } from "../../src/server/runs/views.ts";
import { RequestError, messageOf, problemOf, requestHeaders, runPath } from "../api.ts";
import { shownRange } from "../chart-settings.ts";
import { LiveRun } from "../live-run.ts";
import { Problem, Progress, StateBadge, TableBox, Tile, loss } from "../parts/kit.tsx";
import { saveText } from "../parts/save-text.ts";
import { linkTo } from "../router.ts";
import { RunActions } from "./run-actions.tsx";
import { RunPlan } from "./run-plan.tsx";
import { RunCurves } from "./run-curves.tsx";
import { RunSettings } from "./run-settings.tsx";

const TABS = [
  ["", "Curves"],
  ["samples", "Samples"],
  ["plan", "Plan"],
  ["checkpoints", "Checkpoints"],
  ["settings", "Settings"],
] as const;

export function RunView({ id, tab }: { readonly id: string; readonly tab: string }) {
  const live = useMemo(() => new LiveRun(id), [id]);
  useEffect(() => {
    shownRange.value = null;
    return () => live.close();
  }, [live]);
  const detail = live.detail.value;
  if (detail === null)
    return live.problem.value === null ? (
      <p class="waiting">reading {id} …</p>
    ) : (
      <>
        <h1>{id}</h1>
        <Problem text={live.problem.value} />
      </>
    );
  return (
    <>
      <header class="run-head">
        <h1>
          {id} <StateBadge run={detail.run} />
        </h1>
        <Progress run={detail.run} />
        <span class={`live ${live.connection.value}`} role="status">
          {live.connection.value === "lost"
            ? "connection lost, trying again"
            : detail.run.state === "running" && live.connection.value === "live"
              ? "live"
              : ""}
        </span>
      </header>
      {live.connection.value !== "gone" && <RunActions live={live} />}
      {live.connection.value === "gone" && (
        <Problem text="This run's folder is gone. What stands here is what was last heard of it." />
      )}
      {detail.failure !== null && <Problem text={`It ended by an error: ${detail.failure}`} />}
      {live.problem.value !== null && <Problem text={live.problem.value} />}
      <Tiles detail={detail} />
      <nav class="tabs" aria-label="Parts of the run">
        {TABS.map(([name, text]) => (
          <a
            key={name}
            href={linkTo("run", id, name)}
            aria-current={tab === name ? "page" : undefined}
          >
            {text}
          </a>
        ))}
        {detail.checkpoints.length > 0 && <a href={linkTo("playground", id)}>Playground</a>}
        <ReportButton id={id} />
      </nav>
      <RunPart live={live} detail={detail} tab={tab} />
    </>
  );
}

/** The run as one HTML file, as `anecdote report` writes it. */
function ReportButton({ id }: { readonly id: string }) {
  const told = useSignal("");
  const isBusy = useSignal(false);
  const make = async (): Promise<void> => {
    isBusy.value = true;
    told.value = "making the report …";
    try {
      const response = await fetch(runPath(id, "/report"), { headers: requestHeaders() });
      if (!response.ok) throw new RequestError(response.status, await problemOf(response));
      saveText(`${id}.html`, await response.text());
      told.value = "";
    } catch (error) {
      told.value = `no report: ${messageOf(error)}`;
    } finally {
      isBusy.value = false;
    }
  };
  return (
    <>
      <button
        type="button"
        class="link"
        title="one HTML file with everything, to send to somebody"
        disabled={isBusy.value}
        onClick={() => void make()}
      >
        report
      </button>
      <span class="hint" role="status">
        {told.value}
      </span>
    </>
  );
}

interface PartProps {
  readonly live: LiveRun;
  readonly detail: RunDetail;
}

function RunPart({ live, detail, tab }: PartProps & { readonly tab: string }) {
  switch (tab) {
    case "plan":
      return <RunPlan live={live} />;
    case "samples":
      return <Samples live={live} />;
    case "checkpoints":
      return <Checkpoints detail={detail} />;
    case "settings":
      return <RunSettings detail={detail} />;
    default:
      return (
        <>
          <RunCurves live={live} />
          <Notices detail={detail} />
        </>
      );
  }
}

function Tiles({ detail }: { readonly detail: RunDetail }) {
  const { run, start, end, predicted, power, progress } = detail;
  const watts = end?.watts;
  return (
    <dl class="tiles">
      <Tile name="training loss">{loss(run.trainLoss)}</Tile>
      <Tile name="validation loss">{loss(run.evalLoss)}</Tile>
      <Tile name="tokens a second">
        {run.tokensPerSecond === null ? "–" : formatCount(Math.round(run.tokensPerSecond))}
      </Tile>
      {run.etaSeconds !== null && run.state === "running" && (
        <Tile name="left">{formatDuration(run.etaSeconds)}</Tile>
      )}
      {end !== null && <Tile name="took">{formatDuration(end.elapsed_seconds)}</Tile>}
      <Tile name="parameters" hint={start?.family}>
        {run.parameterCount === null ? "–" : formatCount(run.parameterCount)}
      </Tile>
      <Tile name="engine" hint={start?.device}>
        {run.engine ?? "–"}
      </Tile>
      {run.joulesPerToken !== null && (
        <Tile name="energy a token">{formatJoules(run.joulesPerToken)}</Tile>
      )}
      {watts !== undefined && (
        <Tile name="power" hint={power?.meter ?? undefined}>
          {watts.toFixed(1)} W
        </Tile>
      )}
      {predicted !== null && (
        <Tile name={`step on ${predicted.chip}`} hint="predicted, not measured">
          {predicted.step_ms.toFixed(1)} ms
        </Tile>
      )}
      {run.trainLoss === null && progress !== null && <Tile name="now">{progress}</Tile>}
    </dl>
  );
}

function Notices({ detail }: { readonly detail: RunDetail }) {
  if (detail.notices.length === 0) return null;
  return (
    <details class="panel">
      <summary>{detail.notices.length} notes</summary>
      <ul class="notes">
        {detail.notices.toReversed().map(({ step, message }, index) => (
          <li key={index}>
            <small>step {step}</small> {message}
          </li>
        ))}
      </ul>
    </details>
  );
}

function Samples({ live }: { readonly live: LiveRun }) {
  useEffect(() => void live.loadSamples(), [live]);
  const samples = live.samples.value;
  if (samples === null) return <p class="waiting">reading samples …</p>;
  if (samples.length === 0)
    return (
      <p class="empty">
        No samples yet; <code>--sample-steps</code> says how often they are written.
      </p>
    );
  return (
    <ol class="samples" aria-label="Samples, the newest first">
      {samples.toReversed().map(({ step, prompt, text }, index) => (
        <li key={samples.length - index} class="panel">
          <h2>step {step.toLocaleString("en")}</h2>
          <p class="text">
            <b>{prompt}</b>
            {text}
          </p>
        </li>
      ))}
    </ol>
  );
}

function Checkpoints({ detail }: { readonly detail: RunDetail }) {
  const { checkpoints } = detail;
  if (checkpoints.length === 0)
    return <p class="empty">No checkpoints yet; “save now” writes one after the current step.</p>;
  const losses = checkpoints.flatMap(({ evalLoss }) => (evalLoss === null ? [] : [evalLoss]));
  const best = Math.min(...losses);
  return (
    <section class="panel">
      <TableBox label="Checkpoints">
        <table>
          <thead>
            <tr>
              <th scope="col">checkpoint</th>
              <th scope="col" class="number">
                step
              </th>
              <th scope="col" class="number">
                size
              </th>
              <th scope="col" class="number">
                validation loss
              </th>
            </tr>
          </thead>
          <tbody>
            {checkpoints.toReversed().map(({ name, step, byteLength, evalLoss }) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td class="number">{step.toLocaleString("en")}</td>
                <td class="number">{formatBytes(byteLength)}</td>
                <td class="number">
                  {loss(evalLoss)}
                  {evalLoss === best && losses.length > 1 && <span class="badge best">best</span>}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </TableBox>
    </section>
  );
}
