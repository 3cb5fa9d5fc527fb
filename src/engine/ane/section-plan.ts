import type { MilFunction } from "../../mil/program.ts";
import { elementCount, staticShape } from "../../mil/types.ts";
import type { EngineProgram, InputConversion } from "../../lower/ports.ts";
import type { PlacedProgram } from "../../lower/ports.ts";
import { isTransient } from "../../plan/plan.ts";
import type { Dispatch, Plan } from "../../plan/plan.ts";
import { EngineError } from "../errors.ts";
import { boundRegion, contains, regionKey, overlaps, part } from "../../plan/regions.ts";
import type { Region } from "../../plan/regions.ts";

const HALF_BYTES = 2;

/** A device buffer of a loaded plan, by number. */
export type DeviceId = number;

/** What the host puts into a device buffer before a segment. */
export interface Upload {
  readonly from: Region;
  readonly conversion: InputConversion;
  readonly to: DeviceId;
  /** Halves of the port. */
  readonly count: number;
  /** The device buffer keeps its contents between runs: skipped while the host's did not change. */
  readonly isKept: boolean;
}

/** What the host takes from a device buffer after a segment. */
export interface Download {
  readonly label: string;
  readonly from: DeviceId;
  readonly to: Region;
  /** Halves of the port: for sums more than the region has. */
  readonly count: number;
  readonly how: "write" | "add" | "sum" | "add-sum";
  /** What the host multiplies them with. */
  readonly factor?: number;
}

export interface EngineCall {
  readonly label: string;
  /** Index of its dispatch in the section. */
  readonly place: number;
  readonly program: string;
  readonly inputs: readonly DeviceId[];
  readonly outputs: readonly DeviceId[];
}

/** Calls that one stream runs, with what the host converts before and after. */
export interface SegmentStep {
  readonly kind: "segment";
  readonly label: string;
  readonly uploads: readonly Upload[];
  readonly calls: readonly EngineCall[];
  readonly downloads: readonly Download[];
}

/** A dispatch that stays on the host, and the runs of buffers it touches there. */
export interface HostStep {
  readonly kind: "host";
  readonly label: string;
  /** Index of the dispatch in the section. */
  readonly place: number;
  readonly dispatch: Dispatch;
  readonly reads: readonly Region[];
  readonly writes: readonly Region[];
}

/** What a section is made of, in an order that is right when one step follows the other. */
export type SectionStep = SegmentStep | HostStep;

export interface SectionLimits {
  /** Calls that one stream may hold. */
  readonly callsPerSegment: number;
  /** A segment ends where the host has at least so many bytes of it to convert; see `PIECE`. */
  readonly bytesPerSegment: number;
  /** Every buffer has at least so many halves, and all of one side of a program equally many. */
  readonly equalHalfCounts: boolean;
  readonly minimumHalfCount: number;
}

/** Hands out device buffers while sections are planned. */
export interface DevicePool {
  /** The one device buffer of a key, for as long as the plan is loaded. */
  kept(key: string, halfCount: number): DeviceId;
  /** A free one; `avoid` says which would cut a segment short. */
  take(halfCount: number, avoid: (device: DeviceId) => boolean): DeviceId;
  give(device: DeviceId): void;
}

/**
 * Where streams are cut, so that the host converts one piece's results while the engine runs the next one. A cut
 * costs about nothing: 64 operations in one call took 66 ms, in 64 calls 60 ms (ANEForge, M1; facts of the e5rt
 * route, "many ops on one stream"). Fewer bytes than these are converted sooner than a call's fixed cost.
 */
export const PIECE = { bytes: 1 << 20 } as const;

/**
 * Plans a section: which device buffer every port of every dispatch stands on, when the host converts what, and
 * which dispatches run in one go. A value that passes from one program to the next as the same run of the same
 * buffer stays on the engine; the host gets it only where it reads it, adds to it, or may look at it afterwards.
 */
export function planSection(
  plan: Plan,
  section: string,
  placed: ReadonlyMap<string, PlacedProgram>,
  pool: DevicePool,
  limits: SectionLimits,
): readonly SectionStep[] {
  return new SectionPlanner(plan, section, placed, pool, limits).steps();
}

/** A run of a buffer that stands on the engine. */
interface Image {
  /** Tells apart what else is made of a region than its numbers as fp16. */
  readonly what: string;
  /** Halves that the device buffer holds, at least those of the region. */
  readonly capacity: number;
  readonly region: Region;
  readonly device: DeviceId;
  readonly isPooled: boolean;
  /** The host's copy is older. */
  isAhead: boolean;
}

interface OpenSegment {
  readonly uploads: Upload[];
  readonly calls: EngineCall[];
  readonly downloads: Download[];
  readonly touched: Set<DeviceId>;
  readonly pending: Set<DeviceId>;
  /** Bytes of halves that the host moves for it. */
  byteLength: number;
}

class SectionPlanner {
  readonly #plan: Plan;
  readonly #dispatches: readonly Dispatch[];
  readonly #placed: ReadonlyMap<string, PlacedProgram>;
  readonly #pool: DevicePool;
  readonly #limits: SectionLimits;
  readonly #steps: SectionStep[] = [];
  readonly #images = new Map<string, Image[]>();
  readonly #lastUses = new Map<string, number>();
  /** Device buffers that go back to the pool after the current dispatch. */
  readonly #scratch: DeviceId[] = [];
  #segment = emptySegment();
  /** Device buffers that the host may still be reading when the open segment runs. */
  #recent: ReadonlySet<DeviceId> = new Set();

  constructor(
    plan: Plan,
    section: string,
    placed: ReadonlyMap<string, PlacedProgram>,
    pool: DevicePool,
    limits: SectionLimits,
  ) {
    this.#plan = plan;
    this.#dispatches = plan.sections.get(section) ?? [];
    this.#placed = placed;
    this.#pool = pool;
    this.#limits = limits;
    this.#dispatches.forEach(({ inputs, outputs }, index) => {
      for (const { buffer } of [...inputs.values(), ...outputs.values()])
        this.#lastUses.set(buffer, index);
    });
  }

  steps(): readonly SectionStep[] {
    for (const [index, dispatch] of this.#dispatches.entries()) {
      const placed = this.#placed.get(dispatch.program);
      const fn = this.#plan.programs.get(dispatch.program)?.function;
      if (fn === undefined || placed === undefined) {
        throw new EngineError(
          "engine.plan.program",
          `${dispatch.label}: the plan has no program "${dispatch.program}"`,
        );
      }
      if (placed.place === "engine") this.#onEngine(dispatch, index, fn, placed.program);
      else this.#onHost(dispatch, index, fn);
      for (const { buffer } of [...dispatch.inputs.values(), ...dispatch.outputs.values()]) {
        if (this.#lastUses.get(buffer) === index) this.#retire(buffer);
      }
      for (const device of this.#scratch.splice(0)) this.#pool.give(device);
    }
    this.#closeSegment();
    for (const images of this.#images.values()) {
      for (const image of images) if (image.isPooled) this.#pool.give(image.device);
    }
    return this.#steps;
  }

  #onEngine(dispatch: Dispatch, place: number, fn: MilFunction, program: EngineProgram): void {
    const inputCounts = program.inputs.map(({ name }) =>
      halfCountOf(program.function.inputs, name),
    );
    const outputCounts = program.outputs.map(({ name }) =>
      halfCountOf(program.function.outputs, name),
    );
    const inputs = program.inputs.map(({ from, conversion }, index) => {
      const whole = boundRegion(dispatch, fn, "inputs", from);
      const capacity = this.#capacity(inputCounts, index);
      return conversion.kind === "half"
        ? this.#input(part(whole, conversion.start, conversion.count), capacity)
        : this.#converted(whole, conversion, capacity);
    });
    const results = program.outputs.map(({ to, conversion }, index) => {
      const whole = boundRegion(dispatch, fn, "outputs", to);
      const isAdded = dispatch.outputs.get(to)?.mode === "accumulate";
      const capacity = this.#capacity(outputCounts, index);
      if (conversion.kind === "sum") {
        return {
          region: whole,
          capacity,
          count: outputCounts[index] ?? 0,
          how: isAdded ? "add-sum" : "sum",
        } as const;
      }
      const region = part(whole, conversion.start, outputCounts[index] ?? 0);
      const { factor } = conversion;
      const how = isAdded ? "add" : "write";
      return {
        ...({ region, capacity, count: region.count, how } as const),
        ...(factor !== undefined && { factor }),
      };
    });
    // What the host must have before a result is added to it, or beside what is overwritten.
    for (const { region, how } of results) this.#settle(region, how === "write" || how === "sum");
    const after: (() => void)[] = [];
    const outputs = results.map((result) => this.#output(dispatch.label, inputs, result, after));
    if (this.#segment.calls.length >= this.#limits.callsPerSegment) this.#closeSegment();
    const { label, program: name } = dispatch;
    this.#segment.calls.push({ label, place, program: name, inputs, outputs });
    for (const device of [...inputs, ...outputs]) this.#segment.touched.add(device);
    for (const act of after) act();
    if (this.#segment.byteLength >= this.#limits.bytesPerSegment) this.#closeSegment();
  }

  /** The device buffer of a result, and what becomes of it once the call stands in the segment. */
  #output(
    label: string,
    inputs: readonly DeviceId[],
    {
      region,
      capacity,
      count,
      how,
      factor,
    }: Pick<Download, "how" | "count" | "factor"> & Pick<Image, "region" | "capacity">,
    after: (() => void)[],
  ): DeviceId {
    const isPersistent = this.#isPersistent(region.buffer);
    const image = { what: "half", region, capacity };
    const scaled = factor === undefined ? {} : { factor };
    if (how === "write" && isPersistent) {
      const device = this.#pool.kept(`${regionKey(region)} half ${capacity}`, capacity);
      // One call must not read and write the same buffer.
      if (!inputs.includes(device)) {
        this.#avoidPending(device);
        after.push(() => {
          this.#download({ label, from: device, to: region, count, how, ...scaled });
          // What stands on the engine is not what the host holds.
          if (factor === undefined)
            this.#hold({ ...image, device, isPooled: false, isAhead: false });
        });
        return device;
      }
    }
    const device = this.#take(capacity);
    after.push(() => {
      if (how === "write" && !isPersistent && factor === undefined) {
        this.#hold({ ...image, device, isPooled: true, isAhead: true });
      } else {
        this.#download({ label, from: device, to: region, count, how, ...scaled });
        this.#scratch.push(device);
      }
    });
    return device;
  }

  #capacity(counts: readonly number[], index: number): number {
    const { equalHalfCounts, minimumHalfCount } = this.#limits;
    const own = equalHalfCounts ? Math.max(...counts) : (counts[index] ?? 0);
    return Math.max(own, minimumHalfCount);
  }

  #onHost(dispatch: Dispatch, place: number, fn: MilFunction): void {
    const reads = fn.inputs.map(({ name }) => boundRegion(dispatch, fn, "inputs", name));
    for (const region of reads) this.#settle(region);
    const writes = fn.outputs.map(({ name }) => {
      const region = boundRegion(dispatch, fn, "outputs", name);
      this.#settle(region, dispatch.outputs.get(name)?.mode === "write");
      return region;
    });
    this.#closeSegment();
    this.#steps.push({ kind: "host", label: dispatch.label, place, dispatch, reads, writes });
  }

  /** The device buffer that holds a run of a plan's buffer as fp16. */
  #input(region: Region, capacity: number): DeviceId {
    const images = this.#images.get(region.buffer) ?? [];
    const held = images.find(
      (image) =>
        image.what === "half" &&
        image.capacity === capacity &&
        regionKey(image.region) === regionKey(region),
    );
    if (held !== undefined) return held.device;
    for (const image of images) if (overlaps(image.region, region)) this.#bringHome(image);
    const isPersistent = this.#isPersistent(region.buffer);
    const device = isPersistent
      ? this.#pool.kept(`${regionKey(region)} half ${capacity}`, capacity)
      : this.#take(capacity);
    const { count } = region;
    const conversion = { kind: "half", start: 0, count } as const;
    this.#upload({ from: region, conversion, to: device, count, isKept: isPersistent });
    const image = { what: "half", region, capacity, device, isAhead: false };
    this.#hold({ ...image, isPooled: !isPersistent });
    return device;
  }

  /** What the host makes of indices: a device buffer of its own, filled once a run. */
  #converted(
    region: Region,
    conversion: Exclude<InputConversion, { kind: "half" }>,
    capacity: number,
  ): DeviceId {
    const what =
      conversion.kind === "one-hot"
        ? `one-hot ${conversion.first}+${conversion.depth} of ${conversion.size}, ${conversion.negative}`
        : conversion.kind;
    const images = this.#images.get(region.buffer) ?? [];
    const held = images.find(
      (image) =>
        image.what === what &&
        image.capacity === capacity &&
        regionKey(image.region) === regionKey(region),
    );
    if (held !== undefined) return held.device;
    for (const image of images) if (overlaps(image.region, region)) this.#bringHome(image);
    const device = this.#pool.kept(`${regionKey(region)} ${what} ${capacity}`, capacity);
    const count = region.count * (conversion.kind === "one-hot" ? conversion.depth : 1);
    this.#upload({ from: region, conversion, to: device, count, isKept: false });
    this.#hold({ what, region, capacity, device, isPooled: false, isAhead: false });
    return device;
  }

  #upload(upload: Upload): void {
    const { touched, pending, downloads } = this.#segment;
    const isBehind = downloads.some(({ to }) => overlaps(to, upload.from));
    if (isBehind || touched.has(upload.to) || pending.has(upload.to)) this.#closeSegment();
    this.#segment.uploads.push(upload);
    this.#segment.touched.add(upload.to);
    this.#segment.byteLength += HALF_BYTES * upload.count;
  }

  #download(download: Download): void {
    this.#segment.downloads.push(download);
    this.#segment.pending.add(download.from);
    this.#segment.byteLength += HALF_BYTES * download.count;
  }

  /** Before a region of the host changes, or is read by it: later copies come home, others are void. */
  #settle(region: Region, isOverwritten?: boolean): void {
    const images = this.#images.get(region.buffer) ?? [];
    for (const image of images.filter((held) => overlaps(held.region, region))) {
      if (!(isOverwritten === true && contains(region, image.region))) this.#bringHome(image);
    }
    if (isOverwritten === undefined) return;
    const kept = images.filter((image) => !overlaps(image.region, region));
    for (const image of images) {
      if (overlaps(image.region, region) && image.isPooled) this.#scratch.push(image.device);
    }
    this.#images.set(region.buffer, kept);
  }

  #bringHome(image: Image): void {
    if (!image.isAhead) return;
    const { region, device } = image;
    this.#download({
      label: `to the host: ${region.buffer}`,
      from: device,
      to: region,
      count: region.count,
      how: "write",
    });
    image.isAhead = false;
  }

  #hold(image: Image): void {
    const images = this.#images.get(image.region.buffer) ?? [];
    images.push(image);
    this.#images.set(image.region.buffer, images);
  }

  #take(capacity: number): DeviceId {
    const device = this.#pool.take(
      capacity,
      (candidate) => this.#segment.pending.has(candidate) || this.#recent.has(candidate),
    );
    this.#avoidPending(device);
    return device;
  }

  /** A device buffer whose contents the host still waits for must not be written again. */
  #avoidPending(device: DeviceId): void {
    if (this.#segment.pending.has(device)) this.#closeSegment();
  }

  /** A transient buffer's last use is over. */
  #retire(buffer: string): void {
    if (this.#isPersistent(buffer)) return;
    for (const image of this.#images.get(buffer) ?? []) {
      if (image.isPooled) this.#scratch.push(image.device);
    }
    this.#images.delete(buffer);
  }

  #closeSegment(): void {
    const { uploads, calls, downloads, pending } = this.#segment;
    if (uploads.length + calls.length + downloads.length === 0) return;
    this.#steps.push({ kind: "segment", label: labelOf(this.#segment), uploads, calls, downloads });
    this.#recent = pending;
    this.#segment = emptySegment();
  }

  #isPersistent(buffer: string): boolean {
    const spec = this.#plan.buffers.get(buffer);
    if (spec === undefined) {
      throw new EngineError("engine.buffer", `there is no buffer "${buffer}"`);
    }
    return !isTransient(spec.role);
  }
}

function emptySegment(): OpenSegment {
  return {
    uploads: [],
    calls: [],
    downloads: [],
    touched: new Set(),
    pending: new Set(),
    byteLength: 0,
  };
}

function labelOf({ calls, downloads }: Pick<OpenSegment, "calls" | "downloads">): string {
  const first = calls[0]?.label ?? downloads[0]?.label ?? "conversions";
  return calls.length > 1 ? `${first} … ${calls.at(-1)?.label ?? ""}` : first;
}

function halfCountOf(ports: MilFunction["inputs"], port: string): number {
  const type = ports.find(({ name }) => name === port)?.type;
  return type?.kind === "tensor" ? elementCount(staticShape(type)) : 0;
}
