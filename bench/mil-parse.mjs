// How fast MIL text is read and printed: node bench/mil-parse.mjs [megabytes...]
// Needs the build (npm run build). Two texts: ops with small settings, and a few ops with large tensors in place.
import { parseProgram, printProgram } from "../dist/mil/text/index.js";

const sizes = process.argv.slice(2).map(Number);
if (sizes.length === 0) sizes.push(2, 8, 32);

/** Seconds by the clock, and of processor time with all threads of the garbage collector. */
function now() {
  const { user, system } = process.cpuUsage();
  return { wall: performance.now() / 1e3, cpu: (user + system) / 1e6 };
}

const HEADER =
  'program(1.3)\n[buildInfo = dict<string, string>({{"coremlc-version", "3520.5.1"}})]\n{\n';

function manyOps(byteLength) {
  const lines = [HEADER, "    func main<ios18>(tensor<fp16, [1, 64, 1, 128]> x0) {\n"];
  let length = 0;
  let index = 0;
  while (length < byteLength) {
    const line =
      `            tensor<fp16, [1, 64, 1, 128]> x${index + 1} = conv(dilations = tensor<int32, [2]>([1, 1]), ` +
      `groups = int32(1), pad = tensor<int32, [4]>([0, 0, 0, 0]), pad_type = string("valid"), ` +
      `strides = tensor<int32, [2]>([1, 1]), weight = tensor<fp16, [64, 64, 1, 1]>(BLOBFILE(path = ` +
      `string("@model_path/weights/weight.bin"), offset = uint64(${64 + index * 8256}))), x = x${index})` +
      `[name = string("x${index + 1}")];\n`;
    lines.push(line);
    length += line.length;
    index++;
  }
  lines.push(`        } -> (x${index});\n}`);
  return lines.join("");
}

function largeTensors(byteLength) {
  const lines = [HEADER, "    func main<ios18>(tensor<fp32, [1]> x) {\n"];
  let length = 0;
  let index = 0;
  while (length < byteLength) {
    const rows = Array.from({ length: 64 }, (_, row) => {
      const numbers = Array.from({ length: 256 }, (_, i) => {
        const value = ((row * 256 + i + index) * 2654435761) % 65536;
        return `${value & 1 ? "-" : ""}0x1.${value.toString(16).padStart(4, "0").replace(/0+$/, "") || "8"}p-${1 + (value % 13)}`;
      });
      return `[${numbers.join(", ")}]`;
    });
    const line = `            tensor<fp32, [64, 256]> w${index} = const()[name = string("w${index}"), val = tensor<fp32, [64, 256]>([${rows.join(", ")}])];\n`;
    lines.push(line);
    length += line.length;
    index++;
  }
  lines.push(
    '            tensor<fp32, [1]> y = relu(x = x)[name = string("y")];\n        } -> (y);\n}',
  );
  return lines.join("");
}

for (const [kind, make] of [
  ["many ops", manyOps],
  ["large tensors", largeTensors],
]) {
  parseProgram(make(1 << 20));
  for (const size of sizes) {
    const text = make(size * 1e6);
    const bytes = Buffer.from(text);
    globalThis.gc?.();
    const start = now();
    const program = parseProgram(bytes);
    const parsed = now();
    const printed = printProgram(program);
    const end = now();
    const megabytes = bytes.length / 1e6;
    const rate = (from, to, clock) => (megabytes / (to[clock] - from[clock])).toFixed(1);
    console.log(
      `${String(kind)}: ${megabytes.toFixed(1)} MB, ` +
        `read at ${rate(start, parsed, "cpu")} MB/s of processor time (${rate(start, parsed, "wall")} by the clock), ` +
        `printed at ${rate(parsed, end, "cpu")} (${rate(parsed, end, "wall")}), same bytes: ${printed === text}`,
    );
  }
}
