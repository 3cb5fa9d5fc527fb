import type { ByteSource } from "../../util/byte-source.ts";
import { ByteView, hex, viewOf } from "../byte-view.ts";
import type {
  HwxCommand,
  HwxHeader,
  HwxNote,
  HwxRegion,
  HwxRelocation,
  HwxSection,
  HwxSegment,
  HwxSurface,
  HwxSymbol,
  HwxTables,
  HwxSpan,
} from "./model.ts";
import { readSymbols } from "./symbols.ts";
import { readProgramThread, readSurfaceThread, type ProgramThread } from "./threads.ts";

export const HEADER_BYTES = 32;
const COMMAND_AREA_LIMIT = 64 * 2 ** 20;
const SEGMENT_BYTES = 72;
const SECTION_BYTES = 80;

const COMMAND_NAMES: ReadonlyMap<number, string> = new Map([
  [0x02, "LC_SYMTAB"],
  [0x04, "LC_THREAD"],
  [0x06, "LC_LOADFVMLIB"],
  [0x08, "LC_IDENT"],
  [0x19, "LC_SEGMENT_64"],
  [0x31, "LC_NOTE"],
  [0x40, "mapped region"],
]);

export interface Container extends HwxTables {
  readonly threads: readonly ProgramThread[];
  /** Tables outside the segments, for the byte layout. */
  readonly tables: readonly HwxSpan[];
}

/** Reads everything of an HWX file but its task stream. Throws `InspectError`. */
export function readContainer(source: ByteSource): Container {
  const top = viewOf(source, 0, Math.min(HEADER_BYTES, source.byteLength), {
    at: 0,
    field: "header",
  });
  const header: HwxHeader = {
    cpuType: top.u32(4, "header.cputype"),
    cpuSubtype: top.u32(8, "header.cpusubtype"),
    fileType: top.u32(12, "header.filetype"),
    commandCount: top.u32(16, "header.ncmds"),
    commandBytes: top.u32(20, "header.sizeofcmds"),
    flags: top.u32(24, "header.flags"),
  };
  if (header.cpuType !== 0x80) {
    throw top.fail(
      "inspect.value",
      4,
      "header.cputype",
      `${hex(header.cpuType)}, an engine program has 0x80`,
    );
  }
  if (header.commandCount * 8 > header.commandBytes) {
    throw top.fail(
      "inspect.range",
      16,
      "header.ncmds",
      `${header.commandCount} load commands cannot fit into sizeofcmds = ${header.commandBytes} bytes`,
    );
  }
  const area = viewOf(source, HEADER_BYTES, header.commandBytes, {
    at: 20,
    field: "header.sizeofcmds",
    byteLimit: COMMAND_AREA_LIMIT,
  });
  return new ContainerReader(source, header, area).read();
}

/** Collects what the load commands say, one method a command. */
class ContainerReader {
  readonly #source: ByteSource;
  readonly #header: HwxHeader;
  readonly #area: ByteView;
  readonly #found = {
    commands: [] as HwxCommand[],
    segments: [] as HwxSegment[],
    symbols: [] as HwxSymbol[],
    threads: [] as ProgramThread[],
    surfaces: [] as HwxSurface[],
    regions: [] as HwxRegion[],
    relocations: [] as HwxRelocation[],
    notes: [] as HwxNote[],
    tables: [] as HwxSpan[],
    warnings: [] as string[],
  };
  #compiler: string | null = null;

  constructor(source: ByteSource, header: HwxHeader, area: ByteView) {
    this.#source = source;
    this.#header = header;
    this.#area = area;
  }

  read(): Container {
    let at = this.#area.start;
    for (let index = 0; index < this.#header.commandCount; index++) {
      const command = this.#area.u32(at, `load command ${index}.cmd`);
      const byteLength = this.#area.u32(at + 4, `load command ${index}.cmdsize`);
      if (byteLength < 8 || at + byteLength > this.#area.end) {
        throw this.#area.fail(
          "inspect.range",
          at + 4,
          `load command ${index}.cmdsize`,
          `${byteLength} bytes; ${this.#area.end - at} are left of sizeofcmds`,
        );
      }
      const name = COMMAND_NAMES.get(command) ?? `command ${hex(command)}`;
      this.#found.commands.push({ command, name, offset: at, byteLength });
      const window = new ByteView(
        this.#area.file,
        at,
        this.#area.bytes.subarray(at - this.#area.start, at - this.#area.start + byteLength),
      );
      this.#readCommand(command, window);
      at += byteLength;
    }
    if (at < this.#area.end) {
      this.#found.warnings.push(
        `${this.#area.end - at} bytes of sizeofcmds lie behind the last load command`,
      );
    }
    return { ...this.#found, header: this.#header, compiler: this.#compiler };
  }

  #readCommand(command: number, window: ByteView): void {
    switch (command) {
      case 0x19:
        this.#readSegment(window);
        return;
      case 0x02:
        this.#readSymbolTable(window);
        return;
      case 0x04:
        this.#readThread(window);
        return;
      case 0x06:
      case 0x40:
        this.#readRegion(command, window);
        return;
      case 0x08:
        this.#compiler = window.text(window.start + 8, window.end, "LC_IDENT.text");
        return;
      case 0x31:
        this.#readNote(window);
        return;
      default:
        return;
    }
  }

  #readSegment(window: ByteView): void {
    const at = window.start;
    const name = window.fixedText(at + 8, 16, "LC_SEGMENT_64.segname");
    const field = (part: string): string => `LC_SEGMENT_64 ${name}.${part}`;
    const fileOffset = window.u64(at + 40, field("fileoff"));
    const fileByteLength = window.u64(at + 48, field("filesize"));
    if (fileOffset + fileByteLength > this.#source.byteLength) {
      throw window.fail(
        "inspect.range",
        at + 40,
        field("fileoff"),
        `${fileByteLength} bytes at ${hex(fileOffset)} are claimed, the file has ${this.#source.byteLength}`,
        "The file is cut short or the segment table lies.",
      );
    }
    const sectionCount = window.u32(at + 64, field("nsects"));
    if (SEGMENT_BYTES + sectionCount * SECTION_BYTES > window.bytes.byteLength) {
      throw window.fail(
        "inspect.range",
        at + 64,
        field("nsects"),
        `${sectionCount} sections do not fit into a command of ${window.bytes.byteLength} bytes`,
      );
    }
    const sections = Array.from({ length: sectionCount }, (_, index) =>
      this.#readSection(window, at + SEGMENT_BYTES + index * SECTION_BYTES, name),
    );
    this.#found.segments.push({
      name,
      address: window.u64(at + 24, field("vmaddr")),
      byteLength: window.u64(at + 32, field("vmsize")),
      fileOffset,
      fileByteLength,
      maxProtection: window.u32(at + 56, field("maxprot")),
      protection: window.u32(at + 60, field("initprot")),
      flags: window.u32(at + 68, field("flags")),
      sections,
    });
  }

  #readSection(window: ByteView, at: number, segment: string): HwxSection {
    const name = window.fixedText(at, 16, "section.sectname");
    const field = (part: string): string => `section ${segment},${name}.${part}`;
    const byteLength = window.u64(at + 40, field("size"));
    const offset = window.u32(at + 48, field("offset"));
    const address = window.u64(at + 32, field("addr"));
    const hasBytes = offset !== 0;
    if (hasBytes && offset + byteLength > this.#source.byteLength) {
      throw window.fail(
        "inspect.range",
        at + 48,
        field("offset"),
        `${byteLength} bytes at ${hex(offset)} are claimed, the file has ${this.#source.byteLength}`,
        "The file is cut short or the section table lies.",
      );
    }
    this.#readRelocations(
      `${segment},${name}`,
      window.u32(at + 56, field("reloff")),
      window.u32(at + 60, field("nreloc")),
      at + 56,
    );
    return {
      segment,
      name,
      address,
      byteLength,
      fileOffset: hasBytes ? offset : null,
      alignment: 2 ** (window.u32(at + 52, field("align")) & 31),
      flags: window.u32(at + 64, field("flags")),
    };
  }

  #readRelocations(section: string, offset: number, count: number, at: number): void {
    if (count === 0) return;
    const table = viewOf(this.#source, offset, count * 8, {
      at,
      field: `section ${section}.nreloc`,
      byteLimit: COMMAND_AREA_LIMIT,
    });
    this.#found.tables.push({ what: `relocations of ${section}`, offset, byteLength: count * 8 });
    for (let index = 0; index < count; index++) {
      this.#found.relocations.push({
        section,
        address: table.u32(offset + index * 8, "relocation.address"),
        word: table.u32(offset + index * 8 + 4, "relocation.info"),
      });
    }
  }

  #readSymbolTable(window: ByteView): void {
    const at = window.start;
    const symbolOffset = window.u32(at + 8, "LC_SYMTAB.symoff");
    const symbolCount = window.u32(at + 12, "LC_SYMTAB.nsyms");
    const textOffset = window.u32(at + 16, "LC_SYMTAB.stroff");
    const textBytes = window.u32(at + 20, "LC_SYMTAB.strsize");
    const table = viewOf(this.#source, symbolOffset, symbolCount * 16, {
      at: at + 8,
      field: "LC_SYMTAB.symoff",
      byteLimit: COMMAND_AREA_LIMIT,
    });
    const texts = viewOf(this.#source, textOffset, textBytes, {
      at: at + 16,
      field: "LC_SYMTAB.stroff",
      byteLimit: COMMAND_AREA_LIMIT,
    });
    this.#found.tables.push(
      { what: "symbols", offset: symbolOffset, byteLength: symbolCount * 16 },
      { what: "symbol names", offset: textOffset, byteLength: textBytes },
    );
    this.#found.symbols.push(...readSymbols(table, texts, symbolCount));
  }

  #readThread(window: ByteView): void {
    const flavor = window.u32(window.start + 8, "LC_THREAD.flavor");
    if (flavor === 1 || flavor === 4) this.#found.threads.push(readProgramThread(window, flavor));
    else if (flavor === 3) this.#found.surfaces.push(readSurfaceThread(window));
    else
      this.#found.warnings.push(
        `LC_THREAD at ${hex(window.start)} has the unknown flavor ${flavor}`,
      );
  }

  #readRegion(command: number, window: ByteView): void {
    const isOld = command === 0x06;
    const kind = isOld ? "LC_LOADFVMLIB" : "mapped region";
    const nameAt = window.u32(window.start + 8, `${kind}.name`);
    const addressAt = window.start + 16;
    this.#found.regions.push({
      name: window.text(window.start + nameAt, window.end, `${kind}.name`),
      address: isOld
        ? window.u32(addressAt, `${kind}.address`)
        : window.u64(addressAt, `${kind}.address`),
    });
  }

  #readNote(window: ByteView): void {
    const owner = window.fixedText(window.start + 8, 16, "LC_NOTE.owner");
    const offset = window.u64(window.start + 24, "LC_NOTE.offset");
    const byteLength = window.u64(window.start + 32, "LC_NOTE.size");
    const inside = offset + byteLength <= window.bytes.byteLength;
    const note = inside
      ? window.fixedText(window.start + offset, byteLength, "LC_NOTE.payload")
      : "";
    this.#found.notes.push({ owner, byteLength, text: printable(note) });
  }
}

const NOTE_TEXT_LIMIT = 4096;

/** A note's bytes as far as they are text; everything else becomes a dot. */
function printable(text: string): string {
  return Array.from(text.slice(0, NOTE_TEXT_LIMIT))
    .map((mark) => (mark < " " || mark === "\u007f" || mark === "\ufffd" ? "." : mark))
    .join("");
}
