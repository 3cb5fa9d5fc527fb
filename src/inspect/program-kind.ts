import type { ByteSource } from "../util/byte-source.ts";
import { HWX_MAGIC, looksLikeAneContainer, otherMagic } from "./magic.ts";
import { viewOf } from "./byte-view.ts";

export type ProgramKind = "hwx" | "ane" | "e5" | "e5-analytics";

/**
 * Which decoder of this room a file is for, by its bytes; the name decides only for E5 manifests, which have no
 * magic word. Undefined for anything else. A file that begins like an engine program counts as one, so that its
 * decoder can tell what is wrong with it.
 */
export function programKind(source: ByteSource): ProgramKind | undefined {
  if (source.byteLength < 4) return source.name.endsWith(".e5") ? "e5" : undefined;
  const view = viewOf(source, 0, Math.min(256, source.byteLength), { at: 0, field: "first bytes" });
  const magic = view.u32(0, "first word");
  if (magic === HWX_MAGIC || source.name.endsWith(".hwx")) return "hwx";
  if (otherMagic(magic) !== undefined) return undefined;
  if (source.name.endsWith(".e5")) return "e5";
  if (looksLikeAneContainer(source) || source.name.endsWith(".ane")) return "ane";
  const head = new TextDecoder().decode(view.bytes);
  const isAnalytics = /^\s*program\(/.test(head) && /analytics[^/\\]*\.mil$/.test(source.name);
  return isAnalytics ? "e5-analytics" : undefined;
}
