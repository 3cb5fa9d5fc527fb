import { create, toBinary } from "@bufbuild/protobuf";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { writeFileAtomically, writeWholeFile } from "../util/atomic-file.ts";
import {
  ModelProtoSchema,
  StringStringEntryProtoSchema,
  TensorProto_DataLocation,
} from "./generated/onnx_pb.ts";
import type { ModelProto, TensorProto } from "./generated/onnx_pb.ts";
import type { StoredWeight } from "./stored-weights.ts";

/** Where weights stand. */
export interface WeightPlaces {
  /** Weights of so many bytes together stand in the model's file; more stand beside it. Default 512 MiB. */
  readonly inlineByteLength?: number;
  /** Bytes of a file beside it, unless one weight has more. Default 1.75 GiB, which every reader can hold. */
  readonly dataByteLength?: number;
}

/** A model's file and what stands beside it, in the order of their numbers. */
export interface WrittenModel {
  readonly path: string;
  readonly dataPaths: readonly string[];
}

const INLINE_BYTE_LENGTH = 2 ** 29;
const DATA_BYTE_LENGTH = 1.75 * 2 ** 30;
/** Offsets are whole pages, so that readers may map them. */
const ALIGNMENT = 4096;
/** Tensors too small to be worth a page stay in the model. */
const SMALL_BYTE_LENGTH = 1024;

/**
 * Writes a model with its weights, one of them in memory at a time where they stand beside it: `model.onnx` with
 * `model.onnx_data`, `model.onnx_data_1` and so on. `numbersOf` gives a weight's numbers. The model comes last, so that
 * a file that opens is whole.
 */
export function writeModel(
  path: string,
  model: ModelProto,
  weights: readonly StoredWeight[],
  numbersOf: (name: string) => Float32Array,
  { inlineByteLength = INLINE_BYTE_LENGTH, dataByteLength = DATA_BYTE_LENGTH }: WeightPlaces = {},
): WrittenModel {
  const { graph } = model;
  for (const { tensors } of weights) graph?.initializer.push(...tensors);
  const byteLength = weights.reduce((sum, weight) => sum + lengthOf(weight), 0);
  const chunks = byteLength <= inlineByteLength ? [] : chunksOf(weights, dataByteLength);
  if (chunks.length === 0) {
    for (const weight of weights) fill(weight, weight.bytesOf(numbersOf(weight.name)));
  }
  const dataPaths = chunks.map((_, index) => `${path}_data${index === 0 ? "" : `_${index}`}`);
  for (const [index, chunk] of chunks.entries())
    writeData(dataPaths[index] ?? path, chunk, numbersOf);
  writeWholeFile(path, toBinary(ModelProtoSchema, model));
  removeOthers(path, dataPaths);
  return { path, dataPaths };
}

function lengthOf({ byteLengths }: StoredWeight): number {
  return byteLengths.reduce((sum, length) => sum + length, 0);
}

function chunksOf(
  weights: readonly StoredWeight[],
  limit: number,
): readonly (readonly StoredWeight[])[] {
  const chunks: StoredWeight[][] = [];
  let held = Infinity;
  for (const weight of weights) {
    const length = lengthOf(weight) + ALIGNMENT * weight.tensors.length;
    if (held + length > limit) {
      chunks.push([]);
      held = 0;
    }
    chunks.at(-1)?.push(weight);
    held += length;
  }
  return chunks;
}

function fill({ tensors }: StoredWeight, bytes: readonly Uint8Array[]): void {
  tensors.forEach((tensor, index) => {
    tensor.rawData = bytes[index] ?? new Uint8Array();
  });
}

function writeData(
  path: string,
  weights: readonly StoredWeight[],
  numbersOf: (name: string) => Float32Array,
): void {
  writeFileAtomically(path, (write) => {
    let offset = 0;
    for (const weight of weights) {
      const bytes = weight.bytesOf(numbersOf(weight.name));
      for (const [index, tensor] of weight.tensors.entries()) {
        const part = bytes[index] ?? new Uint8Array();
        if (part.byteLength < SMALL_BYTE_LENGTH) {
          tensor.rawData = part;
          continue;
        }
        const padding = (ALIGNMENT - (offset % ALIGNMENT)) % ALIGNMENT;
        write(new Uint8Array(padding));
        offset += padding;
        write(part);
        point(tensor, basename(path), offset, part.byteLength);
        offset += part.byteLength;
      }
    }
  });
}

function point(tensor: TensorProto, location: string, offset: number, length: number): void {
  tensor.dataLocation = TensorProto_DataLocation.EXTERNAL;
  tensor.externalData = Object.entries({ location, offset, length }).map(([key, value]) =>
    create(StringStringEntryProtoSchema, { key, value: String(value) }),
  );
}

/** Files beside an earlier model of that name that this one has not. */
function removeOthers(path: string, dataPaths: readonly string[]): void {
  const folder = dirname(path);
  if (!existsSync(folder)) return;
  const kept = new Set(dataPaths.map((one) => basename(one)));
  const beginning = `${basename(path)}_data`;
  for (const name of readdirSync(folder)) {
    if (!name.startsWith(beginning) || kept.has(name)) continue;
    if (/^(?:_\d+)?$/.test(name.slice(beginning.length))) rmSync(join(folder, name));
  }
}
