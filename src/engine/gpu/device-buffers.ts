import { isTransient } from "../../plan/plan.ts";
import type { BufferSpec, Plan } from "../../plan/plan.ts";
import type { BufferView } from "../engine.ts";
import { EngineError } from "../errors.ts";
import { isSameBuffer } from "../host/plan-record.ts";
import type { Copy, DeviceBlock, DeviceRuntime } from "./device-runtime.ts";
import { bytesOf, deviceBytes, fromDevice, hostCopy, isPlain, toDevice } from "./device-types.ts";

/** A persistent buffer; `share` hands it from plan to plan. */
export interface Slot {
  readonly spec: BufferSpec;
  /** Another one after every graph that reads and writes the buffer. */
  block: DeviceBlock;
  /** Made when the host first asks. */
  host: BufferView | undefined;
  /** The host may have written since the last upload. */
  isTouched: boolean;
  /** A graph has written since the last download. */
  isBehind: boolean;
  users: number;
}

/** Free blocks by size. What a graph in the queue still reads may be given away: the queue keeps its order. */
export class BlockPool {
  readonly #runtime: DeviceRuntime;
  readonly #free = new Map<number, DeviceBlock[]>();
  #byteLength = 0;

  constructor(runtime: DeviceRuntime) {
    this.#runtime = runtime;
  }

  /** Bytes of all blocks that were made here and not freed, in use or not. */
  get byteLength(): number {
    return this.#byteLength;
  }

  take(byteLength: number): DeviceBlock {
    const free = this.#free.get(byteLength)?.pop();
    if (free !== undefined) return free;
    this.#byteLength += byteLength;
    return this.#runtime.allocate(byteLength);
  }

  give(byteLength: number, block: DeviceBlock): void {
    const free = this.#free.get(byteLength);
    if (free === undefined) this.#free.set(byteLength, [block]);
    else free.push(block);
  }

  close(): void {
    for (const blocks of this.#free.values()) for (const block of blocks) this.#runtime.free(block);
    this.#free.clear();
    this.#byteLength = 0;
  }
}

/** The buffers of a plan: persistent ones with copies on the host where it asks for them, transient ones pooled. */
export class DeviceBuffers {
  readonly #runtime: DeviceRuntime;
  readonly #pool: BlockPool;
  readonly #plan: Plan;
  readonly #slots = new Map<string, Slot>();
  readonly #transient = new Map<string, DeviceBlock>();
  /** Buffers that some dispatch writes. */
  readonly #results: ReadonlySet<string>;
  readonly persistentBytes: number;

  constructor(runtime: DeviceRuntime, plan: Plan, share?: DeviceBuffers) {
    this.#runtime = runtime;
    this.#pool = new BlockPool(runtime);
    this.#plan = plan;
    this.#results = new Set(
      [...plan.sections.values()].flatMap((dispatches) =>
        dispatches.flatMap(({ outputs }) => [...outputs.values()].map(({ buffer }) => buffer)),
      ),
    );
    let persistentBytes = 0;
    try {
      for (const spec of plan.buffers.values()) {
        const byteLength = deviceBytes(spec);
        if (isTransient(spec.role)) continue;
        persistentBytes += byteLength;
        const slot = share?.slotFor(spec) ?? this.#newSlot(spec, byteLength);
        slot.users++;
        this.#slots.set(spec.name, slot);
      }
    } catch (error) {
      this.release();
      throw error;
    }
    this.persistentBytes = persistentBytes;
  }

  /** Bytes of transient buffers and of spare blocks for what is updated. */
  get pooledBytes(): number {
    return this.#pool.byteLength;
  }

  slotFor(spec: BufferSpec): Slot | undefined {
    const slot = this.#slots.get(spec.name);
    return slot !== undefined && isSameBuffer(slot.spec, spec) ? slot : undefined;
  }

  /** A persistent buffer's elements as they are now; the next run reads what is written into them. */
  view(name: string): BufferView {
    const slot = this.#slot(name);
    const view = slot.host ?? this.#hostOf(slot);
    if (slot.isBehind) this.bringBack([slot]);
    slot.isTouched = true;
    return view;
  }

  /** Persistent buffers among some names. */
  slots(names: readonly string[]): readonly Slot[] {
    return names.flatMap((name) => this.#slots.get(name) ?? []);
  }

  /** Sends what the host may have changed. */
  send(slots: readonly Slot[]): void {
    const copies: Copy[] = [];
    for (const slot of slots) {
      const { spec, host, block, isTouched } = slot;
      if (host === undefined || !(isTouched || this.#isHosts(slot))) continue;
      copies.push({
        bytes: isPlain(spec) ? bytesOf(host) : toDevice(spec.type.dataType, host),
        block,
      });
      slot.isTouched = false;
    }
    this.#runtime.upload(copies);
  }

  /** Brings the host's copies up to date; waits for the device. */
  bringBack(slots: readonly Slot[]): void {
    const landings: {
      readonly slot: Slot;
      readonly host: BufferView;
      readonly bytes: Uint8Array;
    }[] = [];
    for (const slot of slots) {
      const { spec } = slot;
      const host = slot.host ?? this.#hostOf(slot);
      const bytes = isPlain(spec) ? bytesOf(host) : new Uint8Array(deviceBytes(spec));
      landings.push({ slot, host, bytes });
    }
    this.#runtime.download(landings.map(({ slot, bytes }) => ({ bytes, block: slot.block })));
    for (const { slot, host, bytes } of landings) {
      if (!isPlain(slot.spec)) fromDevice(slot.spec.type.dataType, bytes, host);
      slot.isBehind = false;
    }
  }

  /** Memory that a graph reads. */
  blockOf(name: string): DeviceBlock {
    const block = this.#slots.get(name)?.block ?? this.#transient.get(name);
    if (block !== undefined) return block;
    // Read before anything wrote it: a part of a buffer of which another part is written first.
    return this.#transientBlock(name);
  }

  /** Memory for a graph to write a buffer into; `isRead` where the same graph reads the buffer too. */
  targetOf(name: string, isRead: boolean): DeviceBlock {
    const slot = this.#slots.get(name);
    if (isRead) return this.#pool.take(deviceBytes(this.#specOf(name)));
    return slot?.block ?? this.#transient.get(name) ?? this.#transientBlock(name);
  }

  /** A graph has written a buffer. */
  written(name: string, block: DeviceBlock): void {
    const byteLength = deviceBytes(this.#specOf(name));
    const slot = this.#slots.get(name);
    if (slot !== undefined) {
      if (slot.block !== block) this.#pool.give(byteLength, slot.block);
      slot.block = block;
      slot.isBehind = true;
      slot.isTouched = false;
      return;
    }
    const before = this.#transient.get(name);
    if (before !== undefined && before !== block) this.#pool.give(byteLength, before);
    this.#transient.set(name, block);
  }

  /** Nobody reads a transient buffer any more. */
  drop(name: string): void {
    const block = this.#transient.get(name);
    if (block === undefined) return;
    this.#transient.delete(name);
    this.#pool.give(deviceBytes(this.#specOf(name)), block);
  }

  dropAll(): void {
    for (const name of [...this.#transient.keys()]) this.drop(name);
  }

  release(): void {
    this.dropAll();
    for (const slot of this.#slots.values()) if (--slot.users === 0) this.#runtime.free(slot.block);
    this.#slots.clear();
    this.#pool.close();
  }

  /** Inputs, and caches whose rows the host writes, are the host's to write at any time, through any view. */
  #isHosts({ spec: { name, role }, isBehind }: Slot): boolean {
    return role === "input" || (role === "state" && !isBehind && !this.#results.has(name));
  }

  #transientBlock(name: string): DeviceBlock {
    const block = this.#pool.take(deviceBytes(this.#specOf(name)));
    this.#transient.set(name, block);
    return block;
  }

  #newSlot(spec: BufferSpec, byteLength: number): Slot {
    const block = this.#runtime.allocate(byteLength);
    this.#runtime.upload([{ bytes: new Uint8Array(byteLength), block }]);
    return { spec, block, host: undefined, isTouched: false, isBehind: false, users: 0 };
  }

  /** The host's copy; zeros until something is brought back. */
  #hostOf(slot: Slot): BufferView {
    slot.host ??= hostCopy(slot.spec);
    return slot.host;
  }

  #slot(name: string): Slot {
    const slot = this.#slots.get(name);
    if (slot !== undefined) return slot;
    throw new EngineError("engine.buffer", `buffer "${name}" has no memory`);
  }

  #specOf(name: string): BufferSpec {
    const spec = this.#plan.buffers.get(name);
    if (spec !== undefined) return spec;
    throw new EngineError("engine.buffer", `there is no buffer "${name}"`);
  }
}
