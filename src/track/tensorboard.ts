import { closeSync, openSync, writeSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { TrainEvent } from "../runs/events.ts";
import { makeFolders } from "../util/atomic-file.ts";
import { FileError, messageOf } from "../util/errors.ts";
import { maskedCrc32c } from "./crc32c.ts";
import { numbersOf } from "./tracker.ts";
import type { Tracker, TrackerStart } from "./tracker.ts";

/** Field numbers of tensorflow's event.proto, summary.proto and tensor.proto. */
const EVENT = { wallTime: 1, step: 2, fileVersion: 3, summary: 5, sessionLog: 7 } as const;
const SUMMARY_VALUE = 1;
const VALUE = { tag: 1, simpleValue: 2, tensor: 8, metadata: 9 } as const;
const METADATA = { pluginData: 1, dataClass: 4 } as const;
const PLUGIN_NAME = 1;
const DATA_CLASS_TENSOR = 2;
const TENSOR = { dataType: 1, shape: 2, strings: 8 } as const;
const SHAPE_DIMENSION = 2;
const DIMENSION_SIZE = 1;
const STRING_TYPE = 7;
const SESSION_STATUS = 1;
const SESSION_START = 1;

/** Groups of a run's events in TensorBoard. */
const GROUPS: Partial<Record<TrainEvent["kind"], string>> = {
  step: "train",
  eval: "eval",
  memory: "memory",
};

/**
 * Event files of TensorBoard in `<run>/tensorboard`: scalars of reports, evaluations and memory, samples as text. Each
 * process of a run writes a file of its own; one that goes on from a step says so, and TensorBoard drops what earlier
 * files hold of later steps.
 */
export class TensorBoardTracker implements Tracker {
  readonly path: string;
  readonly #handle: number;

  /** Throws `FileError` where the file cannot be made. */
  constructor({ runFolder, step }: TrackerStart, nowMs = Date.now()) {
    const folder = join(runFolder, "tensorboard");
    const name = `events.out.tfevents.${Math.floor(nowMs / 1000)}.${hostname()}.${process.pid}.${nowMs % 1000}`;
    this.path = join(folder, name);
    try {
      makeFolders(folder);
      this.#handle = openSync(this.path, "ax");
    } catch (error) {
      throw new FileError("file.open", `cannot write ${this.path}: ${messageOf(error)}`, {
        cause: error,
      });
    }
    const seconds = nowMs / 1000;
    this.#write(eventStart(seconds, 0).tag(EVENT.fileVersion, LENGTH).string("brain.Event:2"));
    if (step > 0) {
      const log = new BinaryWriter().tag(SESSION_STATUS, WireType.Varint).uint32(SESSION_START);
      // Of steps from this one on.
      this.#write(
        eventStart(seconds, step + 1)
          .tag(EVENT.sessionLog, LENGTH)
          .bytes(log.finish()),
      );
    }
  }

  add(event: TrainEvent): void {
    const group = GROUPS[event.kind];
    const values =
      group === undefined
        ? []
        : numbersOf(event).map(([name, value]) => scalar(`${group}/${name}`, value));
    if (event.kind === "sample") values.push(text("sample", `${event.prompt}${event.text}`));
    if (event.kind === "start") values.push(text("run/start", `    ${JSON.stringify(event)}`));
    if (values.length === 0) return;
    const summary = new BinaryWriter();
    for (const value of values) summary.tag(SUMMARY_VALUE, LENGTH).bytes(value.finish());
    this.#write(eventStart(event.t, event.step).tag(EVENT.summary, LENGTH).bytes(summary.finish()));
  }

  close(): void {
    closeSync(this.#handle);
  }

  /** A TFRecord: length, its checksum, the event, its checksum. */
  #write(event: BinaryWriter): void {
    const data = event.finish();
    const record = Buffer.alloc(data.byteLength + 16);
    record.writeBigUInt64LE(BigInt(data.byteLength), 0);
    record.writeUInt32LE(maskedCrc32c(record.subarray(0, 8)), 8);
    record.set(data, 12);
    record.writeUInt32LE(maskedCrc32c(data), 12 + data.byteLength);
    try {
      writeSync(this.#handle, record);
    } catch (error) {
      throw new FileError("file.write", `cannot write ${this.path}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }
}

const LENGTH = WireType.LengthDelimited;

function eventStart(seconds: number, step: number): BinaryWriter {
  return new BinaryWriter()
    .tag(EVENT.wallTime, WireType.Bit64)
    .double(seconds)
    .tag(EVENT.step, WireType.Varint)
    .int64(step);
}

function scalar(tag: string, value: number): BinaryWriter {
  return new BinaryWriter()
    .tag(VALUE.tag, LENGTH)
    .string(tag)
    .tag(VALUE.simpleValue, WireType.Bit32)
    .float(value);
}

/** A text as TensorBoard's text page takes it: a vector of one string. */
function text(tag: string, content: string): BinaryWriter {
  const dimension = new BinaryWriter().tag(DIMENSION_SIZE, WireType.Varint).int64(1);
  const shape = new BinaryWriter().tag(SHAPE_DIMENSION, LENGTH).bytes(dimension.finish());
  const tensor = new BinaryWriter()
    .tag(TENSOR.dataType, WireType.Varint)
    .uint32(STRING_TYPE)
    .tag(TENSOR.shape, LENGTH)
    .bytes(shape.finish())
    .tag(TENSOR.strings, LENGTH)
    .string(content);
  const plugin = new BinaryWriter().tag(PLUGIN_NAME, LENGTH).string("text");
  const metadata = new BinaryWriter()
    .tag(METADATA.pluginData, LENGTH)
    .bytes(plugin.finish())
    .tag(METADATA.dataClass, WireType.Varint)
    .uint32(DATA_CLASS_TENSOR);
  return new BinaryWriter()
    .tag(VALUE.tag, LENGTH)
    .string(tag)
    .tag(VALUE.tensor, LENGTH)
    .bytes(tensor.finish())
    .tag(VALUE.metadata, LENGTH)
    .bytes(metadata.finish());
}
