import type { DeviceMemory } from "./device-memory.ts";
import { fillPort, sumOfHalves, takeResult } from "./convert.ts";
import type { HostSide } from "./host-side.ts";
import type { Download, Upload } from "./section-plan.ts";

/** What is known of a persistent buffer's host copy. */
export interface HostVersion {
  number: number;
}

/** Brings numbers from the host's buffers into those of the engine and back. */
export class Transfers {
  readonly #host: HostSide;
  readonly #memory: DeviceMemory;
  readonly #versions: ReadonlyMap<string, HostVersion>;

  constructor(host: HostSide, memory: DeviceMemory, versions: ReadonlyMap<string, HostVersion>) {
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
    for (const upload of uploads) this.#upload(upload);
    await Promise.resolve();
  }

  async download(downloads: readonly Download[]): Promise<void> {
    for (const download of downloads) this.#download(download);
    await Promise.resolve();
  }

  #upload({ from, conversion, to, isKept }: Upload): void {
    const spec = this.#host.specOf(from.buffer);
    const version = this.#versions.get(from.buffer)?.number ?? 0;
    const isCurrent = isKept && spec.role === "weight" && this.#memory.versionOf(to) === version;
    if (isCurrent) return;
    const source = this.#host.elements(from);
    this.#memory
      .bufferOf(to)
      .access("write", (halves) => fillPort(conversion, source, spec.type.dataType, halves));
    if (isKept) this.#memory.setVersion(to, version);
  }

  #download({ from, to, how, count }: Download): void {
    const { dataType } = this.#host.specOf(to.buffer).type;
    const target = this.#host.elements(to);
    this.touch(to.buffer);
    this.#memory.bufferOf(from).access("read", (halves) => {
      const port = halves.subarray(0, count);
      if (how === "write" || how === "add") takeResult(port, how, target, dataType);
      else target[0] = (how === "add-sum" ? (target[0] ?? 0) : 0) + sumOfHalves(port);
    });
  }
}
