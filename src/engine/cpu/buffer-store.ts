import { byteLengthOf } from "../../mil/types.ts";
import { isTransient } from "../../plan/plan.ts";
import type { BufferSpec, Plan } from "../../plan/plan.ts";
import { didYouMean } from "../../util/nearest.ts";
import { viewClassOf } from "../engine.ts";
import type { BufferView } from "../engine.ts";
import { EngineError } from "../errors.ts";
import type { MemoryPlace } from "./graph-step.ts";
import type { KernelPlace } from "../host/host-kernels.ts";
import { elementBytes, layOutPersistent } from "./layout.ts";
import { SharedMemory } from "../host/memory.ts";
import { packBlocks } from "../../plan/packing.ts";
import type { Block, Packing } from "../../plan/packing.ts";
import type { Region } from "../../plan/regions.ts";

/** Largest block of plain memory for transient buffers. */
const ARENA_CAPACITY = 2 ** 32 - 65536;

/** A persistent buffer's memory; `share` hands it from plan to plan. */
export interface Slot {
  readonly spec: BufferSpec;
  readonly memory: SharedMemory;
  readonly byteOffset: number;
}

export interface StoreRequests {
  /** Buffers that must stand in one memory. */
  readonly together: readonly (readonly string[])[];
  /** Bytes of room wanted beside buffers. */
  readonly scratch: ReadonlyMap<string, number>;
}

/**
 * Memory of a plan's buffers: persistent ones in shared memories by group, transient ones packed into arenas of
 * plain memory that all sections use in turn.
 */
export class BufferStore {
  readonly #plan: Plan;
  readonly #slots = new Map<string, Slot>();
  readonly #scratch = new Map<string, KernelPlace>();
  readonly #packings = new Map<string, Packing>();
  readonly #arenas: ArrayBuffer[] = [];

  constructor(plan: Plan, requests: StoreRequests, share?: BufferStore) {
    this.#plan = plan;
    for (const spec of plan.buffers.values()) {
      const shared = share?.slotFor(spec);
      if (shared !== undefined) this.#slots.set(spec.name, shared);
    }
    const layout = layOutPersistent(
      plan,
      (spec) => !this.#slots.has(spec.name),
      requests.together,
      requests.scratch,
    );
    const memories = layout.memories.map((byteLength) => new SharedMemory(byteLength));
    for (const [name, { memory, byteOffset }] of layout.places) {
      const spec = plan.buffers.get(name);
      const held = memories[memory];
      if (spec !== undefined && held !== undefined)
        this.#slots.set(name, { spec, memory: held, byteOffset });
    }
    for (const [name, { memory, byteOffset }] of layout.scratch) {
      const held = memories[memory];
      if (held !== undefined) this.#scratch.set(name, { memory: held, byteOffset });
    }
  }

  /** Every memory that a persistent buffer stands in, shared ones included. */
  get memories(): ReadonlySet<SharedMemory> {
    return new Set([...this.#slots.values()].map(({ memory }) => memory));
  }

  /** The memory of a persistent buffer of the same name and type. */
  slotFor(spec: BufferSpec): Slot | undefined {
    const slot = this.#slots.get(spec.name);
    if (slot === undefined || isTransient(spec.role)) return undefined;
    const same =
      slot.spec.type.dataType === spec.type.dataType &&
      slot.spec.type.shape.join() === spec.type.shape.join();
    return same ? slot : undefined;
  }

  /** Gives a section's transient buffers memory. `steps` are the regions each step touches. */
  packTransient(section: string, steps: readonly (readonly Region[])[]): void {
    const lifetimes = new Map<string, { first: number; last: number }>();
    steps.forEach((regions, index) => {
      for (const { buffer } of regions) {
        const lifetime = lifetimes.get(buffer) ?? { first: index, last: index };
        lifetime.last = index;
        lifetimes.set(buffer, lifetime);
      }
    });
    const blocks: Block[] = [];
    for (const [name, { first, last }] of lifetimes) {
      const spec = this.#plan.buffers.get(name);
      if (spec !== undefined && isTransient(spec.role))
        blocks.push({ name, byteLength: byteLengthOf(spec.type), first, last });
    }
    const packing = packBlocks(blocks, ARENA_CAPACITY);
    this.#packings.set(section, packing);
    packing.arenas.forEach((byteLength, index) => {
      if ((this.#arenas[index]?.byteLength ?? -1) < byteLength)
        this.#arenas[index] = new ArrayBuffer(byteLength);
    });
  }

  get persistentBytes(): number {
    let bytes = 0;
    for (const { spec } of this.#slots.values()) bytes += byteLengthOf(spec.type);
    return bytes;
  }

  get transientBytes(): number {
    return this.#arenas.reduce((total, arena) => total + arena.byteLength, 0);
  }

  /** A persistent buffer as the host sees it. Throws `EngineError` for unknown and transient ones. */
  view(buffer: string): BufferView {
    const slot = this.#slots.get(buffer);
    if (slot !== undefined) {
      return viewOf(slot.spec, slot.memory.shared, slot.byteOffset, byteLengthOf(slot.spec.type));
    }
    const spec = this.#plan.buffers.get(buffer);
    throw new EngineError(
      "engine.buffer",
      spec === undefined
        ? `there is no buffer "${buffer}".${didYouMean(buffer, this.#plan.buffers.keys())}`
        : `buffer "${buffer}" is transient (${spec.role}): it shares memory and holds nothing between runs`,
    );
  }

  /** A region's elements, of transient buffers too. */
  viewRegion(section: string, region: Region): BufferView {
    const spec = this.#specOf(region);
    const byteLength = region.count * elementBytes(spec);
    const slot = this.#slots.get(region.buffer);
    if (slot !== undefined) {
      const start = slot.byteOffset + region.offset * elementBytes(spec);
      return viewOf(spec, slot.memory.shared, start, byteLength);
    }
    const { buffer, byteOffset } = this.#transientPlace(section, region, spec);
    return viewOf(spec, buffer, byteOffset, byteLength);
  }

  /** Where a persistent region stands in shared memory. */
  kernelPlace(region: Region): KernelPlace | undefined {
    const slot = this.#slots.get(region.buffer);
    if (slot === undefined) return undefined;
    return {
      memory: slot.memory,
      byteOffset: slot.byteOffset + region.offset * elementBytes(slot.spec),
    };
  }

  scratch(buffer: string): KernelPlace | undefined {
    return this.#scratch.get(buffer);
  }

  /** Where a region stands, in shared memory or an arena. */
  place(section: string, region: Region): MemoryPlace {
    const place = this.kernelPlace(region);
    return place === undefined
      ? this.#transientPlace(section, region, this.#specOf(region))
      : { buffer: place.memory.shared, byteOffset: place.byteOffset };
  }

  #specOf(region: Region): BufferSpec {
    const spec = this.#plan.buffers.get(region.buffer);
    if (spec === undefined)
      throw new EngineError("engine.buffer", `there is no buffer "${region.buffer}"`);
    return spec;
  }

  #transientPlace(section: string, region: Region, spec: BufferSpec) {
    const place = this.#packings.get(section)?.places.get(region.buffer);
    const buffer = place === undefined ? undefined : this.#arenas[place.arena];
    if (place === undefined || buffer === undefined)
      throw new EngineError("engine.buffer", `buffer "${region.buffer}" has no memory`);
    return { buffer, byteOffset: place.byteOffset + region.offset * elementBytes(spec) };
  }
}

function viewOf(
  spec: BufferSpec,
  buffer: ArrayBuffer | SharedArrayBuffer,
  byteOffset: number,
  byteLength: number,
): BufferView {
  const { dataType } = spec.type;
  if (dataType === "int64" || dataType === "uint64") {
    throw new EngineError("engine.cpu.type", `the CPU engine has no buffers of ${dataType}`);
  }
  const arrayClass = viewClassOf(spec);
  return new arrayClass(
    buffer as ArrayBuffer,
    byteOffset,
    Math.floor(byteLength / arrayClass.BYTES_PER_ELEMENT),
  );
}
