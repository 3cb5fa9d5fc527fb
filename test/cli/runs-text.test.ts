import { describe, expect, it } from "vitest";
import { comparisonText, listText } from "../../src/cli/runs-text.ts";
import type { RunRow } from "../../src/runs/run-row.ts";
import type { RunSummary } from "../../src/runs/run-summary.ts";

const row = (id: string, more: Partial<RunRow> = {}): RunRow => ({
  ...{ id, state: "finished", problem: null, isPaused: false, step: 1200, maxSteps: 1400 },
  ...{ model: "storyteller", parameterCount: 7, engine: "cpu", trainLoss: 1.25, evalLoss: 1.5 },
  ...{ tokensPerSecond: 11_500, joulesPerToken: null, etaSeconds: null, startedAt: 0 },
  ...{ updatedAt: 0, byteLength: 1 << 20, losses: [5, 3, 2, 1] },
  ...more,
});

const summary = (name: string, values: readonly number[], rate: number): RunSummary => ({
  ...{ name, folder: name, state: "finished", step: values.length, maxSteps: values.length },
  ...{ model: undefined, parameterCount: undefined, engine: undefined, device: undefined },
  trainLosses: values.map((value, index) => ({ step: index + 1, value })),
  ...{ evalLosses: values.map((value, index) => ({ step: index + 1, value })) },
  ...{ tokensPerSecond: 10, joulesPerToken: undefined, startedAt: 0, updatedAt: 0, samples: [] },
  ...{ checkpoints: [], byteLength: 1, config: { learning_rate: rate } },
});

const widest = (text: string): number => Math.max(...text.split("\n").map((line) => line.length));

describe("the table of runs", () => {
  const names = ["a", "storyteller", "w".repeat(200), "line\nend", "\u001b[31mred"];

  it("fits into any width from 36 columns on, losses first", () => {
    for (let columns = 36; columns < 200; columns++) {
      const text = listText(
        names.map((id) => row(id)),
        "runs",
        columns,
      );
      expect([columns, widest(text)]).toEqual([columns, Math.min(columns, widest(text))]);
      expect(text.match(/ 1\.2500/g)).toHaveLength(names.length);
      expect(text.trimEnd().split("\n")).toHaveLength(names.length + 1);
      expect(text).not.toContain("\u001b");
    }
  });

  it("cuts a long name in its middle before it goes without curves", () => {
    const text = listText([row(`first-${"x".repeat(80)}-last`)], "runs", 100);
    expect(text).toMatch(/ first-x+…x+-last .*█[▁▂▃▄▅▆▇█]+$/m);
  });

  it("says below it what is wrong with runs that cannot be read", () => {
    const later = row("later", { state: "unreadable", problem: "of version 99\n  Update." });
    const lines = listText([later, row("a")], "runs", 80)
      .trimEnd()
      .split("\n");
    expect(lines[1]).toContain("unreadable");
    expect(lines.at(-1)).toBe("  later: of version 99");
  });
});

describe("the comparison of runs", () => {
  const runs = [summary("first-name", [3, 2, 1], 0.1), summary("second-name", [4, 3], 0.25)];

  it("is a table where it fits, and lines of name and value where it does not", () => {
    expect(comparisonText(runs, 80)).toMatch(/^ {2}learning_rate +0\.1 +0\.25$/m);
    const narrow = comparisonText(runs, 36);
    expect(narrow).toContain("  learning_rate\n    first-name: 0.1\n    second-name: 0.25\n");
    expect(narrow).toContain("  loss at step 2\n    first-name: 2.0000\n");
    expect(widest(narrow)).toBeLessThanOrEqual(36);
  });

  it("takes as many reports as a run has", () => {
    const long = summary(
      "long",
      Array.from({ length: 300_000 }, () => 1),
      0.1,
    );
    expect(comparisonText([long, long], 80)).toContain("1.0000");
  });
});
