// What was measured of a step beside what is predicted of it, by the dispatches that both name.
import type { DispatchView, PlanView, SectionView } from "./views.ts";
import { grouped } from "../../util/grouped.ts";

/** What a process measured of a dispatch, of a part of one, or of several, summed over runs: as events tell it. */
export interface MeasuredDispatch {
  readonly section: string;
  readonly label: string;
  /** Indices in the plan's section; absent in events of earlier versions. */
  readonly places?: readonly number[] | undefined;
  readonly runs: number;
  readonly elapsed_ms: number;
}

/** The fewest dispatches of a section that were measured on their own, with both times. */
export interface PairedTime {
  readonly section: string;
  /** Runs of the section in one update. */
  readonly runs: number;
  readonly label: string;
  readonly dispatches: readonly DispatchView[];
  /** Of one run, by the cost model. */
  readonly predictedMs: number;
  /** Of one run; absent where nothing was measured. */
  readonly measuredMs?: number;
}

/**
 * Pairs the times of the sections that an update runs, in the plan's order. What an engine runs as one is one pair with
 * the sum of what is predicted of its dispatches; what it measures of a dispatch in parts is summed. Every dispatch is in
 * exactly one pair. Empty where events do not say which dispatches they measured.
 */
export function pairTimes(
  view: PlanView,
  measured: readonly MeasuredDispatch[],
): readonly PairedTime[] {
  if (!measured.some(({ places }) => places !== undefined)) return [];
  return view.sections
    .filter(({ runs }) => runs > 0)
    .flatMap((section) =>
      pairsOf(
        section,
        measured.filter(({ section: name, runs }) => name === section.name && runs > 0),
      ),
    );
}

function pairsOf(
  { name, runs, dispatches }: SectionView,
  measured: readonly MeasuredDispatch[],
): readonly PairedTime[] {
  // The group of a dispatch is the first of those that share a measurement with it.
  const groups = dispatches.map((_, index) => index);
  const groupOf = (place: number): number => {
    const group = groups[place] ?? place;
    return group === place ? place : groupOf(group);
  };
  const known = measured.filter((one) => isOf(dispatches, one));
  for (const { places = [] } of known) {
    const [first, ...others] = places.map(groupOf).toSorted((a, b) => a - b);
    for (const other of others) groups[other] = first ?? other;
  }
  const times = new Map<number, number>();
  for (const { places = [], runs: count, elapsed_ms: elapsedMs } of known) {
    const [first] = places;
    if (first === undefined) continue;
    const group = groupOf(first);
    times.set(group, (times.get(group) ?? 0) + elapsedMs / count);
  }
  const members = grouped(dispatches.entries(), ([place]) => groupOf(place));
  return [...members].map(([group, placed]) => {
    const own = placed.map(([, dispatch]) => dispatch);
    const measuredMs = times.get(group);
    return {
      ...{ section: name, runs, dispatches: own, label: labelOf(own) },
      predictedMs: own.reduce((sum, { predictedMs }) => sum + predictedMs, 0),
      ...(measuredMs !== undefined && { measuredMs }),
    };
  });
}

/**
 * Whether a measurement is of these dispatches. A run's plan is made again from its settings, and another version may
 * make another: then numbers of dispatches mean others, whose labels differ.
 */
function isOf(
  dispatches: readonly DispatchView[],
  { label, places = [] }: MeasuredDispatch,
): boolean {
  const [first] = places;
  const named = first === undefined ? undefined : dispatches[first]?.label;
  return (
    named !== undefined &&
    label.includes(named) &&
    places.every((place) => place < dispatches.length)
  );
}

function labelOf(dispatches: readonly DispatchView[]): string {
  const [first] = dispatches;
  const last = dispatches.at(-1);
  if (first === undefined || last === undefined) return "";
  return first === last ? first.label : `${first.label} … ${last.label}`;
}
