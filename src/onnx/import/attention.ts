import { literalNumbers } from "../../mil/literal.ts";
import type { Operand } from "../../mil/program.ts";
import { counted, offsetsOf } from "./site.ts";
import { castTo } from "./casts.ts";
import type { Import, ImportSite } from "./site.ts";

/** [B, S, heads * D] as [B, heads, S, D]. */
function splitHeads(site: ImportSite, x: Operand, heads: number): Operand {
  const [batch = 1, length = 1, width = 1] = site.shapeOf(x);
  if (heads < 1 || width % heads !== 0) {
    throw site.fail(`${width} channels do not make ${heads} heads`);
  }
  const split = site.reshape(x, [batch, length, heads, width / heads]);
  return site.transpose(split, [0, 2, 1, 3]);
}

/** [B, heads, S, D] as [B, S, heads * D]. */
function joinHeads(site: ImportSite, x: Operand): Operand {
  const [batch = 1, heads = 1, length = 1, size = 1] = site.shapeOf(x);
  return site.reshape(site.transpose(x, [0, 2, 1, 3]), [batch, length, heads * size]);
}

/** Every head of x so often that there are `heads` of them, beside one another. */
function repeatHeads(site: ImportSite, x: Operand, heads: number): Operand {
  const own = site.shapeOf(x)[1] ?? 1;
  if (own === heads) return x;
  if (heads % own !== 0) throw site.fail(`${heads} query heads do not share ${own} key heads`);
  const order = Array.from({ length: heads }, (_, head) => Math.floor((head * own) / heads));
  return site.taken(x, 1, order);
}

interface Places {
  readonly queries: number;
  readonly keys: number;
  /** Valid keys before the first query: the same for all, or int32 [B, 1, 1, 1]. */
  readonly offset: number | Operand;
}

/** bool [queries, keys] or [B, 1, queries, keys]: whether the place of a key less that of a query is in [low, high]. */
function band(
  site: ImportSite,
  { queries, keys, offset }: Places,
  low: number | undefined,
  high: number | undefined,
): Operand {
  const distance = site.constant("int32", [queries, keys], offsetsOf(queries, keys));
  const relative =
    typeof offset === "number"
      ? site.sub(distance, offset)
      : site.sub(site.reshape(distance, [1, 1, queries, keys]), offset);
  const tests = [
    ...(low === undefined ? [] : [site.binary("greater_equal", relative, low)]),
    ...(high === undefined ? [] : [site.binary("less_equal", relative, high)]),
  ];
  const [first, second] = tests;
  if (first === undefined) throw site.fail("a band has a bound");
  return second === undefined ? first : site.binary("logical_and", first, second);
}

/** A mask as numbers to add: 0 where a key may be seen, -inf elsewhere; padded to all keys. */
function additiveMask(site: ImportSite, mask: Operand, keys: number, like: Operand): Operand {
  const type = site.typeOf(like);
  const shape = site.shapeOf(mask);
  const isBool = site.typeOf(mask) === "bool";
  const bias = isBool
    ? site.select(mask, site.scalar(type, 0), site.scalar(type, -Infinity))
    : site.cast(mask, type);
  const missing = keys - (shape.at(-1) ?? 1);
  if (missing <= 0 || shape.at(-1) === 1) return bias;
  const rest = site.filledWith([...shape.slice(0, -1), missing], like, -Infinity);
  return site.concatenated([bias, rest], shape.length - 1);
}

/**
 * Attention of opset 23 and later: scores, softcap, masks (causal from the bottom right, windows, lengths), softmax,
 * product. Rows without any key to see give zeros.
 */
const attention: Import = (site) => {
  const isFlat = site.shape(0).length === 3;
  const given = [0, 1, 2].map((index) => {
    const heads = site.int(index === 0 ? "q_num_heads" : "kv_num_heads", 0);
    return isFlat ? splitHeads(site, site.input(index), heads) : site.input(index);
  });
  const [q, newKeys, newValues] = given;
  if (q === undefined || newKeys === undefined || newValues === undefined)
    throw site.fail("it has three inputs");
  const pastLength = site.has(4) ? (site.shape(4)[2] ?? 0) : 0;
  const keys = site.has(4) ? site.concatenated([site.input(4), newKeys], 2) : newKeys;
  const values = site.has(5) ? site.concatenated([site.input(5), newValues], 2) : newValues;
  const [batch = 1, heads = 1, queryCount = 1, headSize = 1] = site.shapeOf(q);
  const keyCount = site.shapeOf(keys)[2] ?? 1;
  const type = site.typeOf(q);

  // Half of the scale at each side keeps fp16 products within range.
  const root = Math.sqrt(site.float("scale", 1 / Math.sqrt(headSize)));
  const scores = site.op("matmul", {
    x: site.mul(q, root),
    y: site.mul(repeatHeads(site, keys, heads), root),
    transpose_y: true,
  });
  const softcap = site.float("softcap", 0);
  const capped =
    softcap > 0 ? site.mul(site.op("tanh", { x: site.mul(scores, 1 / softcap) }), softcap) : scores;

  const lengths = site.has(6)
    ? site.reshape(site.cast(site.input(6), "int32"), [batch, 1, 1, 1])
    : undefined;
  const offset = lengths === undefined || site.has(4) ? pastLength : site.sub(lengths, queryCount);
  const places = { queries: queryCount, keys: keyCount, offset };
  const left = site.int("left_window_size", -1);
  const right = site.int("right_window_size", -1);
  const seen = [
    ...(site.flag("is_causal", false) ? [band(site, places, undefined, 0)] : []),
    ...(left >= 0 || right >= 0
      ? [band(site, places, left < 0 ? undefined : -left, right < 0 ? undefined : right)]
      : []),
    ...(lengths === undefined
      ? []
      : [site.binary("less", site.reshape(counted(keyCount), [1, 1, 1, keyCount]), lengths)]),
  ];
  const mask = site.optional(3);
  const biases = [
    ...(mask === undefined ? [] : [additiveMask(site, mask, keyCount, q)]),
    ...seen.map((test) => site.select(test, site.scalar(type, 0), site.scalar(type, -Infinity))),
  ];
  const bias = biases.reduce<Operand | undefined>(
    (sum, one) => (sum === undefined ? one : site.add(sum, one)),
    undefined,
  );
  const biased = bias === undefined ? capped : site.add(capped, bias);
  const precision = site.hasAttribute("softmax_precision")
    ? site.int("softmax_precision", 1)
    : undefined;
  const wide = precision === undefined ? biased : castTo(site, biased, precision, undefined);
  const soft = site.cast(site.op("softmax", { x: wide, axis: -1 }), type);
  const weights = bias === undefined ? soft : withoutBlindRows(site, soft, bias);
  const product = site.op("matmul", { x: weights, y: repeatHeads(site, values, heads) });
  const shown = [scores, capped, biased, weights][site.int("qk_matmul_output_mode", 0)];
  if (shown === undefined) throw site.fail("qk_matmul_output_mode is 0 to 3");
  return [isFlat ? joinHeads(site, product) : product, keys, values, shown];
};

/** Zeros in rows whose keys are all masked, of which a softmax makes NaN. */
function withoutBlindRows(site: ImportSite, weights: Operand, bias: Operand): Operand {
  const known = site.known(bias);
  const width = site.shapeOf(bias).at(-1) ?? 1;
  if (known !== undefined) {
    const numbers = literalNumbers(known);
    const isBlind = Array.from({ length: numbers.length / width }, (_, row) =>
      numbers.slice(row * width, (row + 1) * width).every((number) => number === -Infinity),
    );
    if (!isBlind.includes(true)) return weights;
  }
  const largest = site.op("reduce_max", { x: bias, axes: [-1], keep_dims: true });
  const isBlind = site.binary("equal", largest, -Infinity);
  return site.select(isBlind, 0, weights);
}

/** Pairs of channels turned by angles whose cosine and sine are given for each position. */
const rotaryEmbedding: Import = (site) => {
  const isFlat = site.shape(0).length === 3;
  const heads = site.int("num_heads", 0);
  const x = isFlat ? splitHeads(site, site.input(0), heads) : site.input(0);
  const [batch = 1, , length = 1, headSize = 1] = site.shapeOf(x);
  const size = site.int("rotary_embedding_dim", 0) || headSize;
  const half = size / 2;
  const angles = (index: number): Operand => {
    const table = site.input(index);
    const found = site.has(3)
      ? site.op("gather", { x: table, indices: site.cast(site.input(3), "int32"), axis: 0 })
      : table;
    const shape = site.shapeOf(found);
    if (shape.at(-1) !== half) {
      throw site.fail(`its tables have ${shape.at(-1)} angles, ${half} are needed`);
    }
    return site.reshape(found, [shape.length === 3 ? batch : 1, 1, length, half]);
  };
  const [cosine, sine] = [angles(1), angles(2)];
  const turned = site.sliced(x, 3, 0, size);
  const isInterleaved = site.flag("interleaved", false);
  const part = (which: 0 | 1): Operand =>
    isInterleaved
      ? site.sliced(turned, 3, which, size, 2)
      : site.sliced(turned, 3, which * half, (which + 1) * half);
  const [a, b] = [part(0), part(1)];
  const real = site.sub(site.mul(a, cosine), site.mul(b, sine));
  const imaginary = site.add(site.mul(a, sine), site.mul(b, cosine));
  const rotated = isInterleaved
    ? site.reshape(
        site.concatenated([site.withAxis(real, 4), site.withAxis(imaginary, 4)], 4),
        site.shapeOf(turned),
      )
    : site.concatenated([real, imaginary], 3);
  const whole =
    size === headSize
      ? rotated
      : site.concatenated([rotated, site.sliced(x, 3, size, headSize)], 3);
  return isFlat ? joinHeads(site, whole) : whole;
};

/** Positions that are written out one after the other. */
const UNROLLED_POSITIONS = 256;

/** A state of [D, V] a head that every position decays, corrects and adds to, and that its query reads. */
const linearAttention: Import = (site) => {
  const [queryHeads, heads] = [site.int("q_num_heads", 0), site.int("kv_num_heads", 0)];
  const rule = site.text("update_rule", "gated_delta");
  const isGated = rule === "gated" || rule === "gated_delta";
  const isDelta = rule === "delta" || rule === "gated_delta";
  if (!isGated && !isDelta && rule !== "linear") throw site.fail(`rule "${rule}" is not known`);
  const [batch = 1, length = 1] = site.shape(0);
  if (length > UNROLLED_POSITIONS) {
    throw site.fail(
      `its ${length} positions would be written out one by one, at most ${UNROLLED_POSITIONS} are`,
    );
  }
  const type = site.type(0);
  const wide = (operand: Operand): Operand => site.cast(operand, "fp32");
  const q = splitHeads(site, wide(site.input(0)), queryHeads);
  const k = splitHeads(site, wide(site.input(1)), heads);
  const v = splitHeads(site, wide(site.input(2)), heads);
  const keySize = site.shapeOf(q)[3] ?? 1;
  const valueSize = site.shapeOf(v)[3] ?? 1;
  const perHead = (index: number): Operand => {
    const x = wide(site.input(index));
    const width = site.shapeOf(x)[2] ?? 1;
    return splitHeads(site, x, width === 1 ? 1 : heads);
  };
  const decay = isGated ? site.op("exp", { x: perHead(4) }) : undefined;
  const beta = isDelta ? perHead(5) : undefined;
  const scale = site.float("scale", 0) || 1 / Math.sqrt(keySize);
  const stateType = site.has(3) ? site.type(3) : type;
  let state = site.has(3)
    ? wide(site.input(3))
    : site.filledWith([batch, heads, keySize, valueSize], q, 0);
  // One position of [B, H, T, D]: a column [B, H, D, 1] or a row [B, H, 1, D].
  const row = (x: Operand, position: number): Operand => site.sliced(x, 2, position, position + 1);
  const column = (x: Operand, position: number): Operand =>
    site.transpose(row(x, position), [0, 1, 3, 2]);
  const results: Operand[] = [];
  for (let position = 0; position < length; position++) {
    if (decay !== undefined) state = site.mul(state, column(decay, position));
    let value = row(v, position);
    if (beta !== undefined) {
      const found = site.op("matmul", { x: row(k, position), y: state });
      value = site.mul(site.sub(value, found), row(beta, position));
    }
    state = site.add(state, site.mul(column(k, position), value));
    const read = site.op("matmul", {
      x: row(q, position),
      y: repeatHeads(site, state, queryHeads),
    });
    results.push(read);
  }
  const output = site.mul(site.concatenated(results, 2), scale);
  return [site.cast(joinHeads(site, output), type), site.cast(state, stateType)];
};

/** A convolution of each channel with its past, which a state carries from call to call. */
const causalConvolution: Import = (site) => {
  const [batch = 1, channels = 1, length = 1] = site.shape(0);
  const kernel = site.shape(1)[2] ?? 1;
  const x = site.input(0);
  const before = site.has(3) ? site.input(3) : site.filledWith([batch, channels, kernel - 1], x, 0);
  const padded = kernel === 1 ? x : site.concatenated([before, x], 2);
  const weight = site.input(1);
  const convolved = site.op("conv", {
    x: padded,
    weight,
    ...(site.has(2) && { bias: site.input(2) }),
    strides: [1],
    dilations: [1],
    groups: channels,
    pad_type: "valid",
  });
  const activation = site.text("activation", "none");
  if (!["none", "silu", "swish"].includes(activation)) {
    throw site.fail(`activation "${activation}" is not known`);
  }
  const y = activation === "none" ? convolved : site.op("silu", { x: convolved });
  const state = kernel === 1 ? before : site.sliced(padded, 2, length, length + kernel - 1);
  return [y, state];
};

/** A cache into which new positions are written from a place on, one place for each sequence of the batch. */
const tensorScatter: Import = (site) => {
  const shape = site.shape(0);
  const axis = site.ownAxis(-2);
  const [batch = 1, places = 1] = [shape[0], shape[axis]];
  const count = site.shape(1)[axis] ?? 1;
  const mode = site.text("mode", "linear");
  if (mode !== "linear" && mode !== "circular") throw site.fail(`mode "${mode}" is not known`);
  const starts = site.has(2)
    ? site.reshape(site.cast(site.input(2), "int32"), [batch, 1])
    : site.constant("int32", [batch, 1], new Float64Array(batch));
  // For every place of the cache: which new position it takes, or none.
  const distance = site.sub(site.reshape(counted(places), [1, places]), starts);
  const from = mode === "circular" ? site.binary("mod", distance, places) : distance;
  const isWritten = site.binary(
    "logical_and",
    site.binary("greater_equal", from, 0),
    site.binary("less", from, count),
  );
  const index = site.select(isWritten, from, 0);
  const cache = site.widened(site.input(0));
  const update = site.widened(site.input(1));
  const parts = Array.from({ length: batch }, (_, number) => {
    const news = site.op("gather", {
      x: site.sliced(update, 0, number, number + 1),
      indices: site.picked(index, 0, number),
      axis,
    });
    const test = site.reshape(
      site.picked(isWritten, 0, number),
      shape.map((_size, place) => (place === axis ? places : 1)),
    );
    return site.select(test, news, site.sliced(cache, 0, number, number + 1));
  });
  return site.cast(site.concatenated(parts, 0), site.type(0));
};

/** Attention whose scores and probabilities pass through graphs of the model. */
const flexAttention: Import = (site) => {
  const [q, k, v] = [site.input(0), site.input(1), site.input(2)];
  const [, heads = 1, , headSize = 1] = site.shapeOf(q);
  const root = Math.sqrt(site.float("scale", 1 / Math.sqrt(headSize)));
  const product = site.op("matmul", {
    x: site.mul(q, root),
    y: site.mul(repeatHeads(site, k, heads), root),
    transpose_y: true,
  });
  const type = site.type(0);
  const wide = site.hasAttribute("softmax_precision")
    ? castTo(site, product, site.int("softmax_precision", 1), undefined)
    : site.cast(product, "fp32");
  const through = (name: string, x: Operand): Operand => {
    if (!site.hasAttribute(name)) return x;
    const [result, ...rest] = site.graphOn(name, [x]);
    if (result === undefined || rest.length > 0) throw site.fail(`${name} has one result`);
    return site.cast(result, site.typeOf(x));
  };
  const scores = through("score_mod", wide);
  const soft = through("prob_mod", site.op("softmax", { x: scores, axis: -1 }));
  const values = site.cast(repeatHeads(site, v, heads), site.typeOf(soft));
  return site.cast(site.op("matmul", { x: soft, y: values }), type);
};

export const IMPORT_ATTENTION = {
  Attention: attention,
  RotaryEmbedding: rotaryEmbedding,
  LinearAttention: linearAttention,
  CausalConvWithState: causalConvolution,
  TensorScatter: tensorScatter,
} as const satisfies Record<string, Import>;

export const IMPORT_PREVIEW = {
  FlexAttention: flexAttention,
} as const satisfies Record<string, Import>;
