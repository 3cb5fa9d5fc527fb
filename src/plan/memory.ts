import { byteLengthOf } from "../mil/types.ts";
import { didYouMean } from "../util/nearest.ts";
import { PlanError } from "./errors.ts";
import { packBlocks } from "./packing.ts";
import type { PackedPlace } from "./packing.ts";
import { isTransient, PERSISTENT_ROLES } from "./plan.ts";
import type { BufferRole, BufferSpec, Dispatch, PersistentRole, Plan } from "./plan.ts";

/** Dispatch indices, inclusive, between which a transient buffer's contents matter in one section. */
export interface Lifetime {
  readonly buffer: string;
  readonly role: BufferRole;
  readonly byteLength: number;
  readonly first: number;
  readonly last: number;
}

/** A transient buffer's place in its section's arenas. */
export type Placement = Lifetime & PackedPlace;

/** Where the transient buffers of a section stand, and how many bytes that takes. */
export interface SectionMemory {
  readonly section: string;
  readonly placements: readonly Placement[];
  /** Bytes of each arena: one, but where it would grow beyond 4 GiB. */
  readonly arenas: readonly number[];
  /** Bytes of all arenas: every transient buffer of the section stands in one. */
  readonly arenaByteLength: number;
  /** The most bytes that are alive at once: no packing can need less. */
  readonly peakByteLength: number;
  /** The dispatch at which that happens. */
  readonly peakDispatch: number;
}

/** Bytes of a plan's buffers. */
export interface PlanMemory {
  readonly sections: readonly SectionMemory[];
  /** Bytes of persistent buffers by role. */
  readonly persistent: Readonly<Record<PersistentRole, number>>;
  readonly persistentByteLength: number;
  /** Bytes of weights that stay in a file, as fp32: no memory of the plan's. */
  readonly inFileByteLength: number;
  /** Sections run one after the other, so arenas of the largest size serve all. */
  readonly transientByteLength: number;
}

/** Bytes of all buffers of a plan. */
export function totalByteLength(memory: PlanMemory): number {
  return memory.persistentByteLength + memory.transientByteLength;
}

/**
 * First and last use of every transient buffer in a section.
 * Throws `PlanError` where one is read, or accumulated into, before anything wrote it.
 */
export function sectionLifetimes(plan: Plan, section: string): readonly Lifetime[] {
  const dispatches = dispatchesOf(plan, section);
  const spans = new Map<string, { first: number; last: number }>();
  const touch = (name: string, index: number, needsContents: boolean, label: string): void => {
    const spec = bufferOf(plan, name);
    if (!isTransient(spec.role)) return;
    const span = spans.get(name);
    if (span !== undefined) span.last = index;
    else if (needsContents)
      throw new PlanError(
        "plan.buffer.unwritten",
        `${section}, ${label}: buffer "${name}" is read before anything wrote it`,
      );
    else spans.set(name, { first: index, last: index });
  };
  dispatches.forEach((dispatch, index) => {
    for (const { buffer } of dispatch.inputs.values()) touch(buffer, index, true, dispatch.label);
    for (const { buffer, mode } of dispatch.outputs.values())
      touch(buffer, index, mode === "accumulate", dispatch.label);
  });
  return [...spans].map(([buffer, span]) => {
    const { role, type } = bufferOf(plan, buffer);
    return { buffer, role, byteLength: byteLengthOf(type), ...span };
  });
}

/**
 * Packs one section's transient buffers. An engine that joins dispatches hands in the buffers that each of its steps
 * reads and writes; without them every dispatch is a step.
 */
export function packSection(
  plan: Plan,
  section: string,
  steps?: readonly (readonly string[])[],
): SectionMemory {
  const lifetimes =
    steps === undefined ? sectionLifetimes(plan, section) : stepLifetimes(plan, steps);
  const byName = lifetimes.toSorted((a, b) => (a.buffer < b.buffer ? -1 : 1));
  const { places, arenas } = packBlocks(byName);
  const stepCount = steps?.length ?? dispatchesOf(plan, section).length;
  return {
    section,
    placements: places,
    arenas,
    arenaByteLength: arenas.reduce((total, byteLength) => total + byteLength, 0),
    ...peakOf(lifetimes, stepCount),
  };
}

function stepLifetimes(plan: Plan, steps: readonly (readonly string[])[]): readonly Lifetime[] {
  const lifetimes = new Map<string, Lifetime>();
  steps.forEach((buffers, index) => {
    for (const buffer of buffers) {
      const { role, type } = bufferOf(plan, buffer);
      if (!isTransient(role)) continue;
      const first = lifetimes.get(buffer)?.first ?? index;
      const byteLength = byteLengthOf(type);
      lifetimes.set(buffer, { buffer, role, byteLength, first, last: index });
    }
  });
  return [...lifetimes.values()];
}

/** Bytes of the arenas that serve all sections, which run one after the other. */
export function arenasOf(sections: readonly SectionMemory[]): readonly number[] {
  const sizes: number[] = [];
  for (const { arenas } of sections)
    arenas.forEach((byteLength, arena) => {
      sizes[arena] = Math.max(sizes[arena] ?? 0, byteLength);
    });
  return sizes;
}

function peakOf(
  lifetimes: readonly Lifetime[],
  dispatchCount: number,
): { readonly peakByteLength: number; readonly peakDispatch: number } {
  const change = new Float64Array(dispatchCount + 1);
  for (const { first, last, byteLength } of lifetimes) {
    change[first] = (change[first] ?? 0) + byteLength;
    change[last + 1] = (change[last + 1] ?? 0) - byteLength;
  }
  let alive = 0;
  let peakByteLength = 0;
  let peakDispatch = 0;
  for (let index = 0; index < dispatchCount; index++) {
    alive += change[index] ?? 0;
    if (alive > peakByteLength) {
      peakByteLength = alive;
      peakDispatch = index;
    }
  }
  return { peakByteLength, peakDispatch };
}

/** Memory of a whole plan: every section's arena, and the persistent buffers by role. */
export function planMemory(plan: Plan): PlanMemory {
  const sections = [...plan.sections.keys()].map((section) => packSection(plan, section));
  const persistent = Object.fromEntries(PERSISTENT_ROLES.map((role) => [role, 0])) as Record<
    PersistentRole,
    number
  >;
  let persistentByteLength = 0;
  let inFileByteLength = 0;
  for (const { role, type, isInFile } of plan.buffers.values()) {
    if (isTransient(role)) continue;
    const bytes = byteLengthOf(type);
    if (isInFile === true) {
      inFileByteLength += bytes;
      continue;
    }
    persistent[role] += bytes;
    persistentByteLength += bytes;
  }
  return {
    sections,
    persistent,
    persistentByteLength,
    inFileByteLength,
    transientByteLength: arenasOf(sections).reduce((total, byteLength) => total + byteLength, 0),
  };
}

function dispatchesOf(plan: Plan, section: string): readonly Dispatch[] {
  const dispatches = plan.sections.get(section);
  if (dispatches === undefined)
    throw new PlanError(
      "plan.section.unknown",
      `plan "${plan.name}" has no section "${section}".${didYouMean(section, plan.sections.keys())}`,
    );
  return dispatches;
}

function bufferOf(plan: Plan, name: string): BufferSpec {
  const spec = plan.buffers.get(name);
  if (spec === undefined)
    throw new PlanError("plan.buffer.unknown", `plan "${plan.name}" has no buffer "${name}"`);
  return spec;
}
