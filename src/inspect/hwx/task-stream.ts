import type { ByteView } from "../byte-view.ts";
import { hex } from "../byte-view.ts";
import type { HwxTarget } from "./chips.ts";
import type { HwxRecord, HwxStreamPart, HwxWrite, HwxTask } from "./model.ts";

/** A task's words, split into header, records and values, before anything is named. */
export type RawTask = Omit<HwxTask, "index" | "taskId" | "header" | "coverage" | "meaning">;

export interface RawStream {
  readonly tasks: readonly RawTask[];
  readonly parts: readonly HwxStreamPart[];
}

/** Where a linked list of byte-record tasks starts: byte offset in the file, words, count. */
export interface TaskListStart {
  readonly offset: number;
  readonly wordCount: number;
  readonly taskCount: number;
  readonly field: string;
  readonly fieldOffset: number;
}

const NEXT_SIZE = { shift: 16, mask: 0x1ff };

/**
 * Splits the task lists of descriptor versions 4 to 7: each task names the words and the byte offset of the
 * next one. Throws `InspectError` for a list that leaves the text, overlaps itself or goes in a circle.
 */
export function splitTaskLists(
  text: ByteView,
  target: HwxTarget,
  starts: readonly TaskListStart[],
): RawStream {
  const tasks: RawTask[] = [];
  const taken = new Map<number, number>();
  starts.forEach((start, stream) => {
    let { offset, wordCount } = start;
    let field = start.field;
    let fieldOffset = start.fieldOffset;
    for (let count = 0; ; count++) {
      if (taken.has(offset)) {
        if (count === 0) return; // two programs may share one list
        throw text.fail(
          "inspect.value",
          fieldOffset,
          field,
          `the task list comes back to ${hex(offset)}`,
        );
      }
      if (
        wordCount < target.headerWords ||
        offset < text.start ||
        offset + wordCount * 4 > text.end
      ) {
        throw text.fail(
          "inspect.range",
          fieldOffset,
          field,
          `a task of ${wordCount} words at ${hex(offset)} lies outside the text ${hex(text.start)}..${hex(text.end)}`,
        );
      }
      const task = readByteRecordTask(text, target, offset, wordCount, stream);
      tasks.push(task);
      taken.set(offset, wordCount);
      const nextPointer = task.headerWords[nextPointerWord(target)] ?? 0;
      if (nextPointer === 0) break;
      const nextWords = (((task.headerWords[1] ?? 0) >>> NEXT_SIZE.shift) & NEXT_SIZE.mask) + 1;
      field = `task ${tasks.length - 1}.NextPointer`;
      fieldOffset = offset + nextPointerWord(target) * 4;
      if (nextPointer % 4 !== 0) {
        throw text.fail(
          "inspect.value",
          fieldOffset,
          field,
          `${hex(nextPointer)} is not a multiple of 4`,
        );
      }
      offset = text.start + nextPointer;
      wordCount = nextWords;
    }
  });
  tasks.sort((a, b) => a.offset - b.offset);
  return { tasks, parts: fillGaps(text, tasks, () => "unclaimed") };
}

function nextPointerWord(target: HwxTarget): number {
  return target.headerWords === 7 ? 5 : 7;
}

function readByteRecordTask(
  text: ByteView,
  target: HwxTarget,
  offset: number,
  wordCount: number,
  stream: number,
): RawTask {
  const lastBase = target.headerWords === 10 ? text.u32(offset + 36, "task.KBase") : 0;
  const headerCount = target.headerWords + ((lastBase & 3) === 3 ? 1 : 0);
  const headerWords = wordsAt(text, offset, headerCount);
  return readTask(text, { stream, offset, wordCount, headerWords }, (word) => {
    const first = word & 0x3ffffff;
    return { kind: "block", places: consecutive(first, (word >>> 26) + 1) };
  });
}

/** What a record's first word says: the registers that its values go to, and the base of an address. */
interface RecordWord {
  readonly kind: HwxRecord["kind"];
  readonly places: readonly number[];
  readonly base?: number | undefined;
}

function readTask(
  text: ByteView,
  task: Pick<RawTask, "stream" | "offset" | "wordCount" | "headerWords">,
  decode: (word: number) => RecordWord,
): RawTask {
  const records: HwxRecord[] = [];
  const writes: HwxWrite[] = [];
  const end = task.offset + task.wordCount * 4;
  let at = task.offset + task.headerWords.length * 4;
  while (at < end) {
    const word = text.u32(at, "task.record");
    const { kind, places, base } = decode(word);
    const [address = 0] = places;
    if (at + 4 + places.length * 4 > end) {
      throw text.fail(
        "inspect.range",
        at,
        `task at ${hex(task.offset)}.record`,
        `${places.length} values at register ${hex(address)}; the task ends at ${hex(end)}`,
      );
    }
    records.push({ offset: at, word, kind, address, valueCount: places.length });
    places.forEach((place, index) => {
      const valueAt = at + 4 + index * 4;
      const write = { address: place, value: text.u32(valueAt, "value"), offset: valueAt };
      writes.push(base === undefined ? write : { ...write, base });
    });
    at += 4 + places.length * 4;
  }
  return { ...task, records, writes };
}

/**
 * Splits the stream of descriptor version 8 and later: tasks of a stated size, 16-byte aligned, behind a
 * `{1, 0, 0, 0}` prefix a stream. Throws `InspectError` for a task or a record that does not fit.
 */
export function splitTaskStream(text: ByteView, target: HwxTarget): RawStream {
  const tasks: RawTask[] = [];
  const prefixes = new Set<number>();
  const firstWord = (at: number): number => text.u32(at, "task.header");
  let stream = -1;
  let lastTaskId = Number.POSITIVE_INFINITY;
  let at = text.start;
  while (at + 4 <= text.end) {
    const word = firstWord(at);
    const wordCount = (word >>> 16) & 0x7ff;
    if (wordCount === 0) {
      if (word === 1 && at + 16 <= text.end) prefixes.add(at);
      at += 16;
      continue;
    }
    if (wordCount < target.headerWords || at + wordCount * 4 > text.end) {
      throw text.fail(
        "inspect.range",
        at,
        `task ${tasks.length}.size`,
        `${wordCount} words; a header has ${target.headerWords} and ${(text.end - at) / 4} are left in the text`,
      );
    }
    const taskId = word & 0xffff;
    const behindPrefix = prefixes.has(at - 16);
    if (behindPrefix || stream < 0 || (taskId <= 1 && taskId <= lastTaskId && lastTaskId > 1))
      stream++;
    lastTaskId = taskId;
    tasks.push(readWordRecordTask(text, target, at, wordCount, stream));
    at += Math.ceil(wordCount / 4) * 16;
  }
  const parts = fillGaps(text, tasks, (gap) => (prefixes.has(gap) ? "prefix" : "unclaimed"));
  return { tasks, parts };
}

function readWordRecordTask(
  text: ByteView,
  target: HwxTarget,
  offset: number,
  wordCount: number,
  stream: number,
): RawTask {
  const last = text.u32(offset + (target.headerWords - 1) * 4, "task.flags");
  const headerCount = target.headerWords + ((last & 3) === 3 ? 1 : 0);
  const headerWords = wordsAt(text, offset, Math.min(headerCount, wordCount));
  return readTask(text, { stream, offset, wordCount, headerWords }, (word) => {
    const isScatter = word >>> 31 === 1;
    const isAddress = !isScatter && ((word >>> 29) & 1) === 1;
    return {
      kind: isScatter ? "scatter" : isAddress ? "address" : "dense",
      places: recordPlaces(word),
      base: isAddress ? (word >>> 22) & 0x7f : undefined,
    };
  });
}

/** The byte addresses of the registers that follow a record header, in order. */
function recordPlaces(word: number): readonly number[] {
  const first = (word & 0x7fff) * 4;
  if (word >>> 31 === 0) return consecutive(first, ((word >>> 15) & 0x3f) + 1);
  const mask = (word >>> 15) & 0xffff;
  const places = [first];
  for (let bit = 0; bit < 16; bit++) if ((mask >>> bit) & 1) places.push(first + 4 + bit * 4);
  return places;
}

function consecutive(first: number, count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => first + index * 4);
}

function wordsAt(text: ByteView, offset: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) =>
    text.u32(offset + index * 4, `task.header[${index}]`),
  );
}

/** Names every word between the tasks: zero padding, a stream prefix, or nothing known. */
function fillGaps(
  text: ByteView,
  tasks: readonly RawTask[],
  nameOf: (offset: number) => "prefix" | "unclaimed",
): HwxStreamPart[] {
  const parts: HwxStreamPart[] = [];
  const push = (kind: HwxStreamPart["kind"], offset: number, wordCount: number): void => {
    const last = parts.at(-1);
    if (
      last !== undefined &&
      last.kind === kind &&
      kind !== "task" &&
      last.offset + last.wordCount * 4 === offset
    ) {
      parts[parts.length - 1] = { ...last, wordCount: last.wordCount + wordCount };
    } else parts.push({ kind, offset, wordCount });
  };
  const gap = (from: number, to: number): void => {
    for (let at = from; at + 4 <= to; at += 4) {
      if (nameOf(at) === "prefix" && at + 16 <= to) {
        push("prefix", at, 4);
        at += 12;
      } else push(text.u32(at, "padding") === 0 ? "padding" : "unclaimed", at, 1);
    }
  };
  let at = text.start;
  tasks.forEach((task, index) => {
    if (task.offset < at) {
      throw text.fail(
        "inspect.value",
        task.offset,
        `task ${index}.offset`,
        `the task begins inside the one before it, which ends at ${hex(at)}`,
      );
    }
    gap(at, task.offset);
    parts.push({ kind: "task", offset: task.offset, wordCount: task.wordCount, task: index });
    at = task.offset + task.wordCount * 4;
  });
  gap(at, text.end);
  return parts;
}
