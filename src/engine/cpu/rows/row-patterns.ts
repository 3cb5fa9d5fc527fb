// Norms, rotary positions and attention as instructions of a row program.
import { HEAD_BYTES } from "./instructions.ts";
import type { AttentionPattern, Pattern, RmsNormPattern, RotaryPattern } from "./patterns.ts";
import { refuse } from "./refusal.ts";
import type { RowValues } from "./row-values.ts";
import { axesByShape, countOf, singleAxis } from "./strided.ts";
import type { Strided } from "./strided.ts";

/** More new rows of one sequence than this are what a runtime for products does better. */
const MOST_NEW_ROWS = 16;

/** Writes the instructions of a pattern and gives its result. Refuses what is not understood. */
export function patternRows(values: RowValues, pattern: Pattern): Strided {
  switch (pattern.kind) {
    case "rms_norm":
      return rmsNorm(values, pattern);
    case "rotary":
      return rotary(values, pattern);
    case "attention":
      return attention(values, pattern);
  }
}

function rmsNorm(
  values: RowValues,
  { x: operand, weight: factor, epsilon, result: value }: RmsNormPattern,
): Strided {
  const x = values.dense(values.of(operand));
  const weight = factor === undefined ? undefined : values.dense(values.of(factor));
  const width = x.shape.at(-1) ?? 1;
  const reads = weight === undefined ? [x] : [x, weight];
  return values.builder.small("rmsNorm", x.shape, reads, values.targetOf(value), (out) => [
    ...[x.address, weight?.address, out, countOf(x.shape) / width, width, { float: epsilon }],
  ]);
}

function rotary(
  values: RowValues,
  { x: rows, cosines, signedSines, result: value }: RotaryPattern,
): Strided {
  const x = values.of(rows);
  const tables = [cosines, signedSines].map((table) => values.dense(values.operandRow(table)));
  const [cosine, sine] = tables;
  if (cosine === undefined || sine === undefined) return refuse("rotary tables");
  const { shape } = x;
  const [B = 1] = shape;
  const S = shape.at(-2) ?? 1;
  const D = shape.at(-1) ?? 1;
  const heads = shape.slice(1, -2);
  const isForAll = countOf(cosine.shape) === S * D;
  const isOfEach = countOf(cosine.shape) === B * S * D && cosine.shape[0] === B;
  const isSame = cosine.shape.join() === sine.shape.join();
  if (shape.length < 3 || !isSame || (!isForAll && !isOfEach) || D % 2 !== 0)
    return refuse(`rotary tables of ${cosine.shape.join(" x ")}`);
  const groups = axesByShape(x);
  const axes = groups && [
    singleAxis(groups.slice(0, 1)),
    singleAxis(groups.slice(1, -2)),
    singleAxis(groups.slice(-2, -1)),
  ];
  const rowAxis = groups && singleAxis(groups.slice(-1));
  const [a, b, c] = axes ?? [];
  if (a === undefined || b === undefined || c === undefined || rowAxis?.stride !== 1)
    return refuse("rotary positions of a value in pieces");
  return values.builder.small("rotate", shape, [x, ...tables], values.targetOf(value), (out) => [
    ...[x.address, cosine.address, sine.address, out, B, countOf(heads), S, D],
    ...[a.stride, b.stride, c.stride, isForAll ? 0 : S],
  ]);
}

function attention(values: RowValues, pattern: AttentionPattern): Strided {
  const query = values.dense(values.of(pattern.query));
  const [keys, cached, ownKeys, ownValues] = [
    pattern.keys,
    pattern.values,
    pattern.ownKeys,
    pattern.ownValues,
  ].map((value) => values.dense(values.of(value)));
  if (!keys || !cached || !ownKeys || !ownValues) return refuse("attention without a cache");
  const [B = 1, kv = 1, T = 1, D = 1] = keys.shape;
  const S = ownKeys.shape[2] ?? 1;
  if (S > MOST_NEW_ROWS) refuse(`${S} new rows of a sequence, more than ${MOST_NEW_ROWS}`);
  const G = countOf(query.shape) / (B * kv * S * D);
  const fits =
    keys.shape.length === 4 &&
    [cached, keys].every(({ shape }) => shape.join() === [B, kv, T, D].join()) &&
    [ownKeys, ownValues].every(({ shape }) => shape.join() === [B, kv, S, D].join()) &&
    query.shape.join() === [B, kv, G * S, D].join();
  if (!fits || D % 4 !== 0) return refuse(`attention heads of ${D} channels`);
  if (G > 1 && S > 1 && pattern.scoreShape.length !== 5) return refuse("folded scores");
  const mask = values.dense(values.operandRow(pattern.mask));
  const isWindow = windowOf(mask.shape, pattern.scoreShape, { B, S, T });
  const ownMask =
    pattern.ownMask === undefined ? undefined : values.dense(values.operandRow(pattern.ownMask));
  if (ownMask !== undefined && countOf(ownMask.shape) !== S * S) return refuse("an own mask");
  values.builder.countWork(2 * B * kv * G * S * (T + S) * D);
  const room = values.builder.own(HEAD_BYTES + 4 * (T + S) + 16);
  const reads = [query, keys, cached, ownKeys, ownValues, mask];
  const stored = values.builder.large(
    "attention",
    [B * S, kv * G * D],
    reads,
    "shared",
    B * kv,
    (out) => [
      ...[query.address, keys.address, cached.address, ownKeys.address, ownValues.address],
      ...[mask.address, ownMask?.address, room, out, kv, G, S, T, D],
      { float: pattern.cap ?? 0 },
      isWindow ? 1 : 0,
    ],
  );
  return {
    ...stored,
    shape: [B, kv, G * S, D],
    axes: [
      { size: B, stride: S * kv * G * D },
      { size: kv, stride: G * D },
      { size: G, stride: D },
      { size: S, stride: kv * G * D },
      { size: D, stride: 1 },
    ].filter(({ size }) => size > 1),
  };
}

/**
 * Whether each new row has a mask of its own [B, 1, (1,) S, T], or all of a sequence share one [B, 1, (1,) 1, T]. Others
 * are refused.
 */
function windowOf(
  mask: readonly number[],
  scores: readonly number[],
  { B, S, T }: { readonly B: number; readonly S: number; readonly T: number },
): boolean {
  const padded = [...scores.map(() => 1), ...mask].slice(-scores.length);
  const [sequences = 1, ...others] = padded;
  const [rows = 1, positions] = others.slice(-2);
  const heads = others.slice(0, -2);
  const isKnown = sequences === B && positions === T && heads.every((size) => size === 1);
  if (!isKnown || (rows !== 1 && rows !== S)) refuse(`a mask of ${mask.join(" x ")}`);
  return rows > 1;
}
