import { byteLengthOf } from "../../mil/types.ts";
import { isTransient } from "../../plan/plan.ts";
import type { BufferSpec, Dispatch, Plan } from "../../plan/plan.ts";
import type { BufferView, Engine, LoadedPlan } from "../engine.ts";
import { EngineError } from "../errors.ts";
import type { Region } from "../../plan/regions.ts";
import type { SectionStep } from "./section-plan.ts";

/**
 * The host's half of a plan: all its persistent buffers, those transient ones that the host sees, and every
 * dispatch that stays on the host as a section of its own, run by another engine.
 */
export class HostSide {
  readonly loaded: LoadedPlan;
  readonly transientBytes: number;
  readonly #plan: Plan;
  readonly #sections: ReadonlyMap<Dispatch, string>;

  private constructor(
    plan: Plan,
    loaded: LoadedPlan,
    sections: ReadonlyMap<Dispatch, string>,
    transientBytes: number,
  ) {
    this.#plan = plan;
    this.loaded = loaded;
    this.#sections = sections;
    this.transientBytes = transientBytes;
  }

  static async load(
    plan: Plan,
    steps: ReadonlyMap<string, readonly SectionStep[]>,
    engine: Engine,
    share: LoadedPlan | undefined,
  ): Promise<HostSide> {
    const sections = new Map<Dispatch, string>();
    const hostSections = new Map<string, readonly Dispatch[]>();
    const seen = new Set<string>();
    for (const [section, sectionSteps] of steps) {
      for (const [index, step] of sectionSteps.entries()) {
        if (step.kind === "host") {
          const name = `${section} ${index}`;
          sections.set(step.dispatch, name);
          hostSections.set(name, [step.dispatch]);
          for (const { buffer } of [...step.reads, ...step.writes]) seen.add(buffer);
        } else {
          for (const { from } of step.uploads) seen.add(from.buffer);
          for (const { to } of step.downloads) seen.add(to.buffer);
        }
      }
    }
    const buffers = new Map<string, BufferSpec>();
    let transientBytes = 0;
    for (const spec of plan.buffers.values()) {
      if (!isTransient(spec.role)) buffers.set(spec.name, spec);
      else if (seen.has(spec.name)) {
        buffers.set(spec.name, { ...spec, role: "state" });
        transientBytes += byteLengthOf(spec.type);
      }
    }
    const used = new Set([...hostSections.values()].flat().map(({ program }) => program));
    const programs = new Map([...plan.programs].filter(([name]) => used.has(name)));
    const hostPlan: Plan = {
      name: `${plan.name} (host)`,
      programs,
      buffers,
      sections: hostSections,
    };
    const loaded = await engine.load(hostPlan, share === undefined ? {} : { share });
    return new HostSide(plan, loaded, sections, transientBytes);
  }

  /** Elements of a region on the host. */
  elements({ buffer, offset, count }: Region): BufferView {
    return this.loaded.view(buffer).subarray(offset, offset + count);
  }

  specOf(buffer: string): BufferSpec {
    const spec = this.#plan.buffers.get(buffer);
    if (spec === undefined)
      throw new EngineError("engine.buffer", `there is no buffer "${buffer}"`);
    return spec;
  }

  prepare(dispatch: Dispatch): Promise<void> {
    return this.loaded.prepare(this.#sectionOf(dispatch));
  }

  run(dispatch: Dispatch): Promise<void> {
    return this.loaded.run(this.#sectionOf(dispatch));
  }

  #sectionOf(dispatch: Dispatch): string {
    const section = this.#sections.get(dispatch);
    if (section === undefined) {
      throw new EngineError("engine.section", `"${dispatch.label}" does not run on the host`);
    }
    return section;
  }
}
