import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCpuEngine } from "../../src/engine/cpu/index.ts";
import { createGpuEngine } from "../../src/engine/gpu/index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { createReferenceEngine } from "../../src/engine/reference/index.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import { parseProgram } from "../../src/mil/text/index.ts";
import { verifyProgram } from "../../src/mil/verify.ts";
import { optimize } from "../../src/passes/pipeline.ts";
import { openSoftwareDevice, RUNS_ALL_ON_GPU } from "../engine/gpu/software-device.ts";
import { fixtureDataType, fixtureHostTensor, fixtureNumbers } from "../mil/op-fixtures.ts";
import type { FixtureTensor } from "../mil/op-fixtures.ts";
import { difference, runCase } from "./run-case.ts";

interface ProgramFixture {
  readonly name: string;
  /** Who computed the results. */
  readonly source: string;
  readonly program: string;
  readonly inputs: Readonly<Record<string, FixtureTensor>>;
  readonly outputs: readonly FixtureTensor[];
}

const FOLDER = fileURLToPath(new URL("../fixtures/programs/", import.meta.url));
const fixtures = readdirSync(FOLDER)
  .toSorted()
  .map((name) => JSON.parse(readFileSync(FOLDER + name, "utf8")) as ProgramFixture);

/**
 * Roundings on the way to a result add up like random steps: 25 ops count as 5 (see `toleranceOf`: fp32 2^-19 and
 * fp16 2^-10 of the largest number each).
 */
const PATH_LENGTH = 5;

describe("small networks give what PyTorch and NumPy give", () => {
  const reference = createReferenceEngine();
  let cpu: Engine;
  beforeAll(async () => {
    cpu = await createCpuEngine({ threads: 2 });
  });
  afterAll(async () => {
    await cpu.close();
  });

  const check = async (engine: Engine, fn: MilFunction, fixture: ProgramFixture): Promise<void> => {
    const inputs = Object.entries(fixture.inputs).map(([name, tensor]) => {
      const { dataType, shape, data } = fixtureHostTensor(tensor);
      return { name, dataType, shape, numbers: data };
    });
    const [results = []] = await runCase(engine, fn, inputs);
    expect(results.length).toBe(fixture.outputs.length);
    results.forEach((result, index) => {
      const tensor = fixture.outputs[index];
      if (tensor === undefined) return;
      const expected = {
        name: result.name,
        dataType: fixtureDataType(tensor),
        numbers: [...fixtureNumbers(tensor)],
        bytes: new Uint8Array(),
      };
      expect(result.numbers.length).toBe(expected.numbers.length);
      expect(difference(result, expected, PATH_LENGTH)).toBeUndefined();
    });
  };

  for (const fixture of fixtures) {
    const program = parseProgram(fixture.program, { fileName: fixture.name });
    const [fn] = program.functions;
    if (fn === undefined) throw new Error(`${fixture.name} has no function`);
    it(`${fixture.name} on the reference engine`, async () => {
      expect(verifyProgram(program).unknownOps).toEqual([]);
      await check(reference, fn, fixture);
    });
    if (RUNS_ALL_ON_GPU && openSoftwareDevice() === undefined) {
      it(`${fixture.name} on the GPU engine`, async () => {
        const gpu = createGpuEngine();
        await check(gpu, fn, fixture);
        await gpu.close();
      });
    }
    it(`${fixture.name} on the CPU engine, as it is and optimized`, async () => {
      await check(cpu, fn, fixture);
      await check(cpu, optimize(fn), fixture);
    });
  }
});
