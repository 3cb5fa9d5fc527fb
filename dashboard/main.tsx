import { render } from "preact";
import "uplot/dist/uPlot.min.css";
import "./page.css";
import { isReachable, keyCount, wantsKey } from "./api.ts";
import { KeyForm } from "./parts/kit.tsx";
import { comparedRuns, linkTo, place } from "./router.ts";
import { nextTheme, theme } from "./theme.ts";
import { CompareView } from "./views/compare.tsx";
import { EngineView } from "./views/engine.tsx";
import { FilesView } from "./views/files.tsx";
import { PlaygroundView } from "./views/playground.tsx";
import { RunView } from "./views/run.tsx";
import { RunsView } from "./views/runs.tsx";

function View() {
  const { view, id, tab } = place.value;
  switch (view) {
    case "runs":
      return <RunsView />;
    case "run":
      return <RunView key={id} id={id} tab={tab} />;
    case "engine":
      return <EngineView id={id} />;
    case "files":
      return <FilesView />;
    case "playground":
      return <PlaygroundView id={id} />;
    case "compare":
      return <CompareView key={id} ids={comparedRuns(id)} />;
    default:
      return (
        <p class="empty">
          There is nothing here. <a href={linkTo("runs")}>All runs</a>
        </p>
      );
  }
}

function Page() {
  const { view, id } = place.value;
  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          document.querySelector<HTMLElement>("#main")?.focus();
        }}
      >
        to the content
      </a>
      <header class="bar">
        <a class="brand" href={linkTo("runs")}>
          <img src="/icon.svg" alt="" width="22" height="22" /> <span>Anecdote</span>
        </a>
        <nav aria-label="Pages">
          <a href={linkTo("runs")} aria-current={view === "runs" ? "page" : undefined}>
            Runs
          </a>
          <a href={linkTo("playground")} aria-current={view === "playground" ? "page" : undefined}>
            Playground
          </a>
          <a href={linkTo("files")} aria-current={view === "files" ? "page" : undefined}>
            Files
          </a>
          <a href={linkTo("engine")} aria-current={view === "engine" ? "page" : undefined}>
            Engine
          </a>
          {view === "run" && (
            <a class="here" href={linkTo("run", id)} title={id} aria-current="page">
              {id}
            </a>
          )}
        </nav>
        <button type="button" onClick={nextTheme} aria-label={`colours: ${theme.value}; change`}>
          {theme.value === "auto" ? "◐" : theme.value === "light" ? "☀" : "☾"}
        </button>
      </header>
      {!isReachable.value && (
        <p class="problem" role="alert">
          The server does not answer. This page tries again by itself.
        </p>
      )}
      {wantsKey.value && (
        <div class="panel" role="alert">
          <KeyForm what="the server wants a key that this page has not" />
        </div>
      )}
      <main id="main" tabIndex={-1}>
        <View key={keyCount.value} />
      </main>
    </>
  );
}

const root = document.querySelector("#page");
if (root !== null) render(<Page />, root);
