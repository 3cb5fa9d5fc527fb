import type { Operand } from "../../mil/program.ts";
import { elementCount } from "../../mil/types.ts";
import type { Import, ImportSite } from "./site.ts";

/** A tensor with a letter for each of its axes. */
interface Labelled {
  readonly value: Operand;
  readonly labels: readonly string[];
}

/** Letters that stand for the axes of an ellipsis; equations spell none of them. */
const ELLIPSIS_LABELS = "\u0001\u0002\u0003\u0004\u0005\u0006\u0007\u0008";

/** Any sum of products of one or two tensors, by transposes and one matrix product. */
export const importEinsum: Import = (site) => {
  const [left = "", right] = site.text("equation", "").replaceAll(" ", "").split("->");
  const terms = left.split(",");
  const operands = site.inputs();
  if (terms.length !== operands.length || operands.length > 2) {
    throw site.fail(`equation "${left}" with ${operands.length} inputs has no MIL form`);
  }
  const labelled = operands.map((value, index) => label(site, value, terms[index] ?? ""));
  const ellipsis = labelled
    .map(({ labels }) => labels.filter((one) => ELLIPSIS_LABELS.includes(one)))
    .reduce((a, b) => (b.length > a.length ? b : a), []);
  const output =
    right === undefined
      ? implicitOutput(labelled, ellipsis)
      : Array.from(right.replace("...", ellipsis.join("")));
  const kept = labelled.map((term, index) => sumOut(site, term, labelled[1 - index], output));
  const [a, b] = kept;
  if (a === undefined) throw site.fail("it has no inputs");
  return arranged(site, b === undefined ? a : multiplied(site, a, b, output), output);
};

function label(site: ImportSite, value: Operand, term: string): Labelled {
  const rank = site.shapeOf(value).length;
  const named = term.replace("...", "").length;
  // Axes of an ellipsis are matched from the right, as broadcasting does.
  const spread = term.includes("...") ? ELLIPSIS_LABELS.slice(8 - (rank - named)) : "";
  const labels = Array.from(term.replace("...", spread));
  if (labels.length !== rank)
    throw site.fail(`"${term}" does not name the ${rank} axes of its input`);
  if (new Set(labels).size !== labels.length) {
    throw site.fail(`"${term}" takes a diagonal, which has no MIL form`);
  }
  return { value, labels };
}

/** Without an arrow: letters that occur once, in alphabetical order. */
function implicitOutput(
  terms: readonly Labelled[],
  ellipsis: readonly string[],
): readonly string[] {
  const all = terms.flatMap(({ labels }) => labels);
  const once = all.filter(
    (one) => !ellipsis.includes(one) && all.indexOf(one) === all.lastIndexOf(one),
  );
  return [...ellipsis, ...once.toSorted()];
}

/** Sums over letters that neither the other input nor the result has. */
function sumOut(
  site: ImportSite,
  { value, labels }: Labelled,
  other: Labelled | undefined,
  output: readonly string[],
): Labelled {
  const axes = labels.flatMap((one, axis) =>
    output.includes(one) || other?.labels.includes(one) === true ? [] : [axis],
  );
  if (axes.length === 0) return { value, labels };
  const summed = site.op("reduce_sum", { x: value, axes, keep_dims: false });
  return { value: summed, labels: labels.filter((_, axis) => !axes.includes(axis)) };
}

/** a and b as stacks of matrices, multiplied: batch letters, then those of a, then those of b. */
function multiplied(
  site: ImportSite,
  a: Labelled,
  b: Labelled,
  output: readonly string[],
): Labelled {
  const sizes = new Map<string, number>();
  for (const { value, labels } of [a, b]) {
    site.shapeOf(value).forEach((size, axis) => {
      const name = labels[axis] ?? "";
      const known = sizes.get(name) ?? 1;
      if (known !== 1 && size !== 1 && known !== size) {
        throw site.fail(`"${name}" is ${known} in one input and ${size} in the other`);
      }
      sizes.set(name, Math.max(known, size));
    });
  }
  const inBoth = a.labels.filter((one) => b.labels.includes(one));
  const batch = inBoth.filter((one) => output.includes(one));
  const summed = inBoth.filter((one) => !output.includes(one));
  const rows = a.labels.filter((one) => !inBoth.includes(one));
  const columns = b.labels.filter((one) => !inBoth.includes(one));
  const count = (names: readonly string[]): number =>
    elementCount(names.map((one) => sizes.get(one) ?? 1));
  const stack = (term: Labelled, ...groups: readonly (readonly string[])[]): Operand => {
    const order = groups.flat();
    const whole = site.expand(
      arranged(site, term, order),
      order.map((one) => sizes.get(one) ?? 1),
    );
    return site.reshape(whole, groups.map(count));
  };
  const product = site.op("matmul", {
    x: stack(a, batch, rows, summed),
    y: stack(b, batch, summed, columns),
  });
  const labels = [...batch, ...rows, ...columns];
  const shape = labels.map((one) => sizes.get(one) ?? 1);
  return { value: site.reshape(product, shape), labels };
}

/** The axes in the order of the letters. */
function arranged(site: ImportSite, term: Labelled, order: readonly string[]): Operand {
  const axes = order.map((one) => term.labels.indexOf(one));
  if (axes.includes(-1))
    throw site.fail(`the result has the letter "${order[axes.indexOf(-1)]}", no input has`);
  return site.transpose(term.value, axes);
}
