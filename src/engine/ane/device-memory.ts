import { EngineError } from "../errors.ts";
import type { AneDriver, DeviceBuffer } from "./driver.ts";
import type { DeviceId, DevicePool } from "./section-plan.ts";

/** Bytes of free device buffers up to which a new one is made rather than a segment cut short. */
const SPARE_BYTES = 512 << 20;

interface KeptDevice {
  readonly id: DeviceId;
  readonly halfCount: number;
}

/**
 * The device buffers of a plan. Sections run one after the other, so pooled ones serve all sections in turn;
 * kept ones hold persistent buffers as fp16 and are shared with plans that share those buffers.
 */
export class DeviceMemory implements DevicePool {
  readonly #driver: AneDriver;
  readonly #sizes: number[] = [];
  readonly #keptHere = new Map<string, KeptDevice>();
  readonly #free = new Map<number, DeviceId[]>();
  readonly #buffers = new Map<DeviceId, DeviceBuffer>();
  /** The host's version that a kept device buffer equals, by number. */
  readonly #versions = new Map<DeviceId, number>();
  #pooledBytes = 0;

  constructor(driver: AneDriver) {
    this.#driver = driver;
  }

  kept(key: string, halfCount: number): DeviceId {
    const known = this.#keptHere.get(key);
    if (known !== undefined) return known.id;
    const id = this.#sizes.push(halfCount) - 1;
    this.#keptHere.set(key, { id, halfCount });
    return id;
  }

  take(halfCount: number, avoid: (device: DeviceId) => boolean): DeviceId {
    const free = this.#free.get(halfCount) ?? [];
    const at = free.findLastIndex((device) => !avoid(device));
    if (at >= 0) return free.splice(at, 1)[0] ?? this.#make(halfCount);
    if (this.#pooledBytes > SPARE_BYTES) return free.pop() ?? this.#make(halfCount);
    return this.#make(halfCount);
  }

  give(device: DeviceId): void {
    const halfCount = this.#sizes[device] ?? 0;
    const free = this.#free.get(halfCount) ?? [];
    free.push(device);
    this.#free.set(halfCount, free);
  }

  /** The memory of a device buffer, allocated when first needed. */
  bufferOf(device: DeviceId): DeviceBuffer {
    const known = this.#buffers.get(device);
    if (known !== undefined) return known;
    const halfCount = this.#sizes[device];
    if (halfCount === undefined) {
      throw new EngineError("engine.ane.driver", `there is no device buffer ${device}`);
    }
    const made = this.#driver.allocate(halfCount * 2);
    this.#buffers.set(device, made);
    return made;
  }

  versionOf(device: DeviceId): number | undefined {
    return this.#versions.get(device);
  }

  setVersion(device: DeviceId, version: number): void {
    this.#versions.set(device, version);
  }

  /** After a failed run nobody knows what stands in any of them. */
  forgetVersions(): void {
    this.#versions.clear();
  }

  get byteLength(): number {
    let bytes = 0;
    for (const halfCount of this.#sizes) bytes += halfCount * 2;
    return bytes;
  }

  close(): void {
    for (const buffer of this.#buffers.values()) buffer.release();
    this.#buffers.clear();
    this.#versions.clear();
  }

  #make(halfCount: number): DeviceId {
    this.#pooledBytes += halfCount * 2;
    return this.#sizes.push(halfCount) - 1;
  }
}
