import { literalNumbers } from "../../mil/literal.ts";
import type { Operand } from "../../mil/program.ts";
import type { Import, ImportSite } from "./site.ts";

/** Rounds of a loop that are written out one after the other. */
const UNROLLED_ROUNDS = 1024;

/** A branch chosen when the model is converted, or a `cond` of both. */
const branch: Import = (site) => {
  const condition = site.input(0);
  const known = site.known(condition);
  if (known !== undefined) {
    return site.graphOn((literalNumbers(known)[0] ?? 0) === 0 ? "else_branch" : "then_branch", []);
  }
  return site.context.cond(
    site.reshape(condition, []),
    site.graphOf("then_branch"),
    site.graphOf("else_branch"),
  );
};

const numberOf = (site: ImportSite, operand: Operand): number | undefined => {
  const known = site.known(operand);
  return known === undefined ? undefined : literalNumbers(known)[0];
};

/**
 * A loop. Where the number of its rounds is known when the model is converted it is written out; else it becomes a
 * `while_loop`, which cannot gather the results of single rounds.
 */
const loop: Import = (site) => {
  const body = site.graphOf("body");
  const initial = site.node.input.slice(2).map((_, index) => site.input(index + 2));
  const limit = site.has(0) ? numberOf(site, site.input(0)) : Infinity;
  const start = site.has(1) ? numberOf(site, site.input(1)) : 1;
  const scanCount = body.output.length - 1 - initial.length;
  if (limit !== undefined && start !== undefined) {
    const unrolled = writtenOut(site, initial, scanCount, start === 0 ? 0 : limit);
    if (unrolled !== undefined) return unrolled;
  }
  if (scanCount > 0) {
    if (limit === undefined && site.has(0)) throw site.needsConstant(0);
    throw site.fail("how many results it gathers is only known while the model runs");
  }
  return site.context.whileLoop(
    {
      limit: site.has(0) ? site.reshape(site.cast(site.input(0), "int32"), []) : undefined,
      start: site.has(1) ? site.reshape(site.input(1), []) : undefined,
      initial,
    },
    body,
  );
};

/** The rounds one after the other; nothing where the condition to go on is not known. */
function writtenOut(
  site: ImportSite,
  initial: readonly Operand[],
  scanCount: number,
  limit: number,
): readonly Operand[] | undefined {
  return site.context.attempt(() => {
    let carried = initial;
    const scans: Operand[][] = Array.from({ length: scanCount }, () => []);
    for (let round = 0; round < limit; round++) {
      if (round >= UNROLLED_ROUNDS) return undefined;
      const results = site.graphOn("body", [
        site.scalar("int32", round),
        site.scalar("bool", 1),
        ...carried,
      ]);
      const [condition, ...values] = results;
      const goesOn = condition === undefined ? undefined : numberOf(site, condition);
      if (goesOn === undefined) return undefined;
      carried = values.slice(0, initial.length);
      values.slice(initial.length).forEach((value, index) => scans[index]?.push(value));
      if (goesOn === 0) break;
    }
    if (scans.some((rounds) => rounds.length === 0)) {
      throw site.fail("it runs no round, so that the sizes of what it gathers are not known");
    }
    return [...carried, ...scans.map((rounds) => site.stacked(rounds, 0))];
  });
}

/** A graph over the slices of sequences, written out slice by slice. */
const scan: Import = (site) => {
  const body = site.graphOf("body");
  const isOld = site.opset < 9;
  const inputs = site.node.input
    .slice(isOld ? 1 : 0)
    .map((_, index) => site.input(index + Number(isOld)));
  const count = site.int("num_scan_inputs", 1);
  const stateCount = inputs.length - count;
  if (isOld) {
    if (site.has(0)) throw site.fail("lengths of sequences have no MIL form");
    return scanOfBatch(site, inputs, stateCount, body.output.length);
  }
  return scanned(site, inputs, stateCount, body.output.length);
};

function scanned(
  site: ImportSite,
  inputs: readonly Operand[],
  stateCount: number,
  resultCount: number,
): readonly Operand[] {
  const sequences = inputs.slice(stateCount);
  const axes = sequences.map((sequence, index) =>
    site.axis(site.ints("scan_input_axes")?.[index] ?? 0, site.shapeOf(sequence).length),
  );
  const directions = site.ints("scan_input_directions") ?? site.ints("directions");
  const [first] = sequences;
  if (first === undefined) throw site.fail("it has no sequence");
  const length = site.shapeOf(first)[axes[0] ?? 0] ?? 0;
  if (length > UNROLLED_ROUNDS) {
    throw site.fail(`its ${length} rounds would be written out, at most ${UNROLLED_ROUNDS} are`);
  }
  let states = inputs.slice(0, stateCount);
  const results: Operand[][] = Array.from({ length: resultCount - stateCount }, () => []);
  for (let round = 0; round < length; round++) {
    const slices = sequences.map((sequence, index) => {
      const isBackward = directions?.[index] === 1;
      return site.picked(sequence, axes[index] ?? 0, isBackward ? length - 1 - round : round);
    });
    const made = site.graphOn("body", [...states, ...slices]);
    states = made.slice(0, stateCount);
    made.slice(stateCount).forEach((value, index) => results[index]?.push(value));
  }
  const outputDirections = site.ints("scan_output_directions");
  const outputAxes = site.ints("scan_output_axes");
  return [
    ...states,
    ...results.map((rounds, index) => {
      const order = outputDirections?.[index] === 1 ? rounds.toReversed() : rounds;
      const [sample] = order;
      if (sample === undefined) throw site.fail("it runs no round");
      const rank = site.shapeOf(sample).length + 1;
      return site.stacked(order, site.axis(outputAxes?.[index] ?? 0, rank));
    }),
  ];
}

/** Until operator set 9 the first axis was that of a batch, each of which is a scan of its own. */
function scanOfBatch(
  site: ImportSite,
  inputs: readonly Operand[],
  stateCount: number,
  resultCount: number,
): readonly Operand[] {
  const batch = site.shapeOf(inputs[0] ?? site.input(1))[0] ?? 0;
  const members = Array.from({ length: batch }, (_, index) =>
    scanned(
      site,
      inputs.map((input) => site.picked(input, 0, index)),
      stateCount,
      resultCount,
    ),
  );
  return Array.from({ length: resultCount }, (_, index) =>
    site.stacked(
      members.flatMap((results) => {
        const result = results[index];
        return result === undefined ? [] : [result];
      }),
      0,
    ),
  );
}

export const IMPORT_CONTROL_FLOW = {
  If: branch,
  Loop: loop,
  Scan: scan,
} as const satisfies Record<string, Import>;
