import type { ByteSource } from "../../util/byte-source.ts";
import { hex, viewOf } from "../byte-view.ts";
import type { HwxSurface } from "./model.ts";
import { PAYLOAD_OFFSETS } from "../magic.ts";

const CHANNEL_COUNT = 32;
const HEADER_BYTES = 0x6a8;
const NCHW_AT = 0x28 + CHANNEL_COUNT * 4;
const TILE_BYTES = 0x4000;

/** The `.ane` file of the Linux driver (H13 only): sizes, channel shapes, then tasks and weights. */
export interface AneContainer {
  readonly payloadOffset: number;
  readonly payloadBytes: number;
  readonly firstTaskBytes: number;
  readonly taskCount: number;
  readonly taskBytes: number;
  readonly kernelBytes: number;
  readonly kernelOffset: number;
  readonly sourceCount: number;
  readonly destinationCount: number;
  readonly channels: readonly AneChannel[];
}

export interface AneChannel {
  readonly index: number;
  readonly byteLength: number;
  readonly surface: HwxSurface | null;
}

/** Throws `InspectError` when a size or a count does not hold. */
export function readAneContainer(source: ByteSource): AneContainer {
  const view = viewOf(source, 0, HEADER_BYTES, { at: 0, field: "ane header" });
  const payloadBytes = view.u64(0, "ane header.size");
  const payloadOffset = source.byteLength - payloadBytes;
  if (!PAYLOAD_OFFSETS.some((offset) => offset === payloadOffset)) {
    throw view.fail(
      "inspect.range",
      0,
      "ane header.size",
      `${payloadBytes} bytes behind a header of 0x1000 or 0x800 bytes; the file has ${source.byteLength}`,
      "The file is cut short, or it is no .ane container.",
    );
  }
  const firstTaskBytes = view.u32(8, "ane header.td_size");
  const taskBytes = view.u64(16, "ane header.tsk_size");
  const kernelBytes = view.u64(24, "ane header.krn_size");
  const sourceCount = view.u32(32, "ane header.src_count");
  const destinationCount = view.u32(36, "ane header.dst_count");
  const kernelOffset = payloadOffset + Math.ceil(taskBytes / 64) * 64;
  if (kernelOffset + kernelBytes > source.byteLength) {
    throw view.fail(
      "inspect.range",
      24,
      "ane header.krn_size",
      `${kernelBytes} bytes at ${hex(kernelOffset)} are claimed, the file has ${source.byteLength}`,
    );
  }
  if (firstTaskBytes % 4 !== 0 || firstTaskBytes > taskBytes) {
    throw view.fail(
      "inspect.range",
      8,
      "ane header.td_size",
      `${firstTaskBytes} bytes of ${taskBytes}`,
    );
  }
  const channels: AneChannel[] = [];
  for (let index = 0; index < CHANNEL_COUNT; index++) {
    const tiles = view.u32(0x28 + index * 4, `ane header.tiles[${index}]`);
    if (tiles === 0) continue;
    const at = NCHW_AT + index * 48;
    const number = (slot: number): number => view.u64(at + slot * 8, `ane header.nchw[${index}]`);
    const [n, c, h, w, plane, row] = [0, 1, 2, 3, 4, 5].map(number);
    const byteLength = tiles * TILE_BYTES;
    const isSurface =
      n !== undefined && n > 0 && c !== undefined && h !== undefined && w !== undefined;
    channels.push({
      index,
      byteLength,
      surface: isSurface
        ? {
            role: "unknown",
            name: `channel ${index}`,
            symbol: "",
            elementType: "fp16",
            elementBytes: 2,
            shape: { n, c, h, w, d: 1 },
            strideBytes: { n: (plane ?? 0) * c, c: plane ?? 0, h: row ?? 0 },
            byteLength,
          }
        : null,
    });
  }
  return {
    payloadOffset,
    payloadBytes,
    firstTaskBytes,
    taskCount: view.u32(12, "ane header.td_count"),
    taskBytes,
    kernelBytes,
    kernelOffset,
    sourceCount,
    destinationCount,
    channels,
  };
}
