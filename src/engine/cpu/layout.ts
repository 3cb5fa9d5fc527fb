import { byteLengthOf, DATA_TYPE_BITS } from "../../mil/types.ts";
import type { BufferSpec, Plan } from "../../plan/plan.ts";
import { isTransient } from "../../plan/plan.ts";
import { EngineError } from "../errors.ts";
import { MAXIMUM_MEMORY_BYTES } from "../host/memory.ts";
import { alignUp } from "../../plan/packing.ts";

/** Where a persistent buffer stands. */
export interface Place {
  readonly memory: number;
  readonly byteOffset: number;
}

export interface PersistentLayout {
  readonly places: ReadonlyMap<string, Place>;
  /** Room reserved beside buffers, by the buffer's name. */
  readonly scratch: ReadonlyMap<string, Place>;
  /** Bytes of every memory. */
  readonly memories: readonly number[];
  /** Room behind the buffers for plans that share them. */
  readonly guestRoom?: Place & { readonly byteLength: number };
}

/** A new memory is begun beyond this, so that no single one is hard to place in the address space. */
const PREFERRED_MEMORY_BYTES = 2 ** 31 - 65536;

/**
 * Room for the caches and values of plans that share another one's weights: kernels read both only in one memory. It is
 * address space; memory is taken as it is written. Windows counts it when it is asked for.
 */
const GUEST_BYTES = process.platform === "win32" ? 2 ** 28 : 2 ** 30;
/** Weights beyond this leave no such room. */
const MOST_HOST_BYTES = MAXIMUM_MEMORY_BYTES - GUEST_BYTES;

/** Bytes of an element. Throws `EngineError` for types that have no array class. */
export function elementBytes(spec: BufferSpec): number {
  const bits = DATA_TYPE_BITS[spec.type.dataType];
  if (bits < 8) {
    throw new EngineError(
      "engine.cpu.type",
      `buffer "${spec.name}" is ${spec.type.dataType}; buffers hold whole bytes`,
    );
  }
  return bits / 8;
}

/**
 * Places persistent buffers: those of one group in one memory (several where it would grow beyond 2 GiB), those
 * without a group together. What must stand in one memory (a parameter with its gradient and moments) is told
 * in `together`; such sets are never torn apart. `scratch` asks for room in the memory of a buffer; a memory
 * holds the largest such request once. A plan that only owns weights puts them all into one memory, with room for
 * guests, where they are few enough.
 */
export function layOutPersistent(
  plan: Plan,
  isWanted: (spec: BufferSpec) => boolean,
  together: readonly (readonly string[])[],
  scratch: ReadonlyMap<string, number>,
): PersistentLayout {
  const parent = new Map<string, string>();
  const find = (name: string): string => {
    let root = name;
    for (let next = parent.get(root); next !== undefined; next = parent.get(root)) root = next;
    return root;
  };
  for (const [first, ...others] of together) {
    if (first === undefined) continue;
    for (const other of others) {
      const [a, b] = [find(first), find(other)];
      if (a !== b) parent.set(b, a);
    }
  }
  const sets = new Map<string, { readonly group: string; readonly buffers: BufferSpec[] }>();
  for (const spec of plan.buffers.values()) {
    if (isTransient(spec.role) || !isWanted(spec)) continue;
    const root = find(spec.name);
    const set = sets.get(root) ?? { group: spec.group ?? "", buffers: [] };
    set.buffers.push(spec);
    sets.set(root, set);
  }
  const places = new Map<string, Place>();
  const memories: number[] = [];
  const isHost = hostsGuests(plan);
  const mostBytes = isHost ? MOST_HOST_BYTES : PREFERRED_MEMORY_BYTES;
  const open = new Map<string, number>();
  for (const { group: own, buffers } of sets.values()) {
    const group = isHost ? "" : own;
    const size = buffers.reduce((total, spec) => total + alignUp(byteLengthOf(spec.type)), 0);
    if (size > MAXIMUM_MEMORY_BYTES) {
      throw new EngineError(
        "engine.cpu.memory",
        `"${buffers[0]?.name}" and what is updated with it take ${size} bytes, one memory holds ${MAXIMUM_MEMORY_BYTES}`,
      );
    }
    let memory = open.get(group);
    if (memory === undefined || (memories[memory] ?? 0) + size > mostBytes) {
      // The first bytes stay free: address 0 is no address for a kernel.
      memory = memories.push(alignUp(1)) - 1;
      open.set(group, memory);
    }
    for (const spec of buffers) {
      elementBytes(spec);
      const byteOffset = memories[memory] ?? 0;
      places.set(spec.name, { memory, byteOffset });
      memories[memory] = byteOffset + alignUp(byteLengthOf(spec.type));
    }
  }
  const largest = new Map<number, number>();
  for (const [name, byteLength] of scratch) {
    const memory = places.get(name)?.memory;
    if (memory !== undefined)
      largest.set(memory, Math.max(largest.get(memory) ?? 0, alignUp(byteLength)));
  }
  const starts = new Map<number, number>();
  for (const [memory, size] of largest) {
    const start = memories[memory] ?? 0;
    // Where there is no room left, the kernel goes without and its function runs instead.
    if (start + size > MAXIMUM_MEMORY_BYTES) continue;
    starts.set(memory, start);
    memories[memory] = start + size;
  }
  const scratchPlaces = new Map<string, Place>();
  for (const name of scratch.keys()) {
    const memory = places.get(name)?.memory ?? -1;
    const byteOffset = starts.get(memory);
    if (byteOffset !== undefined) scratchPlaces.set(name, { memory, byteOffset });
  }
  if (!isHost || memories.length !== 1) return { places, scratch: scratchPlaces, memories };
  const byteOffset = memories[0] ?? 0;
  memories[0] = byteOffset + GUEST_BYTES;
  const guestRoom = { memory: 0, byteOffset, byteLength: GUEST_BYTES };
  return { places, scratch: scratchPlaces, memories, guestRoom };
}

/** Whether a plan owns weights that others run on: it runs nothing itself, and its weights fit one memory. */
function hostsGuests(plan: Plan): boolean {
  if (plan.sections.size > 0) return false;
  let byteLength = 0;
  for (const { type, role } of plan.buffers.values()) {
    if (role !== "weight") return false;
    byteLength += alignUp(byteLengthOf(type));
  }
  return byteLength > 0 && byteLength <= MOST_HOST_BYTES;
}
