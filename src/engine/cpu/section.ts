import { isTransient } from "../../plan/plan.ts";
import type { Plan } from "../../plan/plan.ts";
import { joinDispatches, patternOf } from "./join.ts";
import type { JoinedFunction } from "./join.ts";
import { bindDispatch, overlaps } from "../../plan/regions.ts";
import type { BoundDispatch, Region } from "../../plan/regions.ts";

/** One step of a section: a graph that ONNX Runtime runs, or a kernel of the engine's own. */
export type SectionStep =
  | {
      readonly kind: "graph";
      readonly label: string;
      readonly dispatches: readonly BoundDispatch[];
      readonly joined: JoinedFunction;
      /** Equal for steps that compute the same over other buffers. */
      readonly pattern: string;
    }
  | { readonly kind: "kernel"; readonly label: string; readonly dispatch: BoundDispatch };

export type GraphStep = Extract<SectionStep, { readonly kind: "graph" }>;

/** Splits a section into steps. `isJoined` puts neighbours into one graph, else every dispatch has its own. */
export function planSection(
  plan: Plan,
  section: string,
  isJoined: boolean,
  hasKernel: (dispatch: BoundDispatch) => boolean,
): readonly SectionStep[] {
  const dispatches = (plan.sections.get(section) ?? []).map((dispatch) =>
    bindDispatch(plan, dispatch),
  );
  const isPersistent = (name: string): boolean => {
    const spec = plan.buffers.get(name);
    return spec === undefined || !isTransient(spec.role);
  };
  const isNeeded = (region: Region, end: number): boolean =>
    isPersistent(region.buffer) ||
    dispatches
      .slice(end)
      .some(
        ({ inputs, outputs }) =>
          inputs.some((input) => overlaps(input.region, region)) ||
          outputs.some((output) => output.mode === "accumulate" && overlaps(output.region, region)),
      );
  const steps: SectionStep[] = [];
  let run: BoundDispatch[] = [];
  let runStart = 0;
  const flush = (): void => {
    const runs = isJoined ? [run] : run.map((dispatch) => [dispatch]);
    let start = runStart;
    for (const members of runs) {
      if (members.length === 0) continue;
      const first = start;
      for (const { joined, dispatches: group } of joinDispatches(members, (region, end) =>
        isNeeded(region, first + end),
      )) {
        const [head] = group;
        const label =
          group.length === 1 ? (head?.label ?? "") : `${head?.label} … ${group.at(-1)?.label}`;
        steps.push({
          kind: "graph",
          label,
          dispatches: group,
          joined,
          pattern: patternOf(group, joined.outputs),
        });
      }
      start += members.length;
    }
    run = [];
  };
  dispatches.forEach((dispatch, index) => {
    if (hasKernel(dispatch)) {
      flush();
      steps.push({ kind: "kernel", label: dispatch.label, dispatch });
      return;
    }
    if (run.length === 0) runStart = index;
    run.push(dispatch);
  });
  flush();
  return steps;
}

/** Regions a step reads and writes outside itself. */
export function regionsOf(step: SectionStep): readonly Region[] {
  return step.kind === "graph"
    ? [...step.joined.inputs, ...step.joined.outputs]
    : [
        ...step.dispatch.inputs.map(({ region }) => region),
        ...step.dispatch.outputs.map(({ region }) => region),
      ];
}
