import { configDefaults, defineConfig } from "vitest/config";

const filesOf = (rooms: readonly string[]): string[] =>
  rooms.map((room) => `test/${room}/**/*.test.ts`);

/**
 * Rooms whose tests leave nothing behind in their process: they share no engine of the machine, take no measure of their
 * own memory, and put back what they stub. The files of a group share two processes, since loading the sources anew takes
 * longer than most of them run: 114 files were loaded in 12 seconds of processor time in place of 58. A file that is run
 * alone (`npx vitest run FILE`) has a fresh process as before.
 */
const TOGETHER = filesOf([
  ...["chip", "cli", "coreml", "generate", "grad", "hub", "inspect", "library", "lower", "measure"],
  ...["mil", "model", "onnx", "passes", "plan", "runs", "server", "text", "track", "util"],
]);
/** Those that load engines and train, in two processes of their own. */
const STEPS = [...filesOf(["conformance", "engine/sim", "train"]), "test/engine/*.test.ts"];

/** A process's largest memory is at least what the one that it was forked from had: this one must be small. */
const MEASURED = ["test/text/large-files.test.ts"];

export default defineConfig({
  test: {
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // What comes of itself is waited for as long as a busy machine takes.
    expect: { poll: { timeout: 30_000 } },
    // Tests run side by side over one double: they are no processes that share an engine.
    env: { ANECDOTE_ANE_MACHINE_PROGRAMS: "1000000" },
    // By name: what takes longest first, so that many short files fill both processes to the end.
    projects: [
      {
        extends: true,
        test: {
          name: "alone",
          include: ["test/**/*.test.ts"],
          exclude: [...configDefaults.exclude, ...STEPS, ...TOGETHER],
        },
      },
      { extends: true, test: { name: "steps", include: STEPS, isolate: false } },
      {
        extends: true,
        test: {
          name: "together",
          include: TOGETHER,
          exclude: [...configDefaults.exclude, ...MEASURED],
          isolate: false,
        },
      },
      { extends: true, test: { name: "measured", include: MEASURED } },
    ],
  },
});
