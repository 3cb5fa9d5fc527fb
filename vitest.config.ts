import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Tests run side by side over one double: they are no processes that share an engine.
    env: { ANECDOTE_ANE_MACHINE_PROGRAMS: "1000000" },
  },
});
