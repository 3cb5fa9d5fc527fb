// A thread that encodes: it makes the tokenizer again from its files, and then waits for jobs.
import { workerData } from "node:worker_threads";
import {
  DONE,
  FAILED,
  IDLE,
  openEncodingBuffers,
  PART_WORDS,
  PLACES,
  WORKING,
} from "./encoding-buffers.ts";
import type { SharedEncodingBuffers } from "./encoding-buffers.ts";
import { runTokenizer } from "./tokenizer-runner.ts";
import type { Tokenizer, TokenizerSource } from "./tokenizer.ts";

export interface EncodeWorkerData {
  readonly source: TokenizerSource;
  readonly buffers: SharedEncodingBuffers;
}

const { source, buffers } = workerData as EncodeWorkerData;
const { control, parts, text, ids } = openEncodingBuffers(buffers);

/** Whether the ids had room. */
function encodeJob(tokenizer: Tokenizer): boolean {
  let unit = 0;
  let filled = 0;
  for (let part = 0; part < (control[1] ?? 0); part++) {
    const at = PART_WORDS * part;
    const units = parts[at] ?? 0;
    // Half a pair of surrogates stays what it is.
    const piece = text.toString("utf16le", 2 * unit, 2 * (unit + units));
    unit += units;
    const place = PLACES[parts[at + 1] ?? 0] ?? "start";
    const found = tokenizer.encode(piece, { place });
    if (filled + found.length > ids.length) return false;
    ids.set(found, filled);
    filled += found.length;
    parts[at + 2] = found.length;
  }
  return true;
}

function tell(state: number): void {
  Atomics.store(control, 0, state);
  Atomics.notify(control, 0);
}

const tokenizer = runTokenizer(source.json, source.config, "the tokenizer");
tell(IDLE);
for (;;) {
  Atomics.wait(control, 0, IDLE);
  if (Atomics.load(control, 0) !== WORKING) {
    // Until the other side has taken the ids there is nothing to do.
    Atomics.wait(control, 0, Atomics.load(control, 0), 1000);
    continue;
  }
  let isDone = false;
  try {
    isDone = encodeJob(tokenizer);
  } catch {
    // The other side encodes the job itself, and says what is wrong with it.
  }
  tell(isDone ? DONE : FAILED);
}
