import type { BufferView } from "../engine.ts";
import type { ConversionItem } from "./conversion-item.ts";
import type { ConversionPool } from "./conversion-pool.ts";
import type { DeviceMemory } from "./device-memory.ts";
import { fillPort, takeResult, takeSum } from "./convert.ts";
import type { HostSide } from "./host-side.ts";
import { overlaps } from "../../plan/regions.ts";
import type { Region } from "../../plan/regions.ts";
import type { DeviceId, Download, Upload } from "./section-plan.ts";

/** What is known of a persistent buffer's host copy. */
export interface HostVersion {
  number: number;
}

/** Brings numbers from the host's buffers into those of the engine and back. */
export class Transfers {
  readonly #host: HostSide;
  readonly #memory: DeviceMemory;
  readonly #versions: ReadonlyMap<string, HostVersion>;
  readonly #pool: ConversionPool;

  constructor(
    host: HostSide,
    memory: DeviceMemory,
    versions: ReadonlyMap<string, HostVersion>,
    pool: ConversionPool,
  ) {
    this.#pool = pool;
    this.#host = host;
    this.#memory = memory;
    this.#versions = versions;
  }

  versionFor(buffer: string): HostVersion | undefined {
    return this.#versions.get(buffer);
  }

  /** The host's copy of a buffer has changed, or may have. */
  touch(buffer: string): void {
    const version = this.#versions.get(buffer);
    if (version !== undefined) version.number++;
  }

  async upload(uploads: readonly Upload[]): Promise<void> {
    const items: ConversionItem[] = [];
    const current = new Map<DeviceId, number>();
    for (const upload of uploads) {
      const { from, to, isKept } = upload;
      const version = this.#versions.get(from.buffer)?.number ?? 0;
      const isWeight = this.#host.specOf(from.buffer).role === "weight";
      if (isKept && isWeight && this.#memory.versionOf(to) === version) continue;
      if (isKept) current.set(to, version);
      const item = this.#uploadItem(upload);
      if (item === undefined) this.#uploadHere(upload);
      else items.push(item);
    }
    await this.#pool.convert(items);
    for (const [device, version] of current) this.#memory.setVersion(device, version);
  }

  /** One after the other where two of them go to the same run of a buffer. */
  async download(downloads: readonly Download[]): Promise<void> {
    let items: ConversionItem[] = [];
    let targets: Region[] = [];
    for (const download of downloads) {
      const { to } = download;
      this.touch(to.buffer);
      if (targets.some((target) => overlaps(target, to))) {
        await this.#pool.convert(items);
        items = [];
        targets = [];
      }
      const item = this.#downloadItem(download);
      if (item === undefined) {
        this.#downloadHere(download);
        continue;
      }
      items.push(item);
      targets.push(to);
    }
    await this.#pool.convert(items);
  }

  /** Where both sides stand still and other threads reach them. */
  #places(region: Region, device: DeviceId): Places | undefined {
    const { address, byteLength } = this.#memory.bufferOf(device);
    const view = this.#host.elements(region);
    if (address === undefined || !(view.buffer instanceof SharedArrayBuffer)) return undefined;
    const { buffer: host, byteOffset: hostByteOffset, length: count } = view;
    return { view, item: { host, hostByteOffset, count, address, byteLength, start: 0 } };
  }

  #uploadItem({ from, to, conversion }: Upload): ConversionItem | undefined {
    const places = this.#places(from, to);
    if (conversion.kind === "half" && places?.view instanceof Float32Array)
      return { kind: "to-halves", ...places.item };
    if (conversion.kind === "one-hot" && places?.view instanceof Int32Array) {
      return { ...conversion, ...places.item };
    }
    return undefined;
  }

  #downloadItem({ from, to, how, factor = 1 }: Download): ConversionItem | undefined {
    if (how !== "write" && how !== "add") return undefined;
    const places = this.#places(to, from);
    if (!(places?.view instanceof Float32Array)) return undefined;
    return { kind: how === "write" ? "to-singles" : "add", factor, ...places.item };
  }

  #uploadHere({ from, conversion, to }: Upload): void {
    const { dataType } = this.#host.specOf(from.buffer).type;
    const source = this.#host.elements(from);
    this.#memory
      .bufferOf(to)
      .access("write", (halves) =>
        fillPort(conversion, source, dataType, halves, this.#pool.converter),
      );
  }

  #downloadHere({ from, to, how, count, factor = 1 }: Download): void {
    const { dataType } = this.#host.specOf(to.buffer).type;
    const target = this.#host.elements(to);
    this.#memory.bufferOf(from).access("read", (halves) => {
      const port = halves.subarray(0, count);
      if (how === "write" || how === "add")
        takeResult(port, { how, factor }, target, dataType, this.#pool.converter);
      else takeSum(port, how, target, dataType);
    });
  }
}

interface Places {
  readonly view: BufferView;
  readonly item: Omit<ConversionItem, "kind">;
}
