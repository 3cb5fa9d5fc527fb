import { join } from "node:path";
import { writeFileAtomically, writeWholeFile } from "../../util/atomic-file.ts";
import type { ByteSource } from "../../util/byte-source.ts";
import { registerMap } from "./map/families.ts";
import type { HwxFile, HwxSection } from "./model.ts";
import { coefficientTiles, operandBases } from "./operands.ts";
import { RegisterState } from "./registers.ts";
import { sectionAt, sectionsOf } from "./model.ts";

/** One core's tile of one task's weights, or a whole weight section where no tile is known. */
export interface WeightTile {
  readonly name: string;
  /** Where the place comes from. */
  readonly from: "registers" | "symbol" | "section";
  readonly task: number | null;
  readonly core: number | null;
  /** `fp16`, `int8`, …, `lookup table`, or `unknown`. */
  readonly dtype: string;
  /** Offset in the file, in bytes. */
  readonly fileOffset: number;
  readonly byteLength: number;
  /** What of this entry rests on an inferred default, as words. */
  readonly assumed: readonly string[];
}

const MINIMUM_TILE_BYTES = 64;
const CHUNK_BYTES = 1 << 20;

/**
 * Locates the weights: the tiles that tasks name in their kernel registers, the tiles that symbols name, then the
 * weight sections whole. Values are as the engine wants them (cut by core, permuted); they are not put back in order.
 */
export function locateWeights(file: HwxFile): WeightTile[] {
  const sections = sectionsOf(file).filter(isWeightSection);
  return [
    ...tilesOfTasks(file, sections),
    ...tilesOfSymbols(file, sections),
    ...sections.map((section): WeightTile => ({
      name: `${section.segment}.${section.name}`,
      from: "section",
      task: null,
      core: null,
      dtype: "unknown",
      fileOffset: section.fileOffset ?? 0,
      byteLength: section.byteLength,
      assumed: [],
    })),
  ];
}

function isWeightSection(section: HwxSection): boolean {
  return (
    section.fileOffset !== null &&
    section.byteLength > 0 &&
    (section.name === "__const" || section.name.startsWith("__kern")) &&
    section.segment !== "__FVMLIB"
  );
}

function tilesOfTasks(file: HwxFile, sections: readonly HwxSection[]): WeightTile[] {
  const map = registerMap(file.target.family);
  const bases = file.programs.flatMap((program) => program.bases);
  return file.tasks.flatMap((task) => {
    const kernel = task.meaning.operands.find((operand) => operand.name === "kernel");
    if (kernel === undefined || kernel.place.where !== "dram" || kernel.place.role !== "weights")
      return [];
    const index = operandBases(task, task.header, map).kernel;
    const base = bases.find((one) => one.index === index);
    if (base === undefined) return [];
    const tiles = coefficientTiles(new RegisterState(map, task.writes));
    const sharedBytes =
      kernel.dramBytes === null ? null : Math.ceil(kernel.dramBytes / Math.max(1, tiles.length));
    return tiles.flatMap((tile): WeightTile[] => {
      const address = file.format === "ane" ? null : base.address + (tile.offset ?? 0);
      const section = address === null ? sections[0] : sectionAt(sections, address);
      if (section?.fileOffset === undefined || section.fileOffset === null) return [];
      const within = address === null ? (tile.offset ?? 0) : address - section.address;
      const room = section.byteLength - within;
      const wanted = tile.byteLength ?? sharedBytes ?? MINIMUM_TILE_BYTES;
      if (within < 0 || room <= 0) return [];
      const assumed: string[] = [];
      if (tile.offset === null) assumed.push("offset 0");
      if (tile.byteLength === null) assumed.push("size from the kernel's shape");
      return [
        {
          name: `task${task.index}.core${tile.core}`,
          from: "registers",
          task: task.index,
          core: tile.core,
          dtype: kernel.dtype ?? "unknown",
          fileOffset: section.fileOffset + within,
          byteLength: Math.min(room, wanted),
          assumed,
        },
      ];
    });
  });
}

function tilesOfSymbols(file: HwxFile, sections: readonly HwxSection[]): WeightTile[] {
  const named = file.symbols
    .map((symbol) => ({ symbol, match: /^K[0-9A-F]{64}_ne_(\d+)$/.exec(symbol.name) }))
    .filter(({ match }) => match !== null)
    .sort((a, b) => a.symbol.address - b.symbol.address);
  return named.flatMap(({ symbol, match }, index): WeightTile[] => {
    const section = sectionAt(sections, symbol.address);
    if (section === undefined || section.fileOffset === null) return [];
    const next = named
      .slice(index + 1)
      .map((other) => other.symbol.address)
      .find((address) => address > symbol.address && sectionAt([section], address) !== undefined);
    const end = next ?? section.address + section.byteLength;
    return [
      {
        name: symbol.name,
        from: "symbol",
        task: null,
        core: Number(match?.[1] ?? 0),
        dtype: "unknown",
        fileOffset: section.fileOffset + (symbol.address - section.address),
        byteLength: end - symbol.address,
        assumed: next === undefined ? ["ends with its section"] : [],
      },
    ];
  });
}

/** Weight tiles that were written as files. */
export interface ExtractedWeights {
  readonly folder: string;
  readonly files: readonly (WeightTile & { readonly file: string })[];
}

/**
 * Writes each weight tile to `<folder>/<name>.bin` and their list to `<folder>/weights.json`. Each file is written
 * aside and renamed. Throws `FileError` when the folder cannot be written.
 */
export function extractWeights(
  file: HwxFile,
  source: ByteSource,
  folder: string,
): ExtractedWeights {
  const files = locateWeights(file).map((tile) => {
    const name = `${tile.name.replace(/[^\w.-]/g, "_")}.bin`;
    writeFileAtomically(join(folder, name), (write) => {
      for (let done = 0; done < tile.byteLength; done += CHUNK_BYTES) {
        write(source.read(tile.fileOffset + done, Math.min(CHUNK_BYTES, tile.byteLength - done)));
      }
    });
    return { ...tile, file: name };
  });
  const list = { format: "hwx-weights", program: file.name, chip: file.target.chip, tiles: files };
  writeWholeFile(join(folder, "weights.json"), `${JSON.stringify(list, null, 2)}\n`);
  return { folder, files };
}
