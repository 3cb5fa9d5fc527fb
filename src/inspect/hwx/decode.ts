import type { ByteSource } from "../../util/byte-source.ts";
import { hex, viewOf, type ByteView } from "../byte-view.ts";
import { InspectError } from "../inspect-error.ts";
import { HWX_MAGIC, looksLikeAneContainer, otherMagic } from "../magic.ts";
import { readAneContainer, type AneContainer } from "./ane-container.ts";
import { ANE_CONTAINER_TARGET, targetOf, type HwxTarget } from "./chips.ts";
import { readContainer, type Container } from "./container.ts";
import { containerLayout, aneLayout } from "./layout.ts";
import { registerMap } from "./map/families.ts";
import { taskMeaning } from "./meaning.ts";
import type {
  BufferRole,
  HwxBase,
  HwxFile,
  HwxProgram,
  HwxSection,
  HwxStreamPart,
  HwxSurface,
  HwxTask,
} from "./model.ts";
import { taskCoverage } from "./registers.ts";
import { headerBases, headerFields } from "./task-header.ts";
import {
  splitTaskLists,
  splitTaskStream,
  type RawStream,
  type TaskListStart,
} from "./task-stream.ts";
import type { ProgramThread } from "./threads.ts";
import { sectionAt, sectionsOf } from "./model.ts";

/** Larger task streams are refused: known programs of whole networks stay under 2 MiB. */
export const TEXT_BYTE_LIMIT = 64 * 2 ** 20;

/**
 * Decodes a compiled engine program: an HWX file of any known generation, or a `.ane` container of the Linux
 * driver. Reads tables and tasks, not the weights. Throws `InspectError` with offset and field for a file that is
 * something else, is cut short, or whose offsets and counts do not hold.
 */
export function decodeHwx(source: ByteSource): HwxFile {
  if (source.byteLength < 4) {
    throw new InspectError(
      "inspect.truncated",
      { file: source.name, offset: 0, field: "header.magic" },
      `the file has ${source.byteLength} bytes`,
    );
  }
  const magic = viewOf(source, 0, 4, { at: 0, field: "header.magic" }).u32(0, "header.magic");
  if (magic === HWX_MAGIC) return decodeContainer(source);
  const other = otherMagic(magic);
  if (other === undefined && (looksLikeAneContainer(source) || source.name.endsWith(".ane"))) {
    return decodeAne(source);
  }
  throw new InspectError(
    "inspect.magic",
    { file: source.name, offset: 0, field: "header.magic" },
    `${hex(magic, 8)}${other === undefined ? "" : `, which is ${other}`}; an engine program begins with ${hex(HWX_MAGIC)}`,
    { remedy: "HWX files, .ane containers and E5 bundles can be inspected." },
  );
}

function decodeContainer(source: ByteSource): HwxFile {
  const container = readContainer(source);
  const { threads, tables: _tables, ...found } = container;
  const target = targetOf(found.header.cpuSubtype);
  const programs = threads.map((thread) => programOf(thread, container));
  const warnings = [...found.warnings];
  if (!target.mapIsOwn) {
    warnings.push(
      `no register map for ${target.chip} is known; the one of ${target.family} is used`,
    );
  }
  const texts = sectionsOf(container).filter(
    ({ name, fileOffset, byteLength }) =>
      name === "__text" && fileOffset !== null && byteLength > 0,
  );
  if (texts.length === 0) {
    throw new InspectError(
      "inspect.value",
      { file: source.name, offset: 0x20, field: "load commands" },
      "no section __text with bytes in the file",
      { remedy: "An HWX file without a task stream holds nothing to list." },
    );
  }
  const tasks: HwxTask[] = [];
  const stream: HwxStreamPart[] = [];
  const bases = mergeBases(programs);
  for (const section of texts) {
    let raw: RawStream;
    try {
      raw = splitSection(source, section, target, container);
    } catch (error) {
      // A generation nobody has described may write its stream in another way; its container is still worth showing.
      if (target.mapIsOwn || !(error instanceof InspectError)) throw error;
      warnings.push(`the task stream is not read: ${error.message}`);
      continue;
    }
    addTasks(raw, target, bases, tasks, stream);
  }
  checkTaskCounts(programs, tasks, warnings);
  return {
    ...found,
    format: "hwx",
    name: source.name,
    byteLength: source.byteLength,
    target,
    programs,
    tasks,
    stream,
    layout: containerLayout(source, container),
    warnings,
  };
}

function splitSection(
  source: ByteSource,
  section: HwxSection,
  target: HwxTarget,
  container: Container,
): RawStream {
  const fileOffset = section.fileOffset ?? 0;
  const text = viewOf(source, fileOffset, section.byteLength, {
    at: fileOffset,
    field: `section ${section.segment},${section.name}.size`,
    byteLimit: TEXT_BYTE_LIMIT,
  });
  if (target.encoding === "word-records") return splitTaskStream(text, target);
  const starts = container.threads
    .filter(
      (thread) => thread.flavor === 1 && sectionAt([section], thread.textAddress) !== undefined,
    )
    .map((thread): TaskListStart => ({
      offset: fileOffset + (thread.textAddress - section.address),
      wordCount: thread.firstTaskWords ?? 0,
      taskCount: thread.taskCount,
      field: "LC_THREAD flavor 1.first task words",
      fieldOffset: thread.commandOffset + 0x818,
    }));
  if (starts.length === 0) {
    const thread = container.threads[0];
    throw text.fail(
      "inspect.value",
      thread === undefined ? 0x20 : thread.commandOffset + 0x810,
      thread === undefined ? "load commands" : "LC_THREAD flavor 1.text address",
      thread === undefined
        ? "no LC_THREAD of flavor 1 says where the first task is"
        : `${hex(thread.textAddress)} is not inside ${section.segment},${section.name}`,
    );
  }
  return splitTaskLists(text, target, starts);
}

function addTasks(
  raw: RawStream,
  target: HwxTarget,
  bases: readonly HwxBase[],
  tasks: HwxTask[],
  stream: HwxStreamPart[],
): void {
  const map = registerMap(target.family);
  const firstIndex = tasks.length;
  for (const part of raw.parts) {
    stream.push(part.task === undefined ? part : { ...part, task: firstIndex + part.task });
  }
  for (const task of raw.tasks) {
    const header = headerFields(target, task.headerWords);
    tasks.push({
      index: tasks.length,
      stream: task.stream,
      taskId: (task.headerWords[0] ?? 0) & 0xffff,
      offset: task.offset,
      wordCount: task.wordCount,
      headerWords: task.headerWords,
      header,
      records: task.records,
      writes: task.writes,
      coverage: taskCoverage(map, task),
      meaning: taskMeaning(task, header, map, bases),
    });
  }
}

function checkTaskCounts(
  programs: readonly HwxProgram[],
  tasks: readonly HwxTask[],
  warnings: string[],
): void {
  const claimed = programs.reduce((sum, program) => sum + program.taskCount, 0);
  if (programs.length > 0 && claimed !== tasks.length) {
    warnings.push(`LC_THREAD counts ${claimed} tasks, the stream holds ${tasks.length}`);
  }
}

function programOf(thread: ProgramThread, container: Container): HwxProgram {
  return {
    flavor: thread.flavor,
    name: thread.name,
    bases: thread.bases.map(({ index, address }) => ({
      index,
      address,
      ...bufferAt(address, container),
    })),
    textAddress: thread.textAddress,
    firstTaskWords: thread.firstTaskWords,
    taskCount: thread.taskCount,
    engineMask: thread.engineMask,
    commandOffset: thread.commandOffset,
    unknownWords: thread.unknownWords,
  };
}

function mergeBases(programs: readonly HwxProgram[]): HwxBase[] {
  const merged = new Map<number, HwxBase>();
  for (const base of programs.flatMap((program) => program.bases)) {
    if (!merged.has(base.index)) merged.set(base.index, base);
  }
  return [...merged.values()];
}

function bufferAt(address: number, container: Container): { role: BufferRole; name: string } {
  const section = sectionAt(sectionsOf(container), address);
  if (section === undefined) return { role: "unknown", name: hex(address) };
  const region = container.regions.find((one) => one.address === address);
  return {
    role: roleOf(section),
    name: region?.name ?? `${section.segment},${section.name}`,
  };
}

/** What a section holds, by its name: the flags differ between compilers, the names do not. */
function roleOf(section: HwxSection): BufferRole {
  if (section.name === "__text") return "text";
  if (section.segment === "__FVMLIB") return section.name === "__data" ? "output" : "input";
  if (section.segment.startsWith("__KERN") || section.name.startsWith("__kern")) return "weights";
  if (section.segment === "__TEXT" && section.name === "__const") return "weights";
  if (section.segment === "__DATA") return "scratch";
  return "unknown";
}

function decodeAne(source: ByteSource): HwxFile {
  const ane = readAneContainer(source);
  const target = ANE_CONTAINER_TARGET;
  const text: ByteView = viewOf(source, ane.payloadOffset, ane.taskBytes, {
    at: 16,
    field: "ane header.tsk_size",
    byteLimit: TEXT_BYTE_LIMIT,
  });
  const raw = splitTaskLists(text, target, [
    {
      offset: ane.payloadOffset,
      wordCount: ane.firstTaskBytes / 4,
      taskCount: ane.taskCount,
      field: "ane header.td_size",
      fieldOffset: 8,
    },
  ]);
  const bases = aneBases(ane, raw, target);
  const tasks: HwxTask[] = [];
  const stream: HwxStreamPart[] = [];
  addTasks(raw, target, bases, tasks, stream);
  const warnings =
    ane.taskCount === tasks.length
      ? []
      : [`the header counts ${ane.taskCount} tasks, the stream holds ${tasks.length}`];
  return {
    format: "ane",
    name: source.name,
    byteLength: source.byteLength,
    target,
    header: {
      cpuType: 0x80,
      cpuSubtype: target.subtype,
      fileType: 0,
      commandCount: 0,
      commandBytes: 0,
      flags: 0,
    },
    commands: [],
    segments: aneSegments(ane),
    symbols: [],
    programs: [
      {
        flavor: 1,
        name: "",
        bases,
        textAddress: 0,
        firstTaskWords: ane.firstTaskBytes / 4,
        taskCount: ane.taskCount,
        engineMask: 0xffff,
        commandOffset: 0,
        unknownWords: [],
      },
    ],
    surfaces: aneSurfaces(ane, bases),
    regions: [],
    relocations: [],
    compiler: null,
    notes: [],
    tasks,
    stream,
    layout: aneLayout(source, ane),
    warnings,
  };
}

/** The header does not say which channel is an input: the tasks do, by reading or by writing it. */
function aneBases(ane: AneContainer, raw: RawStream, target: HwxTarget): HwxBase[] {
  const used = raw.tasks.map((task) => headerBases(headerFields(target, task.headerWords)));
  const written = new Set(used.map((one) => one.result));
  const read = new Set(used.flatMap((one) => [one.source, one.source2, one.kernel]));
  const roleOf = (index: number): BufferRole => {
    if (index === 0) return "text";
    if (index === 1) return "weights";
    if (index === 2 || index === 3) return "scratch";
    if (written.has(index)) return "output";
    return read.has(index) ? "input" : "unknown";
  };
  const channels = ane.channels.map(({ index }) => index);
  return [...new Set([0, 1, ...channels])].map((index) => {
    const role = roleOf(index);
    return { index, address: 0, role, name: index < 2 ? role : `channel ${index}` };
  });
}

function aneSurfaces(ane: AneContainer, bases: readonly HwxBase[]): HwxSurface[] {
  return ane.channels.flatMap((channel) => {
    if (channel.surface === null) return [];
    const role = bases.find((base) => base.index === channel.index)?.role;
    const direction = role === "input" || role === "output" ? role : "unknown";
    return [{ ...channel.surface, role: direction }];
  });
}

function aneSegments(ane: AneContainer): HwxFile["segments"] {
  const section = (name: string, fileOffset: number, byteLength: number): HwxSection => ({
    segment: "payload",
    name,
    address: fileOffset - ane.payloadOffset,
    byteLength,
    fileOffset,
    alignment: 64,
    flags: 0,
  });
  return [
    {
      name: "payload",
      address: 0,
      byteLength: ane.payloadBytes,
      fileOffset: ane.payloadOffset,
      fileByteLength: ane.payloadBytes,
      maxProtection: 0,
      protection: 0,
      flags: 0,
      sections: [
        section("__text", ane.payloadOffset, ane.taskBytes),
        section("__const", ane.kernelOffset, ane.kernelBytes),
      ],
    },
  ];
}
