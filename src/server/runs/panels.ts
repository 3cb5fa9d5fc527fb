// Which numbers of a run are drawn together, and how: the same on the page and in a report.
import { formatBytes } from "../../util/format.ts";
import { shortNumber } from "../../util/plot/scale.ts";

export interface Panel {
  readonly title: string;
  /** Names of numbers, and what they are called in the legend. */
  readonly names: readonly (readonly [string, string])[];
  readonly format: (value: number) => string;
  readonly isSmoothed?: boolean;
  readonly mayBeLog?: boolean;
}

const percent = (value: number): string => `${(value * 100).toFixed(0)} %`;

function small(value: number): string {
  return value !== 0 && Math.abs(value) < 0.01 ? value.toExponential(1) : shortNumber(value);
}

export const PANELS: readonly Panel[] = [
  {
    title: "loss",
    names: [
      ["train_loss", "training"],
      ["eval_loss", "validation"],
    ],
    format: (value) => String(Number(value.toFixed(value < 0.1 ? 4 : 3))),
    isSmoothed: true,
    mayBeLog: true,
  },
  { title: "learning rate", names: [["learning_rate", "rate"]], format: small },
  {
    title: "gradient norm",
    names: [["gradient_norm", "norm"]],
    format: shortNumber,
    isSmoothed: true,
    mayBeLog: true,
  },
  { title: "loss scale", names: [["loss_scale", "scale"]], format: shortNumber, mayBeLog: true },
  {
    title: "tokens a second",
    names: [["tokens_per_second", "tokens/s"]],
    format: shortNumber,
    isSmoothed: true,
  },
  {
    title: "memory",
    names: [
      ["resident_bytes", "process"],
      ["transient_bytes", "transient buffers"],
    ],
    format: formatBytes,
  },
  { title: "engine share", names: [["engine_share", "busy"]], format: percent },
  { title: "TFLOPS", names: [["tflops", "engine"]], format: shortNumber },
  {
    title: "watts",
    names: [
      ["watts", "all rails"],
      ["ane_watts", "Neural Engine"],
    ],
    format: shortNumber,
  },
  { title: "joules a token", names: [["joules_per_token", "joules"]], format: small },
];

/** All names of numbers that panels draw. */
export const DRAWN_NAMES: readonly string[] = PANELS.flatMap(({ names }) =>
  names.map(([name]) => name),
);
