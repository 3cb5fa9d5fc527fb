import { canonicalSource } from "../../engine/ane/probe.ts";
import type {
  AneDriver,
  DeviceBuffer,
  DriverOperation,
  DriverProgram,
  DriverStream,
  EngineSource,
} from "../../engine/ane/probe.ts";
import type { MilFunction, Value } from "../../mil/program.ts";
import { byteLengthOf } from "../../mil/types.ts";
import { float16Bits, float16Value } from "../../util/float16.ts";

/** What an output holds before a run: no program gives it by chance, so an unwritten output is seen. */
const UNWRITTEN = 0x7bad;

/** Two-byte elements of a port, whatever its declared type. */
export function halfCount({ type }: Value): number {
  return type.kind === "tensor" ? Math.ceil(byteLengthOf(type) / 2) : 1;
}

/** Buffers for one side of a program as the driver wants them. */
export function allocateSide(driver: AneDriver, ports: readonly Value[]): readonly DeviceBuffer[] {
  const { minimumBytes, equalSizes } = driver.buffers;
  const sizes = ports.map((port) => Math.max(minimumBytes, 2 * halfCount(port)));
  const largest = Math.max(...sizes);
  return sizes.map((size) => driver.allocate(equalSizes ? largest : size));
}

export function writeNumbers(buffer: DeviceBuffer, numbers: ArrayLike<number>): void {
  buffer.access("write", (halves) => {
    for (let i = 0; i < numbers.length; i++) halves[i] = float16Bits(numbers[i] ?? 0);
  });
}

export function readNumbers(buffer: DeviceBuffer, count: number): Float64Array {
  return buffer.access("read", (halves) =>
    Float64Array.from({ length: count }, (_, i) => float16Value(halves[i] ?? 0)),
  );
}

export function clearOutput(buffer: DeviceBuffer): void {
  buffer.access("write", (halves) => halves.fill(UNWRITTEN));
}

export const isUnwritten = (value: number): boolean => value === float16Value(UNWRITTEN);

/** A program loaded once with buffers of its own. */
export class LoadedProgram {
  readonly fn: MilFunction;
  readonly inputs: readonly DeviceBuffer[];
  readonly outputs: readonly DeviceBuffer[];
  readonly operation: DriverOperation;
  readonly #driver: AneDriver;
  readonly #program: DriverProgram;
  #stream: DriverStream | undefined;

  private constructor(
    driver: AneDriver,
    source: EngineSource,
    program: DriverProgram,
    inputs: readonly DeviceBuffer[],
    outputs: readonly DeviceBuffer[],
  ) {
    this.#driver = driver;
    this.#program = program;
    this.fn = source.main;
    this.inputs = inputs;
    this.outputs = outputs;
    this.operation = driver.load(program, inputs, outputs, source.label);
  }

  /**
   * `source` is a function, put into canonical form, or a source whose names count. Buffers that are not given are
   * allocated. Throws `EngineError` for what the driver refuses.
   */
  static async load(
    driver: AneDriver,
    source: MilFunction | EngineSource,
    given: {
      readonly inputs?: readonly DeviceBuffer[];
      readonly outputs?: readonly DeviceBuffer[];
    } = {},
  ): Promise<LoadedProgram> {
    const wanted = "main" in source ? source : canonicalSource(source.name, source);
    const program = await driver.compile(wanted);
    const inputs = given.inputs ?? allocateSide(driver, wanted.main.inputs);
    const outputs = given.outputs ?? allocateSide(driver, wanted.main.outputs);
    return new LoadedProgram(driver, wanted, program, inputs, outputs);
  }

  /** One call; encoded at the first. */
  async execute(): Promise<void> {
    this.#stream ??= this.#driver.encode([this.operation]);
    await this.#driver.execute(this.#stream, this.fn.name);
  }

  /** Writes inputs, runs, reads outputs. */
  async run(inputs: readonly ArrayLike<number>[]): Promise<readonly Float64Array[]> {
    inputs.forEach((numbers, index) => {
      const buffer = this.inputs[index];
      if (buffer !== undefined) writeNumbers(buffer, numbers);
    });
    for (const buffer of this.outputs) if (!this.inputs.includes(buffer)) clearOutput(buffer);
    await this.execute();
    return this.fn.outputs.map((output, index) => {
      const buffer = this.outputs[index];
      return buffer === undefined ? new Float64Array(0) : readNumbers(buffer, halfCount(output));
    });
  }

  /** Stream, operation, program, buffers: the order the drivers rely on. */
  release(): void {
    this.#stream?.release();
    this.operation.release();
    this.#program.release();
    for (const buffer of new Set([...this.inputs, ...this.outputs])) buffer.release();
  }
}

/** One run of one program. */
export async function runProgram(
  driver: AneDriver,
  source: MilFunction | EngineSource,
  inputs: readonly ArrayLike<number>[],
): Promise<readonly Float64Array[]> {
  const loaded = await LoadedProgram.load(driver, source);
  try {
    return await loaded.run(inputs);
  } finally {
    loaded.release();
  }
}

/** Equal numbers, NaN equal to NaN, within a relative tolerance (0: the same number; -0 equals 0). */
export function sameNumbers(
  got: ArrayLike<number> = [],
  wanted: ArrayLike<number>,
  tolerance = 0,
): boolean {
  if (got.length !== wanted.length) return false;
  for (let i = 0; i < got.length; i++) {
    const a = got[i] ?? NaN;
    const b = wanted[i] ?? NaN;
    if (a === b || (Number.isNaN(a) && Number.isNaN(b))) continue;
    if (!(Math.abs(a - b) <= tolerance * Math.abs(b))) return false;
  }
  return true;
}
