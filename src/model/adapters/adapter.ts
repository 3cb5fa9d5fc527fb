/** What is trained beside a frozen matrix: a product of two thin ones. */
export interface Adapter {
  /**
   * lora: the correction is added. dora: each output of the corrected matrix has a length that is trained by itself, and
   * the matrix gives the direction alone.
   */
  readonly method: "lora" | "dora";
  /** Rows of A, columns of B. */
  readonly rank: number;
  /** The correction x A^T B^T is multiplied by alpha / rank, or by alpha / sqrt(rank) where rank-stabilized. */
  readonly alpha: number;
  readonly isRankStabilized: boolean;
  /** Share of x's numbers that the correction does not see while it is trained. */
  readonly dropout: number;
  /** Modules by the part of their name that does not change with the layer: `self_attn.q_proj`. */
  readonly modules: readonly string[];
  /** Layers whose adapters are trained; in all others A and B are zero and frozen. */
  readonly layers: readonly number[];
}

/** An adapter that stands in a model. */
export interface PlacedAdapter extends Adapter {
  /** The matrices beside which it stands are stored as [in, out], as gpt2's are. */
  readonly isFanInFanOut: boolean;
}

/** What the correction is multiplied by. */
export function adapterScale({
  alpha,
  rank,
  isRankStabilized,
}: Pick<Adapter, "alpha" | "rank" | "isRankStabilized">): number {
  return alpha / (isRankStabilized ? Math.sqrt(rank) : rank);
}

/**
 * Names of what stands beside `<module>.weight`, PEFT's: two matrices; with dora the trained lengths [out], and one over
 * the lengths that the corrected matrix has, which follows from the others.
 */
export function adapterNames(module: string): {
  readonly a: string;
  readonly b: string;
  readonly magnitude: string;
  readonly inverseNorm: string;
} {
  return {
    a: `${module}.lora_A.weight`,
    b: `${module}.lora_B.weight`,
    magnitude: `${module}.lora_magnitude_vector.weight`,
    inverseNorm: `${module}.lora_inverse_norm.weight`,
  };
}

const MATRIX = /^(?<prefix>.*?\.\d+\.)(?<module>.+)\.weight$/;

/** A block's matrix: what stands before the module's name, and the module: `model.layers.0.`, `self_attn.q_proj`. */
export function splitMatrixName(
  name: string,
): { readonly prefix: string; readonly module: string } | undefined {
  const { prefix, module } = MATRIX.exec(name)?.groups ?? {};
  return prefix === undefined || module === undefined ? undefined : { prefix, module };
}

export type AdapterPart = "a" | "b" | "magnitude" | "inverseNorm";

/** Which part of which module a weight is; nothing for one that belongs to no adapter. */
export function adapterPart(weight: {
  readonly name: string;
}): { readonly part: AdapterPart; readonly module: string } | undefined {
  const { module, part } = PART.exec(weight.name)?.groups ?? {};
  const known = PARTS.get(part ?? "");
  return module === undefined || known === undefined ? undefined : { module, part: known };
}

const PARTS: ReadonlyMap<string, AdapterPart> = new Map([
  ["A", "a"],
  ["B", "b"],
  ["magnitude_vector", "magnitude"],
  ["inverse_norm", "inverseNorm"],
]);
const PART = /^(?<module>.+)\.lora_(?<part>A|B|magnitude_vector|inverse_norm)\.weight$/;
