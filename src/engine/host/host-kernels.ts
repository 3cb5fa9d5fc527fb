import { elementCount, staticShape } from "../../mil/types.ts";
import type { DataType } from "../../mil/types.ts";
import type { HostKernel, Plan } from "../../plan/plan.ts";
import type { BufferView } from "../engine.ts";
import { EngineError } from "../errors.ts";
import { KERNEL_ADAMW, KERNEL_EMBEDDING_GRADIENT, KERNEL_SUM_OF_SQUARES } from "./kernel-job.ts";
import type { KernelMemory, KernelRunner } from "./kernel-job.ts";
import { prepareStream } from "./stream.ts";
import type { FileNumbers } from "./stream.ts";
import { prepareUnpack } from "./unpack.ts";
import { sameRegion } from "../../plan/regions.ts";
import type { BoundDispatch, BoundOutput, BoundPort, Region } from "../../plan/regions.ts";

/** Numbers an AdamW item updates; a multiple of the vector width. */
const ADAMW_CHUNK = 1 << 15;
/** Numbers summed in one go; fixed, so that the thread count never changes a sum's bits. */
const SUM_BLOCK = 1 << 16;
/** Bits of an AdamW item's kind, as the kernel has them: moments are bf16 patterns, the gradient is fp16. */
const SHORT_MOMENTS = 1;
const HALF_GRADIENT = 2;
/** Ranges of table rows that threads share. */
const TABLE_RANGES = 16;

/** Where a persistent region stands in shared memory. */
export interface KernelPlace {
  readonly memory: KernelMemory;
  readonly byteOffset: number;
}

/** Where buffers stand. */
export interface KernelPlaces {
  /** Nothing for transient buffers, which stand outside shared memory. */
  readonly place: (region: Region) => KernelPlace | undefined;
  /** Free room in the memory of a buffer, reserved by `scratchBytes`. */
  readonly scratch: (buffer: string) => KernelPlace | undefined;
}

/** What a kernel needs of the loaded plan. */
export interface KernelHost extends KernelPlaces {
  readonly pool: KernelRunner;
  /** A region's elements, wherever they stand. */
  readonly view: (region: Region) => BufferView;
  /** As in `LoadOptions`. */
  readonly readWeight?: (buffer: string, target: Float32Array) => void;
}

/** A kernel bound to buffers: running it is one call. */
export type PreparedKernel = () => void;

const ADAMW_SCALARS = [
  "learning_rate",
  "weight_decay",
  "bias_correction1",
  "bias_correction2",
  "gradient_scale",
] as const;

export function kernelOf(plan: Plan, dispatch: BoundDispatch): HostKernel | undefined {
  return plan.programs.get(dispatch.program)?.hostKernel;
}

function inputPort(dispatch: BoundDispatch, name: string): BoundPort {
  const port = dispatch.inputs.find(({ value }) => value.name === name);
  if (port === undefined) {
    throw new EngineError(
      "engine.cpu.kernels",
      `${dispatch.label}: the kernel of ${dispatch.program} names an input "${name}" that the function lacks`,
    );
  }
  return port;
}

function inputRegion(dispatch: BoundDispatch, name: string): Region {
  return inputPort(dispatch, name).region;
}

function outputOf(dispatch: BoundDispatch, name: string): BoundOutput {
  const port = dispatch.outputs.find(({ value }) => value.name === name);
  if (port === undefined) {
    throw new EngineError(
      "engine.cpu.kernels",
      `${dispatch.label}: the kernel of ${dispatch.program} names an output "${name}" that the function lacks`,
    );
  }
  return port;
}

/** Buffers a kernel wants in one memory. */
export function buffersTogether(
  plan: Plan,
  dispatch: BoundDispatch,
): readonly (readonly string[])[] {
  const kernel = kernelOf(plan, dispatch);
  if (kernel?.kind !== "adamw") return [];
  return kernel.parameters.map(({ weight, gradient, m, v }) =>
    [weight, gradient, m, v].map((name) => inputRegion(dispatch, name).buffer),
  );
}

/** Room a kernel needs beside a buffer. */
export function scratchBytes(
  plan: Plan,
  dispatch: BoundDispatch,
): { readonly buffer: string; readonly byteLength: number } | undefined {
  const kernel = kernelOf(plan, dispatch);
  if (kernel?.kind !== "embedding_gradient") return undefined;
  const rows = inputRegion(dispatch, kernel.indices).count;
  const numbers = inputRegion(dispatch, kernel.gradient).count;
  return {
    buffer: outputOf(dispatch, "table_gradient").region.buffer,
    byteLength: 4 * (rows + numbers) + 64,
  };
}

/**
 * Whether a dispatch's kernel can work on its buffers as they stand. Where it cannot (an update that is not in
 * place, buffers that are shared with another plan in scattered memories, types other than fp32) the MIL
 * function runs instead.
 */
export function kernelSuits(plan: Plan, dispatch: BoundDispatch, host: KernelPlaces): boolean {
  const kernel = kernelOf(plan, dispatch);
  // Unpacking and reading work wherever their buffers stand.
  if (kernel?.kind === "unpack" || kernel?.kind === "stream")
    return dispatch.outputs.every(({ mode }) => mode === "write");
  if (kernel === undefined || !suitsTypes(dispatch, kernel)) return false;
  switch (kernel.kind) {
    case "muon":
    case "adapter_norms":
    case "preference":
      return false;
    case "adamw":
      return kernel.parameters.every(
        (parameter) => adamwPlaces(parameter, dispatch, host) !== undefined,
      );
    case "sum_of_squares":
      return dispatch.inputs.every(({ region }) => host.place(region) !== undefined);
    case "embedding_gradient": {
      const { region } = outputOf(dispatch, "table_gradient");
      const scratch = host.scratch(region.buffer);
      return scratch !== undefined && scratch.memory === host.place(region)?.memory;
    }
  }
}

/** Binds the kernel of a dispatch that `kernelSuits` has accepted. */
export function prepareKernel(
  plan: Plan,
  dispatch: BoundDispatch,
  host: KernelHost,
): PreparedKernel {
  const kernel = kernelOf(plan, dispatch);
  switch (kernel?.kind) {
    case "adamw":
      return prepareAdamw(kernel, dispatch, host);
    case "sum_of_squares":
      return prepareSumOfSquares(dispatch, host);
    case "embedding_gradient":
      return prepareEmbeddingGradient(kernel, dispatch, host);
    case "unpack":
      return prepareUnpack(
        kernel,
        (name) => host.view(inputRegion(dispatch, name)),
        (name) => host.view(outputOf(dispatch, name).region),
      );
    case "stream":
      return prepareStream(
        kernel,
        (name) => numbersInFile(inputRegion(dispatch, name), host),
        (name) => host.view(outputOf(dispatch, name).region),
      );
    case "muon":
    case "adapter_norms":
    case "preference":
    case undefined:
      throw new EngineError("engine.cpu.kernels", `${dispatch.program} has no kernel here`);
  }
}

function numbersInFile({ buffer }: Region, { readWeight }: KernelHost): FileNumbers {
  if (readWeight !== undefined) return (target) => readWeight(buffer, target);
  throw new EngineError(
    "engine.stream",
    `"${buffer}" stays in its file, and the plan was loaded without a way to read it`,
  );
}

/** Kernels compute in fp32; indices are int32, short moments bf16 patterns, and gradients may be fp16. */
function suitsTypes(dispatch: BoundDispatch, kernel: HostKernel): boolean {
  const types = typesOf(dispatch, kernel);
  return [...dispatch.inputs, ...dispatch.outputs].every(({ value: { name, type } }) => {
    if (type.kind !== "tensor") return false;
    return (types.get(name) ?? ["fp32", "int32"]).includes(type.dataType);
  });
}

/** The types that a kernel takes of inputs and outputs that need not be fp32. */
function typesOf(
  { inputs }: BoundDispatch,
  kernel: HostKernel,
): ReadonlyMap<string, readonly DataType[]> {
  if (kernel.kind === "sum_of_squares")
    return new Map(inputs.map(({ value: { name } }) => [name, ["fp32", "fp16"]]));
  const types = new Map<string, readonly DataType[]>();
  if (kernel.kind !== "adamw") return types;
  for (const { gradient, m, v } of kernel.parameters) {
    types.set(gradient, ["fp32", "fp16"]);
    if (kernel.momentType === "fp32") continue;
    for (const name of [m, v, `new_${m}`, `new_${v}`]) types.set(name, ["uint16"]);
  }
  return types;
}

function isHalf({ value: { type } }: BoundPort): boolean {
  return type.kind === "tensor" && type.dataType === "fp16";
}

function unsuitable(dispatch: BoundDispatch): EngineError {
  return new EngineError(
    "engine.cpu.kernels",
    `${dispatch.label}: the buffers of ${dispatch.program} do not suit its kernel`,
  );
}

type AdamwKernel = Extract<HostKernel, { readonly kind: "adamw" }>;

/** Weight, gradient and moments of a parameter, when they stand in one memory and are updated in place. */
function adamwPlaces(
  parameter: AdamwKernel["parameters"][number],
  dispatch: BoundDispatch,
  host: KernelPlaces,
): readonly KernelPlace[] | undefined {
  const { weight, gradient, m, v } = parameter;
  const inPlace = [weight, m, v].every((name) => {
    const output = outputOf(dispatch, `new_${name}`);
    return output.mode === "write" && sameRegion(output.region, inputRegion(dispatch, name));
  });
  const places = [weight, gradient, m, v].flatMap(
    (name) => host.place(inputRegion(dispatch, name)) ?? [],
  );
  const isTogether = places.every(({ memory }) => memory === places[0]?.memory);
  return inPlace && isTogether && places.length === 4 ? places : undefined;
}

function prepareAdamw(
  kernel: AdamwKernel,
  dispatch: BoundDispatch,
  host: KernelHost,
): PreparedKernel {
  const words: number[] = [];
  const momentBytes = kernel.momentType === "bf16" ? 2 : 4;
  for (const parameter of kernel.parameters) {
    const places = adamwPlaces(parameter, dispatch, host) ?? [];
    const [first] = places;
    if (first === undefined) throw unsuitable(dispatch);
    const memory = host.pool.numberOf(first.memory);
    const { count } = inputRegion(dispatch, parameter.weight);
    const isHalfGradient = isHalf(inputPort(dispatch, parameter.gradient));
    const widths = [4, isHalfGradient ? 2 : 4, momentBytes, momentBytes];
    const kind = (momentBytes === 2 ? SHORT_MOMENTS : 0) + (isHalfGradient ? HALF_GRADIENT : 0);
    for (let start = 0; start < count; start += ADAMW_CHUNK) {
      words.push(
        memory,
        ...places.map(({ byteOffset }, index) => byteOffset + (widths[index] ?? 4) * start),
        Math.min(ADAMW_CHUNK, count - start),
        parameter.decay ? 1 : 0,
        kind,
      );
    }
  }
  const items = Uint32Array.from(words);
  const views = ADAMW_SCALARS.map((name) => host.view(inputRegion(dispatch, name)));
  const { beta1, beta2, epsilon } = kernel;
  return () => {
    const [rate = 0, decay = 0, correction1 = 1, correction2 = 1, scale = 1] = views.map(
      (view) => view[0] ?? 0,
    );
    host.pool.run(KERNEL_ADAMW, items, [
      scale,
      beta1,
      1 - beta1,
      beta2,
      1 - beta2,
      1 / correction1,
      1 / correction2,
      epsilon,
      1 - Math.fround(rate * decay),
      rate,
    ]);
  };
}

function prepareSumOfSquares(dispatch: BoundDispatch, host: KernelHost): PreparedKernel {
  const words: number[] = [];
  for (const port of dispatch.inputs) {
    const { region } = port;
    const place = host.place(region);
    if (place === undefined) throw unsuitable(dispatch);
    const half = isHalf(port) ? 1 : 0;
    const width = half === 1 ? 2 : 4;
    const memory = host.pool.numberOf(place.memory);
    for (let start = 0; start < region.count; start += SUM_BLOCK) {
      const count = Math.min(SUM_BLOCK, region.count - start);
      words.push(memory, place.byteOffset + width * start, count, half, 0, 0, 0, 0);
    }
  }
  const items = Uint32Array.from(words);
  const output = outputOf(dispatch, "sum");
  const target = host.view(output.region);
  return () => {
    let sum = 0;
    for (const part of host.pool.run(KERNEL_SUM_OF_SQUARES, items, [])) sum += part;
    target[0] = (output.mode === "accumulate" ? (target[0] ?? 0) : 0) + sum;
  };
}

function prepareEmbeddingGradient(
  kernel: Extract<HostKernel, { readonly kind: "embedding_gradient" }>,
  dispatch: BoundDispatch,
  host: KernelHost,
): PreparedKernel {
  const indices = inputRegion(dispatch, kernel.indices);
  const gradient = inputRegion(dispatch, kernel.gradient);
  const { region: table, mode, value } = outputOf(dispatch, "table_gradient");
  const place = host.place(table);
  const scratch = host.scratch(table.buffer);
  if (place === undefined || scratch === undefined) throw unsuitable(dispatch);
  const [vocabulary = 1, ...rest] = value.type.kind === "tensor" ? staticShape(value.type) : [];
  const columns = elementCount(rest);
  const indicesAt = scratch.byteOffset;
  const gradientAt = indicesAt + Math.ceil((4 * indices.count) / 16) * 16;
  const indicesCopy = new Int32Array(scratch.memory.shared, indicesAt, indices.count);
  const gradientCopy = new Float32Array(scratch.memory.shared, gradientAt, gradient.count);
  const indicesView = host.view(indices);
  const gradientView = host.view(gradient);
  const memory = host.pool.numberOf(place.memory);
  const words: number[] = [];
  const rows = Math.ceil(vocabulary / TABLE_RANGES);
  for (let first = 0; first < vocabulary; first += rows) {
    const last = Math.min(vocabulary, first + rows);
    words.push(
      memory,
      indicesAt,
      gradientAt,
      place.byteOffset,
      indices.count,
      columns,
      first,
      last,
    );
  }
  const items = Uint32Array.from(words);
  const clear = mode === "write" ? 1 : 0;
  return () => {
    indicesCopy.set(indicesView);
    gradientCopy.set(gradientView);
    for (const index of indicesCopy) {
      if (index >= vocabulary || index < -vocabulary) {
        throw new EngineError(
          "engine.cpu.index",
          `${dispatch.label}: index ${index} is outside the ${vocabulary} rows of the table`,
        );
      }
    }
    host.pool.run(KERNEL_EMBEDDING_GRADIENT, items, [vocabulary, clear]);
  };
}
