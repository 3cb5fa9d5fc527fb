// Where the page is, by the part of its address after #: a link can be kept and sent.
import { signal } from "@preact/signals";

export interface Place {
  /** "runs", "run", "compare", "playground", "files", "engine". */
  readonly view: string;
  readonly id: string;
  readonly tab: string;
}

export const place = signal(placeOf(location.hash));

function placeOf(hash: string): Place {
  const [view = "", id = "", tab = ""] = hash.replace(/^#\/?/, "").split("/");
  return { view: view === "" ? "runs" : view, id: decoded(id), tab: decoded(tab) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function linkTo(view: string, id = "", tab = ""): string {
  return `#/${[view, id, tab]
    .filter((part) => part !== "")
    .map(encodeURIComponent)
    .join("/")}`;
}

/** Some runs side by side, whatever their names hold. */
export function linkToComparison(ids: readonly string[]): string {
  return linkTo("compare", ids.map(encodeURIComponent).join(","));
}

/** The runs that a comparison's address names. */
export function comparedRuns(id: string): readonly string[] {
  return id.split(",").flatMap((name) => (name === "" ? [] : [decoded(name)]));
}

window.addEventListener("hashchange", () => {
  place.value = placeOf(location.hash);
});
