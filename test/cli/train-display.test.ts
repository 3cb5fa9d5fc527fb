import { describe, expect, test, vi } from "vitest";
import { TrainDisplay } from "../../src/cli/train-display.ts";
import type { TrainEvent } from "../../src/train/index.ts";

const STEP: Extract<TrainEvent, { kind: "step" }> = {
  kind: "step",
  t: 0,
  step: 120,
  train_loss: 5.12345,
  learning_rate: 1e-3,
  gradient_norm: 1.234,
  tokens_per_second: 12_345,
  iterations_per_second: 3,
  trained_tokens: 1,
  eta_seconds: 754,
};
const ENGINE = {
  engine_share: 0.83,
  tflops: 1.92,
  tflops_per_watt: 0.61,
  power_meter: "macmon",
  watts: 3.5,
  ane_watts: 3.15,
};

function shown(columns: number | undefined, events: readonly TrainEvent[], engine = "ane"): string {
  let written = "";
  const stream = {
    isTTY: columns !== undefined,
    columns,
    write: (text: string) => {
      written += text;
      return true;
    },
  } as unknown as NodeJS.WriteStream;
  vi.stubEnv("CI", "");
  try {
    const display = new TrainDisplay({ stream });
    display.event({
      ...{ kind: "start", t: 0, step: 0, max_steps: 1000, run: "r", engine, device: "M4" },
      ...{ runtime: "e5rt", threads: 1, parameters: 1, tokens_per_step: 1, train_tokens: 1 },
      ...{ eval_tokens: 1, plan_bytes: 1 },
    });
    for (const event of events) display.event(event);
  } finally {
    vi.unstubAllEnvs();
  }
  return written;
}

/** The line that is rewritten in place. */
function liveLine(columns: number, event: TrainEvent): string {
  const parts = shown(columns, [event]).split("\r\u001b[2K");
  return parts[1]?.split("\n")[0] ?? "";
}

describe("the progress line", () => {
  test("tells the engine's share, TFLOPS and TFLOPS/W, whole numbers only, in 80 and 120 columns", () => {
    expect(liveLine(120, { ...STEP, ...ENGINE })).toBe(
      "██░░░░░░░░░░░░░░░░░░ 120/1000  loss 5.1235  12.3k tok/s  engine 83 %  1.92 TFLOPS  0.610 TFLOPS/W  3.50 W  ETA 12m34s",
    );
    expect(liveLine(80, { ...STEP, ...ENGINE })).toBe(
      "█░░░░░░░░░ 120/1000  loss 5.1235  12.3k tok/s  engine 83 %  ETA 12m34s",
    );
    for (let columns = 21; columns < 200; columns++)
      expect(liveLine(columns, { ...STEP, ...ENGINE }).length).toBeLessThan(Math.max(columns, 36));
  });

  test("moves with every update, and keeps what the last report told", () => {
    let written = "";
    const stream = {
      ...{ isTTY: true, columns: 120 },
      write: (text: string) => ((written = text), true),
    } as unknown as NodeJS.WriteStream;
    vi.stubEnv("CI", "");
    vi.useFakeTimers();
    try {
      const display = new TrainDisplay({ stream });
      display.progress("compiling block: 1 of 3");
      expect(written).toContain("compiling block: 1 of 3");
      vi.advanceTimersByTime(200);
      display.event({ ...STEP, ...ENGINE });
      vi.advanceTimersByTime(200);
      display.progress("step 121/1000  loss 4.9000", { step: 121, loss: 4.9 });
      expect(written).toMatch(/ 121\/0 {2}loss 4\.9000 .* engine 83 % /);
    } finally {
      vi.useRealTimers();
      vi.unstubAllEnvs();
    }
  });

  test("ends with the curve of the loss once there are two reports, at any width of 36 columns and more", () => {
    const events = Array.from({ length: 40 }, (_, index) => ({
      ...STEP,
      step: 120 + index,
      train_loss: 5 - index / 10,
    }));
    for (const columns of [60, 80, 120, 200]) {
      const last = shown(columns, events).split("\r\u001b[2K").at(-1) ?? "";
      expect(last).toMatch(/ 159\/1000 {2}loss 1\.1000 .*ETA 12m34s {2}█[▁▂▃▄▅▆▇█]{10,30}▁$/);
      expect(last.length).toBeLessThan(columns);
    }
    // A narrow terminal has the curve instead of the bar.
    for (const columns of [36, 40, 50]) {
      const last = shown(columns, events).split("\r\u001b[2K").at(-1) ?? "";
      expect(last).toMatch(/^159\/1000 {2}loss 1\.1000 .*█[▁▂▃▄▅▆▇█]{4,30}▁$/);
      expect(last.length).toBeLessThan(columns);
    }
  });

  test("tells nothing of an engine or of power where there is none", () => {
    expect(liveLine(120, STEP)).toBe(
      "██░░░░░░░░░░░░░░░░░░ 120/1000  loss 5.1235  lr 1.00e-3  norm 1.23  12.3k tok/s  ETA 12m34s",
    );
  });

  test("through a pipe is a row with everything, and predictions are called so", () => {
    const predicted = {
      ...{ chip: "M4", step_ms: 5.9, step_joules: 0.02, tokens_per_second: 1 },
      ...{ watts: 1, joules_per_token: 1e-3 },
    };
    expect(
      shown(undefined, [{ ...STEP, predicted }], "sim:m4")
        .split("\n")
        .at(-2),
    ).toBe(
      "step  120/1000 loss 5.1235  lr 1.00e-3  norm 1.23  12.3k tok/s  predicted 5.90 ms/step  ETA 12m34s",
    );
    expect(shown(undefined, [{ ...STEP, ...ENGINE }])).toContain(
      "engine 83 %  1.92 TFLOPS  0.610 TFLOPS/W  3.50 W  ETA",
    );
  });

  test("spells out what of a sample or a note would steer the terminal", () => {
    const text = "\u001b[2J\u0007 two\nlines";
    const sample: TrainEvent = { kind: "sample", t: 0, step: 1, prompt: "Once", text };
    expect(shown(undefined, [sample])).toContain("sample: Once\\x1b[2J\\x07 two\n    lines\n");
    expect(shown(undefined, [{ kind: "notice", t: 0, step: 1, message: text }])).toContain(
      "note: \\x1b[2J\\x07 two",
    );
  });

  test("says that no power is read where people would look for it", () => {
    const none: TrainEvent = { kind: "power", t: 0, step: 1, meter: null, reason: "no macmon" };
    expect(shown(undefined, [none])).toContain("power   unavailable: no macmon\n");
    expect(shown(undefined, [none], "cpu")).not.toContain("power");
    expect(shown(undefined, [{ ...none, meter: "macmon" }], "cpu")).toContain("power   macmon\n");
  });

  test("ends with joules a token where they are known", () => {
    const end: TrainEvent = {
      ...{ kind: "end", t: 0, step: 1000, train_loss: 1, eval_loss: 1, elapsed_seconds: 1 },
      ...{ tokens_per_second: 1, peak_memory_bytes: 1, model: "m" },
    };
    expect(shown(undefined, [end])).not.toContain("energy");
    const known = { power_meter: "ioreport", energy_joules: 45.41, joules_per_token: 0.0004231 };
    expect(shown(undefined, [{ ...end, ...known }])).toContain(
      "energy of the updates: 45.4 J, 0.423 mJ a token, by ioreport\n",
    );
  });
});
