import type { AneDriver, DriverOperation, DriverProgram, DriverStream } from "./driver.ts";
import type { DeviceMemory } from "./device-memory.ts";
import type { EngineCall } from "./section-plan.ts";

/** What one stream runs. */
export interface SegmentSource {
  readonly label: string;
  readonly calls: readonly EngineCall[];
  readonly memory: DeviceMemory;
  readonly programOf: (name: string) => DriverProgram;
}

interface LoadedSegment {
  readonly operations: readonly DriverOperation[];
  readonly stream: DriverStream;
}

/**
 * Segments loaded on the engine, up to as many operations as the driver holds at once: past that the one that
 * has not run for the longest time gives up its place and is loaded again when it is needed.
 */
export class LoadedSegments {
  readonly #driver: AneDriver;
  /** In the order of their last use. */
  readonly #loaded = new Map<SegmentSource, LoadedSegment>();
  /** Ends when no stream runs: meanwhile none is loaded or let go. */
  #idle: Promise<void> = Promise.resolve();
  #operationCount = 0;
  /** How often a segment had to go. */
  evictions = 0;

  constructor(driver: AneDriver) {
    this.#driver = driver;
  }

  /** One stream at a time, whichever plan it belongs to. `during` is called with the execution alone. */
  run(
    source: SegmentSource,
    during: (execute: () => Promise<void>) => Promise<void>,
  ): Promise<void> {
    return this.#inTurn(async () => {
      const stream = this.#acquire(source);
      await during(() => this.#driver.execute(stream, source.label));
    });
  }

  release(sources: readonly SegmentSource[]): Promise<void> {
    return this.#inTurn(() => {
      for (const source of sources) this.#release(source);
    });
  }

  close(): Promise<void> {
    return this.release([...this.#loaded.keys()]);
  }

  #inTurn(act: () => Promise<void> | void): Promise<void> {
    const done = this.#idle.then(act);
    this.#idle = done.catch(() => undefined);
    return done;
  }

  #acquire(source: SegmentSource): DriverStream {
    const known = this.#loaded.get(source);
    if (known !== undefined) {
      this.#loaded.delete(source);
      this.#loaded.set(source, known);
      return known.stream;
    }
    for (const [other] of this.#loaded) {
      if (this.#operationCount + source.calls.length <= this.#driver.operationLimit) break;
      this.#release(other);
      this.evictions++;
    }
    const made = this.#load(source);
    this.#loaded.set(source, made);
    this.#operationCount += made.operations.length;
    return made.stream;
  }

  #release(source: SegmentSource): void {
    const segment = this.#loaded.get(source);
    if (segment === undefined) return;
    this.#loaded.delete(source);
    this.#operationCount -= segment.operations.length;
    segment.stream.release();
    for (const operation of segment.operations) operation.release();
  }

  #load({ calls, memory, programOf }: SegmentSource): LoadedSegment {
    const operations: DriverOperation[] = [];
    try {
      for (const { label, program, inputs, outputs } of calls) {
        operations.push(
          this.#driver.load(
            programOf(program),
            inputs.map((device) => memory.bufferOf(device)),
            outputs.map((device) => memory.bufferOf(device)),
            label,
          ),
        );
      }
      return { operations, stream: this.#driver.encode(operations) };
    } catch (error) {
      for (const operation of operations) operation.release();
      throw error;
    }
  }
}
