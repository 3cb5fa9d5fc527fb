import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { OpName } from "../../src/mil/ops/index.ts";
import { createReferenceEngine } from "../../src/engine/reference/index.ts";
import { ENGINES, refusalOf } from "./all-engines.ts";
import type { EngineUnderTest, OpenEngine } from "./all-engines.ts";
import { CaseBuilder } from "./case-builder.ts";
import { OP_CASES } from "./op-cases.ts";
import { difference, runCase } from "./run-case.ts";
import type { CaseResult } from "./run-case.ts";

/** Ops that jump: an fp16 input that differs in its last place may land on the other side. */
const ONLY_FP32: ReadonlySet<string> = new Set<OpName>(["constexpr_cast"]);

/** Roundings on the way to a result of any case. */
const PATH_LENGTH = 4;

const reference = createReferenceEngine();

/** Results of the reference, once for all engines. */
const known = new Map<string, readonly CaseResult[]>();

for (const [engineName, underTest] of Object.entries(ENGINES)) {
  const { missing } = underTest;
  const title = `every op on ${engineName}${missing === undefined ? "" : `, skipped: ${missing}`}`;
  describe.skipIf(missing !== undefined)(title, () => {
    everyOpOn(underTest);
  });
}

function everyOpOn({ precision, refused, coarse, widensHalves, open }: EngineUnderTest): void {
  let opened: OpenEngine | undefined;
  const engine = (): OpenEngine["engine"] => {
    if (opened === undefined) throw new Error("no engine");
    return opened.engine;
  };
  beforeAll(async () => {
    opened = await open();
  });
  afterAll(async () => {
    expect(await opened?.close()).toBeUndefined();
  });

  for (const [name, recipes] of Object.entries(OP_CASES)) {
    it.each(ONLY_FP32.has(name) ? (["fp32"] as const) : (["fp32", "fp16"] as const))(
      refused[name] === undefined
        ? `${name} gives the reference's numbers in %s`
        : `${name} gives the reference's numbers or is refused by name in %s`,
      async (type) => {
        const isShort = type === "fp16" && widensHalves === true;
        for (const [index, recipe] of (isShort ? recipes.slice(0, 1) : recipes).entries()) {
          const builder = new CaseBuilder(type);
          const fn = builder.finish(recipe(builder));
          const refusal = refusalOf(refused[name], index, type);
          if (refusal !== undefined) {
            await expect(runCase(engine(), fn, builder.inputs), `case ${index}`).rejects.toThrow(
              expect.objectContaining({
                code: refusal.code,
                message: expect.stringMatching(refusal.because) as string,
              }),
            );
            continue;
          }
          const key = `${name} ${type} ${index}`;
          const expected =
            known.get(key) ?? (await runCase(reference, fn, builder.inputs))[0] ?? [];
          known.set(key, expected);
          const [actual = []] = await runCase(engine(), fn, builder.inputs);
          expect(actual.length, `case ${index}`).toBe(expected.length);
          for (const [place, wanted] of expected.entries()) {
            const got = actual[place];
            const problem =
              got === undefined
                ? "no result"
                : difference(got, wanted, coarse?.[name] ?? PATH_LENGTH, precision);
            expect(problem, `case ${index}`).toBeUndefined();
          }
        }
      },
    );
  }

  it("gives the same bits in every run of every session, duplicate indices included", async () => {
    for (const [name, recipes] of Object.entries(OP_CASES)) {
      for (const [index, recipe] of recipes.entries()) {
        if (refusalOf(refused[name], index, "fp32") !== undefined) continue;
        const builder = new CaseBuilder("fp32");
        const fn = builder.finish(recipe(builder));
        const runs = [
          ...(await runCase(engine(), fn, builder.inputs, 3)),
          ...(await runCase(engine(), fn, builder.inputs, 3)),
        ];
        for (const run of runs)
          expect(
            run.map(({ bytes }) => bytes),
            name,
          ).toEqual(runs[0]?.map(({ bytes }) => bytes));
      }
    }
  });
}

it("every refusal names a case there is", () => {
  for (const { refused } of Object.values(ENGINES)) {
    for (const [name, refusals] of Object.entries(refused)) {
      const recipes = (OP_CASES as Readonly<Record<string, readonly unknown[]>>)[name] ?? [];
      for (const { cases } of [refusals].flat())
        for (const index of cases) expect(recipes[index], `${name}, case ${index}`).toBeDefined();
    }
  }
});
