import { parentPort } from "node:worker_threads";
import { messageOf } from "../../util/errors.ts";
import { HalfConverter } from "../host/half-converter.ts";
import { ItemConverter } from "./conversion-item.ts";
import type { ConversionItem } from "./conversion-item.ts";

export interface ConversionReply {
  /** What went wrong, if something did. */
  readonly problem: string | undefined;
}

const converter = new ItemConverter(new HalfConverter());

parentPort?.on("message", (items: readonly ConversionItem[]) => {
  let problem: string | undefined;
  try {
    for (const item of items) converter.convert(item);
  } catch (error) {
    problem = messageOf(error);
  }
  parentPort?.postMessage({ problem } satisfies ConversionReply);
});
