import { jobSchema } from "./outcome.ts";
import type { Message } from "./outcome.ts";
import { TestRunner } from "./run-test.ts";

// A process of its own: what native code does to it is counted, not fatal.
const runner = new TestRunner();
const send = (message: Message): void => void process.send?.(message);

process.on("message", (raw: unknown) => {
  const job = jobSchema.parse(raw);
  void runner
    .run(job, (engine, outcome) => {
      send({ kind: "end", engine, outcome });
    })
    .then(() => {
      send({ kind: "ready" });
    });
});
process.on("disconnect", () => process.exit(0));
send({ kind: "ready" });
