// Builds a MIL function by hand, differentiates it, prints both as MIL text and runs them.
//   node examples/differentiate.mjs
import {
  FunctionBuilder,
  createEngine,
  mil,
  printProgram,
  programOf,
  runFunction,
  valueAndGradient,
} from "anecdote";

// loss = sum(gelu(x w)), x [2, 3], w [3, 4]
const f = new FunctionBuilder("main");
const x = f.input("x", mil.tensorType("fp32", [2, 3]));
const w = f.input("w", mil.tensorType("fp32", [3, 4]));
const hidden = f.op("gelu", { x: f.op("matmul", { x, y: w }), mode: "TANH_APPROXIMATION" });
const loss = f.op("reduce_sum", { x: hidden, axes: [0, 1], keep_dims: false });
const main = f.finish({ loss });
console.log(printProgram(programOf(main)));

// One function with the value and the gradient of w; `d_loss` seeds it.
const gradient = valueAndGradient(main, { withRespectTo: ["w"], gradientOf: ["loss"] });
console.log(printProgram(programOf(gradient)));

const engine = await createEngine("reference");
const inputs = {
  x: [1, 2, 3, -1, 0, 1],
  w: Array.from({ length: 12 }, (_, i) => (i - 6) / 10),
  d_loss: [1],
};
const results = await runFunction(engine, gradient, inputs);
console.log("loss", results.get("loss").toArray());
console.log("d_w ", results.get("d_w").toArray());
await engine.close();
