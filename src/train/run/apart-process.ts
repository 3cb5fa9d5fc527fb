// A process that trains for another one, which outlives it where a native library crashes. What it is told and tells
// goes through the channel between them; signals of the terminal are the other one's.
import { exitAtOnce, hasStuckThread } from "../../util/stuck-thread.ts";
import { EnergyBlock } from "../costs/energy-block.ts";
import type { FromChild, ToChild } from "./apart.ts";
import { toldError } from "./session-options.ts";
import { trainLocked } from "./session.ts";

const energy = new EnergyBlock();
const abort = new AbortController();

async function tell(message: FromChild): Promise<void> {
  await new Promise<void>((resolve) => {
    if (process.connected) process.send?.(message, undefined, undefined, () => resolve());
    else resolve();
  });
}

async function train({
  config,
  stuckAfterMs,
  isMetered,
}: Extract<ToChild, { kind: "train" }>): Promise<FromChild> {
  try {
    const event = await trainLocked(config, {
      signal: abort.signal,
      onEvent: (told) => void tell({ kind: "event", event: told }),
      onProgress: (text, at) => void tell({ kind: "progress", text, ...(at && { at }) }),
      onStop: (how) => void tell({ kind: "stop", how }),
      ...(isMetered && { energy }),
      ...(stuckAfterMs !== undefined && { stuckAfterMs }),
    });
    return { kind: "end", event };
  } catch (error) {
    return { kind: "error", ...toldError(error) };
  }
}

for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => undefined);
process.on("disconnect", () => abort.abort());
process.on("message", (message: ToChild) => {
  switch (message.kind) {
    case "train":
      void train(message)
        .then(tell)
        .then(() => (hasStuckThread() ? exitAtOnce(0) : process.exit(0)));
      break;
    case "stop":
      abort.abort();
      break;
    case "energy":
      energy.announce(message.state);
      energy.publish(message.energy);
      break;
  }
});
void tell({ kind: "ready" });
