import type { ByteSource } from "../../util/byte-source.ts";
import type { AneContainer } from "./ane-container.ts";
import { HEADER_BYTES, type Container } from "./container.ts";
import type { HwxLayoutPart, HwxSpan } from "./model.ts";
import { sectionsOf } from "./model.ts";

const CHUNK_BYTES = 1 << 20;

/** Names every byte of an HWX file: tables, sections, zero padding, and what is none of these. */
export function containerLayout(source: ByteSource, container: Container): HwxLayoutPart[] {
  const spans: HwxSpan[] = [{ what: "header", offset: 0, byteLength: HEADER_BYTES }];
  for (const command of container.commands) {
    spans.push({ what: command.name, offset: command.offset, byteLength: command.byteLength });
  }
  spans.push(...container.tables);
  for (const section of sectionsOf(container)) {
    if (section.fileOffset === null) continue;
    spans.push({
      what: `${section.segment},${section.name}`,
      offset: section.fileOffset,
      byteLength: section.byteLength,
    });
  }
  return withGaps(source, spans);
}

/** Names every byte of a `.ane` file. */
export function aneLayout(source: ByteSource, ane: AneContainer): HwxLayoutPart[] {
  return withGaps(source, [
    { what: "ane header", offset: 0, byteLength: 0x6a8 },
    { what: "tasks", offset: ane.payloadOffset, byteLength: ane.taskBytes },
    { what: "weights", offset: ane.kernelOffset, byteLength: ane.kernelBytes },
  ]);
}

function withGaps(source: ByteSource, spans: readonly HwxSpan[]): HwxLayoutPart[] {
  const parts: HwxLayoutPart[] = [];
  let at = 0;
  const gapTo = (end: number): void => {
    if (end <= at) return;
    const zero = isZero(source, at, end);
    parts.push({
      what: zero ? "zero padding" : "unknown",
      offset: at,
      byteLength: end - at,
      accounted: zero,
    });
  };
  for (const span of [...spans].sort((a, b) => a.offset - b.offset)) {
    if (span.byteLength === 0) continue;
    gapTo(span.offset);
    parts.push({ ...span, accounted: true });
    at = Math.max(at, span.offset + span.byteLength);
  }
  gapTo(source.byteLength);
  return parts;
}

function isZero(source: ByteSource, start: number, end: number): boolean {
  for (let at = start; at < end; at += CHUNK_BYTES) {
    const bytes = source.read(at, Math.min(CHUNK_BYTES, end - at));
    if (bytes.some((byte) => byte !== 0)) return false;
  }
  return true;
}
