import { byteLengthOf } from "../../mil/types.ts";
import type { BufferSpec, Plan } from "../../plan/plan.ts";
import type { BufferView } from "../engine.ts";
import { EngineError } from "../errors.ts";
import type { MemoryPlace } from "./graph-step.ts";
import type { KernelPlace } from "../host/host-kernels.ts";
import { GuestRoom } from "./guest-room.ts";
import { elementBytes, layOutPersistent } from "./layout.ts";
import type { Place } from "./layout.ts";
import type { KernelMemory } from "../host/kernel-job.ts";
import { adviseLargePages } from "../host/large-pages.ts";
import { SharedMemory } from "../host/memory.ts";
import { TransientArenas, viewIn } from "../host/plan-buffers.ts";
import type { MemoryBlock } from "../host/plan-buffers.ts";
import { isSameBuffer } from "../host/plan-record.ts";
import type { SectionMemory } from "../../plan/memory.ts";
import type { Region } from "../../plan/regions.ts";

/** A persistent buffer's memory; `share` hands it from plan to plan. */
export interface Slot {
  readonly spec: BufferSpec;
  readonly memory: KernelMemory;
  readonly byteOffset: number;
}

export interface StoreRequests {
  /** Buffers that must stand in one memory. */
  readonly together: readonly (readonly string[])[];
  /** Bytes of room wanted beside buffers. */
  readonly scratch: ReadonlyMap<string, number>;
}

function largeMemory(byteLength: number): SharedMemory {
  const memory = new SharedMemory(byteLength);
  adviseLargePages(memory.shared);
  return memory;
}

/**
 * Memory of a plan's buffers: persistent ones in shared memories by group, transient ones packed into arenas of
 * plain memory that all sections use in turn.
 */
export class BufferStore {
  readonly #plan: Plan;
  readonly #slots = new Map<string, Slot>();
  readonly #scratch = new Map<string, KernelPlace>();
  #transient = transientArenas([]);
  /** Where plans that share these buffers may have theirs. */
  readonly guestRoom: GuestRoom | undefined;
  readonly #giveBack: () => void;

  constructor(plan: Plan, requests: StoreRequests, share?: BufferStore) {
    this.#plan = plan;
    for (const spec of plan.buffers.values()) {
      const shared = share?.slotFor(spec);
      if (shared !== undefined) this.#slots.set(spec.name, shared);
    }
    const layout = layOutPersistent(
      plan,
      (spec) => !this.#slots.has(spec.name) && spec.isInFile !== true,
      requests.together,
      requests.scratch,
    );
    const [only = 0, ...more] = layout.memories;
    const guest = only > 0 && more.length === 0 ? share?.guestRoom?.take(only) : undefined;
    this.#giveBack = () => {
      if (guest !== undefined) share?.guestRoom?.giveBack(guest.byteOffset, only);
    };
    const memories: readonly KernelPlace[] =
      guest === undefined
        ? layout.memories.map((size) => ({ memory: largeMemory(size), byteOffset: 0 }))
        : [guest];
    const placeOf = ({ memory, byteOffset }: Place): KernelPlace | undefined => {
      const held = memories[memory];
      return held && { memory: held.memory, byteOffset: held.byteOffset + byteOffset };
    };
    for (const [name, place] of layout.places) {
      const spec = plan.buffers.get(name);
      const held = placeOf(place);
      if (spec !== undefined && held !== undefined) this.#slots.set(name, { spec, ...held });
    }
    for (const [name, place] of layout.scratch) {
      const held = placeOf(place);
      if (held !== undefined) this.#scratch.set(name, held);
    }
    const room = layout.guestRoom && placeOf(layout.guestRoom);
    this.guestRoom =
      room && new GuestRoom(room.memory, room.byteOffset, layout.guestRoom?.byteLength ?? 0);
  }

  /** Lets go of memory that belongs to another plan. Nothing may run or be looked at any more. */
  close(): void {
    this.#giveBack();
  }

  /** Every memory that a persistent buffer stands in, shared ones included. */
  get memories(): ReadonlySet<KernelMemory> {
    return new Set([...this.#slots.values()].map(({ memory }) => memory));
  }

  /** The memory of a persistent buffer of the same name and type. */
  slotFor(spec: BufferSpec): Slot | undefined {
    const slot = this.#slots.get(spec.name);
    return slot !== undefined && isSameBuffer(slot.spec, spec) ? slot : undefined;
  }

  /** Gives the transient buffers of all sections memory. */
  packTransient(sections: readonly SectionMemory[]): void {
    this.#transient = transientArenas(sections);
  }

  get persistentBytes(): number {
    let bytes = 0;
    for (const { spec } of this.#slots.values()) bytes += byteLengthOf(spec.type);
    return bytes;
  }

  get transientBytes(): number {
    return this.#transient.byteLength;
  }

  /** A persistent buffer as the host sees it. */
  view(buffer: string): BufferView {
    const slot = this.#slots.get(buffer);
    if (slot === undefined)
      throw new EngineError("engine.buffer", `buffer "${buffer}" has no memory`);
    return viewOf(slot.spec, blockOf(slot), byteLengthOf(slot.spec.type));
  }

  /** A region's elements, of transient buffers too. */
  viewRegion(section: string, region: Region): BufferView {
    const spec = this.#specOf(region);
    return viewOf(spec, this.place(section, region), region.count * elementBytes(spec));
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
    if (place !== undefined) return { buffer: place.memory.shared, byteOffset: place.byteOffset };
    const { buffer, byteOffset } = this.#transient.place(section, region.buffer);
    return { buffer, byteOffset: byteOffset + region.offset * elementBytes(this.#specOf(region)) };
  }

  #specOf(region: Region): BufferSpec {
    const spec = this.#plan.buffers.get(region.buffer);
    if (spec === undefined)
      throw new EngineError("engine.buffer", `there is no buffer "${region.buffer}"`);
    return spec;
  }
}

const transientArenas = (sections: readonly SectionMemory[]): TransientArenas<MemoryBlock> =>
  new TransientArenas(sections, (byteLength) => ({
    buffer: new ArrayBuffer(byteLength),
    byteOffset: 0,
  }));

const blockOf = ({ memory, byteOffset }: Slot): MemoryBlock => ({
  buffer: memory.shared,
  byteOffset,
});

function viewOf(spec: BufferSpec, block: MemoryBlock, byteLength: number): BufferView {
  const { dataType } = spec.type;
  if (dataType === "int64" || dataType === "uint64") {
    throw new EngineError("engine.cpu.type", `the CPU engine has no buffers of ${dataType}`);
  }
  return viewIn(spec, block, byteLength);
}
