import { byteLengthOf, elementCount, staticShape } from "../../mil/types.ts";
import type { MilType } from "../../mil/types.ts";
import { arenasOf, packSection } from "../../plan/memory.ts";
import type { SectionMemory } from "../../plan/memory.ts";
import { isTransient } from "../../plan/plan.ts";
import type { Binding, BufferSpec, Plan } from "../../plan/plan.ts";
import { viewClassOf } from "../engine.ts";
import type { BufferView, MemoryReport } from "../engine.ts";
import { EngineError } from "../errors.ts";
import { isSameBuffer } from "./plan-record.ts";

/** A stretch of memory that an engine has given. */
export interface MemoryBlock {
  readonly buffer: ArrayBuffer | SharedArrayBuffer;
  readonly byteOffset: number;
}

/** A buffer's elements in a stretch of memory. */
export function viewIn(
  spec: BufferSpec,
  { buffer, byteOffset }: MemoryBlock,
  byteLength: number = byteLengthOf(spec.type),
): BufferView {
  const arrayClass = viewClassOf(spec);
  const length = Math.floor(byteLength / arrayClass.BYTES_PER_ELEMENT);
  return new arrayClass(buffer as ArrayBuffer, byteOffset, length);
}

/** The arenas of a plan's transient buffers, as the plan's packing says; sections use them in turn. */
export class TransientArenas<Block extends MemoryBlock> {
  readonly arenas: readonly Block[];
  readonly byteLength: number;
  readonly #places = new Map<
    string,
    ReadonlyMap<string, { readonly arena: number; readonly offset: number }>
  >();

  constructor(sections: readonly SectionMemory[], allocate: (byteLength: number) => Block) {
    const sizes = arenasOf(sections);
    this.arenas = sizes.map(allocate);
    this.byteLength = sizes.reduce((total, size) => total + size, 0);
    for (const { section, placements } of sections)
      this.#places.set(section, new Map(placements.map((place) => [place.buffer, place])));
  }

  /** Where a buffer stands while a section runs. Throws `EngineError` for what has no place in it. */
  place(section: string, name: string): MemoryBlock {
    const place = this.#places.get(section)?.get(name);
    const arena = place === undefined ? undefined : this.arenas[place.arena];
    if (place === undefined || arena === undefined)
      throw new EngineError("engine.buffer", `buffer "${name}" has no memory in "${section}"`);
    return { buffer: arena.buffer, byteOffset: arena.byteOffset + place.offset };
  }
}

interface Slot<Block> {
  readonly spec: BufferSpec;
  readonly block: Block;
  readonly view: BufferView;
  /** Plans that use it. */
  users: number;
}

/** How an engine gives memory, all zeros, and takes it back. */
export interface Allocator<Block extends MemoryBlock> {
  readonly allocate: (byteLength: number) => Block;
  readonly release: (block: Block) => void;
}

/** Memory of a plan's buffers: persistent ones each by itself, some of them another plan's, transient ones packed. */
export class PlanBuffers<Block extends MemoryBlock> {
  readonly #slots = new Map<string, Slot<Block>>();
  readonly #transient: TransientArenas<Block>;
  readonly #allocator: Allocator<Block>;
  readonly #views = new Map<string, BufferView>();

  constructor(plan: Plan, allocator: Allocator<Block>, share?: PlanBuffers<Block>) {
    this.#allocator = allocator;
    const given: Block[] = [];
    const allocate = (byteLength: number): Block => {
      const block = allocator.allocate(byteLength);
      given.push(block);
      return block;
    };
    try {
      for (const spec of plan.buffers.values()) {
        if (isTransient(spec.role)) continue;
        const block = share?.slotFor(spec) ?? this.#slotIn(spec, allocate(byteLengthOf(spec.type)));
        this.#slots.set(spec.name, block);
      }
      const sections = [...plan.sections.keys()].map((section) => packSection(plan, section));
      this.#transient = new TransientArenas(sections, allocate);
    } catch (error) {
      for (const block of given) allocator.release(block);
      throw error;
    }
    for (const slot of this.#slots.values()) slot.users++;
  }

  slotFor(spec: BufferSpec): Slot<Block> | undefined {
    const slot = this.#slots.get(spec.name);
    return slot !== undefined && isSameBuffer(slot.spec, spec) ? slot : undefined;
  }

  /** A persistent buffer's elements. */
  view(name: string): BufferView {
    const slot = this.#slots.get(name);
    if (slot === undefined) throw new EngineError("engine.buffer", `there is no buffer "${name}"`);
    return slot.view;
  }

  /** The elements that a binding of one of a section's dispatches speaks of. */
  elements(section: string, spec: BufferSpec, { offset }: Binding, type: MilType): BufferView {
    if (type.kind !== "tensor")
      throw new EngineError("engine.plan.binding", `buffer "${spec.name}" is bound to no tensor`);
    const whole = isTransient(spec.role) ? this.#passing(section, spec) : this.view(spec.name);
    return whole.subarray(offset, offset + elementCount(staticShape(type)));
  }

  get memory(): Omit<MemoryReport, "runtimeBytes"> {
    let persistentBytes = 0;
    for (const { view } of this.#slots.values()) persistentBytes += view.byteLength;
    return { persistentBytes, transientBytes: this.#transient.byteLength };
  }

  release(): void {
    for (const slot of this.#slots.values())
      if (--slot.users === 0) this.#allocator.release(slot.block);
    this.#slots.clear();
    for (const block of this.#transient.arenas) this.#allocator.release(block);
  }

  #slotIn(spec: BufferSpec, block: Block): Slot<Block> {
    return { spec, block, view: viewIn(spec, block), users: 0 };
  }

  #passing(section: string, spec: BufferSpec): BufferView {
    const key = `${section}\n${spec.name}`;
    const known = this.#views.get(key);
    if (known !== undefined) return known;
    const view = viewIn(spec, this.#transient.place(section, spec.name));
    this.#views.set(key, view);
    return view;
  }
}
