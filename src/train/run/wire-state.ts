import { existsSync } from "node:fs";
import { join } from "node:path";
import { partOf } from "../../engine/collective.ts";
import { openSafetensors, writeSafetensors } from "../../model/index.ts";
import type { SafetensorsFile } from "../../model/index.ts";
import { TrainError } from "../errors.ts";
import { openedFile } from "../../util/byte-source.ts";
import { refuseLater } from "../../util/format-version.ts";

/** What rounding on the wire has lost at every process; only in checkpoints of runs with --wire fp16. */
const WIRE_FILE = "wire.safetensors";
const WIRE_VERSION = 1;

/** What decides whether each process can have its own again. */
export interface WireLayout {
  readonly replicaCount: number;
  readonly isSharded: boolean;
}

/** What one process lost of one gradient. `copy`: 1 for the second holder of a table that embedding and head share. */
export interface LossPlace {
  readonly weight: string;
  readonly replica: number;
  readonly copy: number;
}

/** What a checkpoint keeps of it. */
export interface KeptLosses {
  readonly layout: WireLayout;
  /** Loss scale that the numbers stand for. */
  readonly unit: number;
  readonly places: readonly (LossPlace & { readonly length: number })[];
  /** Fetches what a process lost; called once a place, in their order. */
  readonly read: (place: LossPlace) => Float32Array;
}

function tensorName({ weight, replica, copy }: LossPlace): string {
  return `${weight}@${replica}${copy === 0 ? "" : `.${copy}`}`;
}

/** Writes them into a checkpoint's folder. */
export function saveLosses(folder: string, kept: KeptLosses): void {
  const { layout, unit, places, read } = kept;
  writeSafetensors(
    join(folder, WIRE_FILE),
    places.map((place) => ({
      name: tensorName(place),
      dataType: "F32" as const,
      shape: [place.length],
      chunks: () => {
        const numbers = read(place);
        return [new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength)];
      },
    })),
    {
      format: "pt",
      version: String(WIRE_VERSION),
      replicas: String(layout.replicaCount),
      sharded: String(layout.isSharded),
      unit: String(unit),
    },
  );
}

/** What rounding had lost when a checkpoint was written. */
export class SavedLosses {
  readonly layout: WireLayout;
  readonly unit: number;
  readonly #file: SafetensorsFile;

  private constructor(file: SafetensorsFile) {
    this.#file = file;
    const { replicas, sharded, unit } = file.metadata;
    this.layout = { replicaCount: Number(replicas), isSharded: sharded === "true" };
    this.unit = Number(unit);
    const isWhole =
      Number.isInteger(this.layout.replicaCount) && this.layout.replicaCount > 1 && this.unit > 0;
    if (!isWhole) throw this.#damaged("does not say of how many processes it is");
  }

  /**
   * Opens a checkpoint's; nothing where it has none. Throws `TrainError`: `train.wire.version` for a later format,
   * `train.wire` for what cannot be read.
   */
  static open(folder: string): SavedLosses | undefined {
    const path = join(folder, WIRE_FILE);
    if (!existsSync(path)) return undefined;
    return openedFile(path, (source) => {
      const file = openSafetensors(source);
      const told = { version: Number(file.metadata["version"]) };
      refuseLater(told, { known: WIRE_VERSION, what: path }, TrainError, "train.wire.version");
      return new SavedLosses(file);
    });
  }

  close(): void {
    this.#file.source.close();
  }

  /** Whether there is something of a weight's second holder. */
  hasCopy(weight: string): boolean {
    return this.#file.entries.has(tensorName({ weight, replica: 0, copy: 1 }));
  }

  /** What one process lost of a weight with so many numbers. Throws `TrainError` where that is missing. */
  read(place: LossPlace, length: number): Float32Array {
    const name = tensorName(place);
    const entry = this.#file.entries.get(name);
    if (entry?.dataType !== "F32" || entry.byteLength !== 4 * length) {
      const found = entry === undefined ? "is missing" : `has ${entry.byteLength} bytes`;
      throw this.#damaged(`${name} ${found}, ${4 * length} of F32 are wanted`);
    }
    const numbers = new Float32Array(new SharedArrayBuffer(4 * length));
    this.#file.source.readInto(
      entry.offset,
      new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength),
    );
    return numbers;
  }

  /**
   * What a process goes on with: its own where as many train as before, in the same way. Else a share of the sum of what
   * all had lost: of each member's part of a gradient at the member after it, who sends it that part.
   */
  shareOf(
    place: LossPlace & { readonly copyCount: number },
    length: number,
    now: WireLayout,
  ): Float32Array {
    const { weight, replica, copy, copyCount } = place;
    const isSame = isSameLayout(this.layout, now) && this.hasCopy(weight) === copyCount > 1;
    if (isSame) return this.read(place, length);
    const part = new Float32Array(new SharedArrayBuffer(4 * length));
    if (copy > 0) return part;
    const before = (replica + now.replicaCount - 1) % now.replicaCount;
    const [first, end] = partOf(length, before, now.replicaCount);
    part.set(this.#total(weight, length).subarray(first, end), first);
    return part;
  }

  #total(weight: string, length: number): Float32Array {
    const sum = new Float32Array(new SharedArrayBuffer(4 * length));
    for (const copy of this.hasCopy(weight) ? [0, 1] : [0])
      for (let replica = 0; replica < this.layout.replicaCount; replica++) {
        const one = this.read({ weight, replica, copy }, length);
        for (let i = 0; i < length; i++) sum[i] = (sum[i] ?? 0) + (one[i] ?? 0);
      }
    return sum;
  }

  #damaged(what: string): TrainError {
    return new TrainError("train.wire", `${this.#file.source.name}: ${what}`, {
      remedy: "Remove the file to go on without what rounding lost, or resume from another folder.",
    });
  }
}

function isSameLayout(a: WireLayout, b: WireLayout): boolean {
  return a.replicaCount === b.replicaCount && a.isSharded === b.isSharded;
}

/**
 * What a user should know of a checkpoint whose lost roundings do not go on as they were; nothing where they do.
 * `now`: where gradients travel as fp16.
 */
export function lossesNotice(folder: string, now: WireLayout | undefined): string | undefined {
  const saved = SavedLosses.open(folder);
  saved?.close();
  if (now === undefined) {
    return (
      saved &&
      "what rounding to fp16 on the wire had lost is dropped: gradients travel as fp16 no more"
    );
  }
  if (saved === undefined)
    return "the checkpoint does not have what rounding to fp16 on the wire lost: the run goes on as if nothing were, and not bit for bit";
  if (isSameLayout(saved.layout, now)) return undefined;
  const shown = (layout: WireLayout): string =>
    `${layout.replicaCount} data-parallel processes${layout.isSharded ? " with sharded optimizer state" : ""}`;
  return `what rounding to fp16 on the wire lost was kept by ${shown(saved.layout)}: its sum goes on with ${shown(now)}, and not bit for bit`;
}
