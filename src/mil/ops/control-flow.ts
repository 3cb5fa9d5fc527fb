import type { HostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { tensor, tensors } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import type { Block } from "../program.ts";
import { formatType, tensorType } from "../types.ts";
import type { MilType } from "../types.ts";
import { typeFits } from "./dimensions.ts";

function blocksOf(call: OpCall, first: string, second: string): readonly [Block, Block] {
  const [a, b, ...rest] = call.blocks;
  if (a === undefined || b === undefined || rest.length > 0) {
    throw call.fail(
      `two blocks are needed, ${first} and ${second}; there are ${call.blocks.length}`,
    );
  }
  return [a, b];
}

/** A type both sides fit, with "?" where sizes differ. */
function joinTypes(call: OpCall, a: MilType, b: MilType, what: string): MilType {
  if (a.kind === "tensor" && b.kind === "tensor") {
    if (a.dataType === b.dataType && a.shape.length === b.shape.length) {
      return tensorType(
        a.dataType,
        a.shape.map((size, axis) => (size === b.shape[axis] ? size : "?")),
      );
    }
  } else if (a.kind === b.kind) {
    return a;
  }
  throw call.fail(`${what} is ${formatType(a)} on one side and ${formatType(b)} on the other`);
}

function condTypes(call: OpCall): readonly MilType[] {
  if (call.dataType("pred") !== "bool") throw call.fail("pred must be a bool");
  const [whenTrue, whenFalse] = blocksOf(call, "the true branch", "the false branch");
  if (whenTrue.outputs.length !== whenFalse.outputs.length) {
    throw call.fail(
      `the branches have ${whenTrue.outputs.length} and ${whenFalse.outputs.length} results`,
    );
  }
  return whenTrue.outputs.map(({ type }, index) =>
    joinTypes(call, type, whenFalse.outputs[index]?.type ?? type, `result ${index}`),
  );
}

function loopTypes(call: OpCall): readonly MilType[] {
  const [condition, body] = blocksOf(call, "the condition", "the body");
  const variables = call.operands("loop_vars");
  if (condition.outputs.length !== 1) throw call.fail("the condition must have one result, a bool");
  for (const [block, name] of [
    [condition, "condition"],
    [body, "body"],
  ] as const) {
    if (block.inputs.length !== variables.length) {
      throw call.fail(
        `the ${name} takes ${block.inputs.length} inputs, there are ${variables.length} loop_vars`,
      );
    }
  }
  if (body.outputs.length !== variables.length) {
    throw call.fail(
      `the body has ${body.outputs.length} results, there are ${variables.length} loop_vars`,
    );
  }
  const [decision] = condition.outputs;
  if (decision?.type.kind !== "tensor" || decision.type.dataType !== "bool") {
    throw call.fail("the condition must have one result, a bool");
  }
  return body.outputs.map(({ type }, index) => {
    const input = body.inputs[index]?.type ?? type;
    if (!typeFits(type, input)) {
      throw call.fail(
        `loop variable ${index} is ${formatType(input)} and becomes ${formatType(type)} in the body`,
      );
    }
    return type;
  });
}

function run(call: OpCall, block: Block, inputs: readonly HostTensor[]): readonly HostTensor[] {
  if (call.environment === undefined) throw call.fail("blocks only run while evaluating");
  return call.environment.runBlock(block, inputs);
}

export const CONTROL_FLOW = {
  /** Runs its first block where `pred` holds, else its second. */
  cond: defineOp({
    kind: "costly",
    parameters: { pred: tensor("bool") },
    infer: condTypes,
    evaluate: (call) => {
      const [whenTrue, whenFalse] = blocksOf(call, "the true branch", "the false branch");
      return run(call, call.bool("pred") ? whenTrue : whenFalse, []);
    },
  }),

  /** Runs its second block on `loop_vars` as long as its first block gives true. */
  while_loop: defineOp({
    kind: "costly",
    parameters: { loop_vars: tensors() },
    infer: loopTypes,
    evaluate: (call) => {
      const [condition, body] = blocksOf(call, "the condition", "the body");
      let variables: readonly HostTensor[] = call
        .operands("loop_vars")
        .map((operand) => call.tensorOf(operand, "loop_vars"));
      const limit = call.environment?.iterationLimit ?? 1_000_000;
      for (let round = 0; run(call, condition, variables)[0]?.data[0] !== 0; round++) {
        if (round >= limit) throw call.fail(`the loop did not end within ${limit} rounds`);
        variables = run(call, body, variables);
      }
      return variables;
    },
  }),

  read_state: defineOp({
    kind: "movement",
    impure: true,
    parameters: { input: tensor() },
    infer: (call) => {
      const { type } = call.operand("input");
      if (type.kind !== "state") throw call.fail("input must be a state");
      return [type.wrapped];
    },
    evaluate: (call) => [call.tensor("input")],
  }),

  /** Not registered by coremltools, but written into every file that updates a state. It has no result. */
  write_state: defineOp({
    kind: "movement",
    impure: true,
    parameters: { input: tensor(), data: tensor() },
    since: "ios18",
    infer: (call) => {
      const { type } = call.operand("input");
      if (type.kind !== "state") throw call.fail("input must be a state");
      if (!typeFits(call.tensorType("data"), type.wrapped)) {
        throw call.fail(
          `data is ${formatType(call.tensorType("data"))}, the state holds ${formatType(type.wrapped)}`,
        );
      }
      return [];
    },
    evaluate: (call) => {
      if (call.environment === undefined) throw call.fail("states only exist while evaluating");
      call.environment.writeState(call.operand("input"), call.tensor("data"));
      return [];
    },
  }),
} as const;
