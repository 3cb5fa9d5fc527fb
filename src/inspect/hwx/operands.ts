import { surfaceFormat } from "./field-meaning.ts";
import type { RegisterMap } from "./map/types.ts";
import type { HwxBase, HwxExtent, HwxHeaderField, HwxOperand, OperandPlace } from "./model.ts";
import { CORE_LIMIT, DMA, FIELD, WORD, coefficientNames } from "./names.ts";
import { blockAt, type RegisterState } from "./registers.ts";
import { headerBases, type BaseIndices } from "./task-header.ts";
import type { RawTask } from "./task-stream.ts";

const ELEMENT_BYTES: ReadonlyMap<string, number> = new Map([
  ["fp16", 2],
  ["int16", 2],
  ["fp32", 4],
  ["int8", 1],
  ["uint8", 1],
]);
const ROW_BYTES = 64;

/** The base index of each operand, from the header (versions 4 to 7) or from address packets. */
export function operandBases(
  task: RawTask,
  header: readonly HwxHeaderField[],
  map: RegisterMap,
): BaseIndices {
  const packets = task.records.filter((record) => record.kind === "address");
  if (packets.length === 0) return headerBases(header);
  const bases: { -readonly [Operand in keyof BaseIndices]: number | null } = {
    ...{ source: null, source2: null, kernel: null, result: null },
  };
  for (const packet of packets) {
    const place = map.byAddress.get(packet.address);
    const isBase = place === undefined ? packet.valueCount === 2 : /Base/.test(place.name);
    if (!isBase) continue;
    const index = (packet.word >>> 22) & 0x7f;
    const block = place?.block ?? blockAt(map, packet.address);
    if (block === "TileDMADst") bases.result ??= index;
    else if (block === "KernelDMA") bases.kernel ??= index;
    else if (block === "TileDMASrc") {
      if (
        place?.name.startsWith("Src2") === true ||
        (place === undefined && bases.source !== null)
      ) {
        bases.source2 ??= index;
      } else bases.source ??= index;
    }
  }
  return bases;
}

/** One enabled core's share of the weights. Null where the register is left at its default. */
export interface CoefficientTile {
  readonly core: number;
  readonly offset: number | null;
  readonly byteLength: number | null;
}

/** The cores whose weight DMA is on. */
export function coefficientTiles(state: RegisterState): CoefficientTile[] {
  const tiles: CoefficientTile[] = [];
  for (let core = 0; core < CORE_LIMIT; core++) {
    const names = coefficientNames(core);
    if (state.field(names.enable) !== 1) continue;
    tiles.push({ core, offset: state.bytes(names.base), byteLength: state.bytes(names.size) });
  }
  return tiles;
}

function placeOf(
  base: number | null,
  bases: readonly HwxBase[],
  offset: number | null,
  onChip: number | null,
): OperandPlace {
  if (base === null) return { where: "on-chip", address: onChip };
  const buffer = bases.find((one) => one.index === base);
  return {
    where: "dram",
    base,
    role: buffer?.role ?? "unknown",
    name: buffer?.name ?? `base ${base}`,
    offset: offset ?? 0,
  };
}

/** Bytes that a DMA of this extent moves: whole rows of 64 bytes, no row twice along a broadcast axis. */
function transferBytes(
  extent: HwxExtent,
  dtype: string | null,
  strides: { readonly row: number | null; readonly channel: number | null },
  interleave: number,
): number | null {
  const elementBytes = dtype === null ? undefined : ELEMENT_BYTES.get(dtype);
  const { width, height, depth, channels } = extent;
  if (elementBytes === undefined || width === null || height === null || channels === null)
    return null;
  const rowBytes = Math.ceil((width * elementBytes * interleave) / ROW_BYTES) * ROW_BYTES;
  const rows = strides.row === 0 ? 1 : height;
  const planes = strides.channel === 0 ? 1 : Math.ceil(channels / interleave);
  return rowBytes * rows * planes * (depth ?? 1);
}

interface OperandInput {
  readonly state: RegisterState;
  readonly bases: readonly HwxBase[];
  readonly indices: BaseIndices;
}

/** Where a tile operand lives and how it lies there. */
export function tileOperand(
  which: "source" | "source2" | "result",
  { state, bases, indices }: OperandInput,
  extent: HwxExtent,
  elementFormat: string | null,
): HwxOperand {
  const names = DMA[which];
  const onChip = { source: FIELD.sourceL2, source2: FIELD.source2L2, result: FIELD.resultL2 }[
    which
  ];
  const formatWord = state.word(
    { source: WORD.sourceFormat, source2: WORD.source2Format, result: WORD.resultFormat }[which],
  );
  const index = indices[which];
  const place = placeOf(index, bases, state.bytes(names.base), state.bytes(onChip));
  const inDram = place.where === "dram";
  const dtype =
    inDram && formatWord !== null ? (surfaceFormat(formatWord) ?? elementFormat) : elementFormat;
  const strideBytes = inDram
    ? {
        row: state.bytes(names.row),
        channel: state.bytes(names.channel),
        depth: state.bytes(names.depth),
        group: state.bytes(names.group),
      }
    : null;
  const interleave = inDram ? state.field(names.interleave) : null;
  return {
    name: which,
    place,
    dtype,
    extent,
    strideBytes,
    interleave,
    dramBytes:
      strideBytes === null
        ? 0
        : transferBytes(extent, dtype, strideBytes, Math.max(1, interleave ?? 1)),
  };
}

/** The weights, the table or the second matrix that the kernel DMA brings. */
export function kernelOperand(
  { bases, indices }: OperandInput,
  tiles: readonly CoefficientTile[],
  dtype: string | null,
  expectedBytes: number | null,
): HwxOperand {
  const sizes = tiles.map((tile) => tile.byteLength);
  const known = sizes.length > 0 && sizes.every((size) => size !== null);
  const dramBytes = known
    ? sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0)
    : expectedBytes;
  const first = tiles[0];
  return {
    name: "kernel",
    place:
      indices.kernel === null && tiles.length === 0
        ? { where: "none" }
        : placeOf(indices.kernel, bases, first?.offset ?? null, null),
    dtype,
    extent: null,
    strideBytes: null,
    interleave: null,
    dramBytes: indices.kernel === null ? 0 : dramBytes,
  };
}
