// Inputs for fuzz runs over the readers of programs, models and weights, the same ones for the same seed.

/** Programs that use every part of the language; all of them parse. */
export const TEXT_SEEDS = [
  `program(1.3)
[buildInfo = dict<string, string>({{"coremlc-component-MIL", "3520.4.1"}, {"coremlc-version", "3520.5.1"}})]
{
    func main<ios18>(tensor<fp16, [1, 4, 1, 8]> x, state<tensor<fp16, [1, 16]>> s) {
            tensor<fp16, [4]> b = const()[name = string("b"), val = tensor<fp16, [4]>([0x1p-24, 0x1.5p-17, -inf, nan])];
            tensor<fp16, [4, 4, 1, 1]> w = const()[name = string("w"), val = tensor<fp16, [4, 4, 1, 1]>(BLOBFILE(path = string("@model_path/weights/weight.bin"), offset = uint64(64)))];
            tensor<fp16, [1, 4, 1, 8]> y = conv(bias = b, dilations = tensor<int32, [2]>([1, 1]), groups = int32(1), pad = tensor<int32, [4]>([0, 0, 0, 0]), pad_type = string("valid"), strides = tensor<int32, [2]>([1, 1]), weight = w, x = x)[name = string("y")];
            tensor<fp16, [1, 2, 1, 8]> a0, tensor<fp16, [1, 2, 1, 8]> a1 = split(axis = int32(1), num_splits = int32(2), x = y)[name = string("a")];
            tensor<fp16, [1, 4, 1, 8]> c = concat(axis = int32(1), interleave = bool(false), values = (a1, a0))[name = string("c")];
            tensor<fp16, [1, 16]> r = read_state(input = s)[name = string("r")];
            write_state(data = r, input = s);
        } -> (c, r);
    func second<ios17>(tensor<fp32, [?, 4]> input) [FlexibleShapeInformation = tuple<tuple<string, dict<string, tensor<int32, [?]>>>, tuple<string, dict<string, list<tensor<int32, [2]>, ?>>>>((("DefaultShapes", {{"input", [1, 4]}}), ("RangeDims", {{"input", [[1, 4], [4, 4]]}})))] {
            tensor<fp32, [?, 4]> q = constexpr_affine_dequantize()[axis = int32(0), quantized_data = tensor<int8, [2, 4]>([[1, -2, 3, -4], [5, 6, 7, 8]]), scale = fp32(0x1p-1), zero_point = int8(-1)];
            tensor<fp32, [?, 4]> output = add(x = input, y = q);
        } -> (output);
}`,
  `program(1.0)
[buildInfo = dict<tensor<string, []>, tensor<string, []>>({{"coremltools-version", "8.1"}, {"__proto__", "constructor"}})]
{
    func main<ios16>(tensor<fp16, [1, 10]> x, tensor<fp32, []> t) {
            tensor<fp16, [1, 10]> y = mul(x = x, y = tensor<fp16, []>(0x1.8p+1))[name = tensor<string, []>("op \\"3\\"\\n\\\\")];
        } -> (y);
}
`,
  `program(1.3)
{
    func main<ios18>(tensor<bool, []> p, tensor<fp32, [2]> x) {
        int32 zero = const()[val = int32(0)];
        tensor<fp32,[2]> y = cond(pred=p)[name=string("y")] {
            tensor<fp32,[2]> a = add(y=fp32(0.00001), x=x);
        } -> (a), {
            tensor<fp32,[2]> b = sub(x = x, y = tensor<fp32,[2]>([1.5e-3,-2]));
        } -> (b);
        int32 n, tensor<fp32,[2]> z = while_loop(loop_vars=(zero, y)) (int32 i, tensor<fp32,[2]> v) {
            bool go = less(x = i, y = int32(3));
        } -> (go), (int32 i2, tensor<fp32,[2]> v2) {
            int32 i3 = add(x = i2, y = int32(1));
            tensor<fp32,[2]> v3 = mul(x = v2, y = v2);
        } -> (i3, v3);
    } -> (z);
}`,
  `program(1.3)
[a = tuple<int4, uint1, uint3>((-8, 1, 7)), b = tensor<uint6, [2, 2]>([[0, 63], [1, 2]]), c = list<fp64, 3>([0.0026214400000000001, 4.0960000000000001e-05, 0]), d = tensor<int64, [2]>([-9223372036854775808, 9223372036854775807]), e = tensor<fp8e4m3fn, [2]>([0x1p-9, 448]), f = tensor<bf16, [1]>([0x1.fep+127]), g = tensor<string, [2]>(["", "\\u00e9"])]
{
    func main<ios18>(tensor_buffer<fp16, shape=[1, 64], strides=[64, 1], interleave_factors=[1, 1]> x0) [Launch_ane_ms = fp64(0x1p-3)] {
            tensor<fp16, [1, 64]> x1 = tensor_buffer_to_tensor<ios17>(input = x0)[BackendSupport = list<string, 2>(["bnns", "ane"]), EstimatedRuntime = dict<string, fp64>({{"ane", 0.5}}), milId = uint64(0)];
        } -> (x1);
}`,
];

const WORDS = [
  ...Array.from('(){}[]<>,;=?-"'),
  "tensor",
  "list",
  "tuple",
  "dict",
  "state",
  "tensor_buffer",
  "fp16",
  "fp32",
  "int4",
  "uint64",
  "string",
  "bool",
  "BLOBFILE",
  "func",
  "program",
  "const",
  "true",
  "nan",
  "-inf",
  "__proto__",
  "constructor",
  "x",
  "y",
  "0",
  "1",
  "-1",
  "4294967296",
  "9007199254740993",
  "18446744073709551616",
  "1e999999999",
  "0x1p-99999",
  "0x1.fffffffffffffffffffffffffp+1023",
  "0x",
  '"',
  '"\\x"',
  "\\",
  "//",
  "\u0000",
  "é",
  "->",
  "[1000000000, 1000000000]",
];

/** Numbers, names, strings, brackets. */
const KINDS = [/^-?[0-9][0-9a-zA-Z.]*$/, /^[A-Za-z_]\w*$/, /^"/, /^[()[\]{}<>]$/];

/** Inputs that are known to be nasty. */
export function nastyTexts() {
  const around = (text) => `program(1.3)\n[a = ${text}]\n{\n}`;
  return [
    "",
    "program",
    around("list<".repeat(10_000)),
    around(`list<int32, 1>(${"[".repeat(10_000)}`),
    around(`tensor<int32, [1, 1]>(${"[".repeat(10_000)}`),
    around(`tensor<int32, [${"1, ".repeat(10_000)}1]>([1])`),
    around("tuple<".repeat(10_000) + ">".repeat(10_000)),
    around(`tensor<fp64, [4000000000, 4000000000]>([1, 2, 3])`),
    around(`list<fp64, 4000000000>([1, 2, 3])`),
    around(`fp32(${"9".repeat(100_000)})`),
    around(`fp32(0.${"0".repeat(100_000)}1e100001)`),
    around(`fp16(0x${"f".repeat(100_000)}p-399990)`),
    around(`int64(${"9".repeat(100_000)})`),
    around(`string("${"\\n".repeat(50_000)}")`),
    around(`dict<string, int32>({{"__proto__", 1}, {"constructor", 2}})`),
    `program(1.3)\n{\n func main<ios18>() {\n${"cond() {".repeat(10_000)}`,
    `program(1.3)\n{\n func main<ios18>() {\n${"a();".repeat(20_000)}} -> ();\n}`,
    `program(1.3)\n{\n func __proto__<ios18>(int32 __proto__) {\n int32 y = add(__proto__ = __proto__)[__proto__ = int32(1)];\n} -> (y);\n}`,
    `${" ".repeat(100_000)}program(`,
    "//".repeat(100_000),
  ];
}

export class Mutator {
  /** @param random a generator with `below(limit)` */
  constructor(random) {
    this.random = random;
  }

  /** One of the items. */
  pick(items) {
    return items[this.random.below(items.length)];
  }

  /** A text with a few of its words replaced, removed, doubled, moved or swapped for nasty ones. */
  text(seeds) {
    const tokens = this.pick(seeds)
      .split(/(\s+|[A-Za-z_0-9.]+|"[^"]*"|.)/s)
      .filter((part) => part !== "");
    // Half of the texts keep their form: one word becomes another of its kind.
    if (this.random.below(2) === 0) {
      for (let tries = 0; tries < 50; tries++) {
        const at = this.random.below(tokens.length);
        const kind = KINDS.find((pattern) => pattern.test(tokens[at]));
        if (kind === undefined) continue;
        const same = [...tokens, ...WORDS].filter((token) => kind.test(token));
        tokens[at] = this.pick(same);
        return Buffer.from(tokens.join(""));
      }
    }
    for (let rounds = 1 + this.random.below(4); rounds > 0; rounds--) {
      const at = this.random.below(tokens.length);
      switch (this.random.below(6)) {
        case 0:
          tokens[at] = this.pick(WORDS);
          break;
        case 1:
          tokens.splice(at, 1 + this.random.below(3));
          break;
        case 2:
          tokens.splice(at, 0, this.pick(WORDS));
          break;
        case 3: {
          const other = this.pick(seeds).split(/(\s+)/);
          const from = this.random.below(other.length);
          tokens.splice(at, 0, ...other.slice(from, from + this.random.below(20)));
          break;
        }
        case 4: {
          const copied = tokens.slice(at, at + 1 + this.random.below(30));
          for (let copies = this.random.below(8); copies > 0; copies--)
            tokens.splice(at, 0, ...copied);
          break;
        }
        default:
          tokens.splice(
            at,
            tokens.length,
            ...(this.random.below(2) === 0 ? [] : tokens.slice(at + 1)),
          );
      }
      if (tokens.length === 0) tokens.push("program");
    }
    return Buffer.from(tokens.join(""));
  }

  /** A protobuf message whose framing is whole and whose fields are changed, moved, doubled or dropped. */
  message(seeds) {
    const root = readFields(Buffer.from(this.pick(seeds))) ?? [];
    for (let rounds = 1 + this.random.below(3); rounds > 0; rounds--) {
      let fields = root;
      let index = 0;
      // Walks down at random.
      for (;;) {
        if (fields.length === 0) break;
        index = this.random.below(fields.length);
        const inner = fields[index].inner;
        if (inner === undefined || inner.length === 0 || this.random.below(6) === 0) break;
        fields = inner;
      }
      const chosen = fields[index];
      if (chosen === undefined) continue;
      switch (this.random.below(7)) {
        case 0:
          fields.splice(index, 1);
          break;
        case 1:
          fields.splice(index, 0, chosen);
          break;
        case 2:
          fields.splice(this.random.below(fields.length), 0, ...fields.splice(index, 1));
          break;
        case 3:
          fields[index] = { ...chosen, field: 1 + this.random.below(12) };
          break;
        default:
          if (chosen.wire === 0) {
            fields[index] = {
              ...chosen,
              value: this.pick([
                0n,
                1n,
                2n,
                10n,
                23n,
                41n,
                99n,
                1n << 31n,
                1n << 53n,
                (1n << 64n) - 1n,
              ]),
            };
          } else if (chosen.wire === 2) {
            const text = this.pick([
              Buffer.alloc(0),
              Buffer.from("__proto__"),
              Buffer.from("x"),
              Buffer.from("const"),
              chosen.value.subarray(0, this.random.below(chosen.value.length + 1)),
              Buffer.concat([chosen.value, chosen.value]),
            ]);
            fields[index] = { field: chosen.field, wire: 2, value: text, inner: undefined };
          } else fields[index] = { ...chosen, value: Buffer.alloc(chosen.value.length, 0xff) };
      }
    }
    return writeFields(root);
  }

  /** Bytes with a few bits, bytes, words or runs changed, and lengths that lie. */
  bytes(seeds) {
    let bytes = Buffer.from(this.pick(seeds));
    for (let rounds = 1 + this.random.below(5); rounds > 0; rounds--) {
      if (bytes.length === 0) break;
      const at = this.random.below(bytes.length);
      switch (this.random.below(8)) {
        case 0:
          bytes[at] ^= 1 << this.random.below(8);
          break;
        case 1:
          bytes[at] = this.pick([0, 1, 0x7f, 0x80, 0xff, this.random.below(256)]);
          break;
        case 2:
          bytes = bytes.subarray(0, at);
          break;
        case 3: {
          const run = bytes.subarray(at, at + this.random.below(40));
          bytes = Buffer.concat([bytes.subarray(0, at), run, bytes.subarray(at)]);
          break;
        }
        case 4:
          bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + this.random.below(9))]);
          break;
        case 5: {
          const other = this.pick(seeds);
          const from = this.random.below(other.length + 1);
          bytes = Buffer.concat([
            bytes.subarray(0, at),
            other.subarray(from, from + 64),
            bytes.subarray(at),
          ]);
          break;
        }
        case 6: {
          // A large number where one may stand.
          const lie = Buffer.alloc(8);
          lie.writeBigUInt64LE(
            this.pick([
              0n,
              1n,
              63n,
              64n,
              0xffffffffn,
              1n << 40n,
              (1n << 53n) - 1n,
              (1n << 63n) - 1n,
              (1n << 64n) - 1n,
            ]),
          );
          lie.copy(bytes, Math.min(at & ~7, Math.max(bytes.length - 8, 0)));
          break;
        }
        default:
          bytes = Buffer.concat([
            bytes.subarray(0, at),
            Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            bytes.subarray(at + 1),
          ]);
      }
    }
    return bytes;
  }
}

/** The fields of a message, those that may be messages themselves in turn; nothing where the bytes are none. */
function readFields(bytes, depth = 0) {
  const fields = [];
  let at = 0;
  const varintAt = () => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) return undefined;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
    return undefined;
  };
  while (at < bytes.length) {
    const tag = varintAt();
    if (tag === undefined || tag < 8n || tag > 32_000n) return undefined;
    const field = Number(tag >> 3n);
    const wire = Number(tag & 7n);
    if (wire === 0) {
      const value = varintAt();
      if (value === undefined) return undefined;
      fields.push({ field, wire, value });
    } else if (wire === 1 || wire === 5) {
      const width = wire === 1 ? 8 : 4;
      if (at + width > bytes.length) return undefined;
      fields.push({ field, wire, value: bytes.subarray(at, at + width) });
      at += width;
    } else if (wire === 2) {
      const length = Number(varintAt() ?? -1n);
      if (length < 0 || at + length > bytes.length) return undefined;
      const value = bytes.subarray(at, at + length);
      at += length;
      fields.push({
        field,
        wire,
        value,
        inner: depth < 60 ? readFields(value, depth + 1) : undefined,
      });
    } else return undefined;
  }
  return fields;
}

function writeFields(fields) {
  return Buffer.concat(
    fields.map(({ field, wire, value, inner }) => {
      if (wire === 0) return Buffer.concat([varint(field * 8), bigVarint(value)]);
      if (wire !== 2) return Buffer.concat([varint(field * 8 + wire), value]);
      return lengthDelimited(field, inner === undefined ? value : writeFields(inner));
    }),
  );
}

function bigVarint(value) {
  const bytes = [];
  let rest = value;
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

/** A message nested in itself so many times: field 3 (operations) and 4 (blocks) of a program's function. */
export function deepMessage(depth) {
  let message = Buffer.alloc(0);
  for (let level = 0; level < depth; level++) {
    message = lengthDelimited(level % 2 === 0 ? 4 : 3, message);
  }
  const block = lengthDelimited(
    3,
    Buffer.concat([lengthDelimited(1, Buffer.from("CoreML8")), lengthDelimited(2, message)]),
  );
  const entry = Buffer.concat([
    lengthDelimited(1, Buffer.from("main")),
    lengthDelimited(2, Buffer.concat([lengthDelimited(2, Buffer.from("CoreML8")), block])),
  ]);
  return lengthDelimited(502, lengthDelimited(2, entry));
}

function lengthDelimited(field, bytes) {
  return Buffer.concat([varint(field * 8 + 2), varint(bytes.length), bytes]);
}

function varint(value) {
  const bytes = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}
