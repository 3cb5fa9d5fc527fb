import { childSource } from "./child-source.ts";
import type { PowerSink, PowerSource } from "./meter.ts";

/**
 * macmon (github.com/vladkens/macmon): `macmon pipe -i MS` prints a JSON object a line with mean watts of the time
 * since the last one, without administrator rights: cpu_power, gpu_power, ane_power and their sum all_power; a number
 * it does not have is null. Field names of versions 0.2 to 0.8, from its documentation.
 */
export function macmonSource(silenceMs?: number): PowerSource {
  return childSource({
    name: "macmon",
    command: (intervalMs) => ["macmon", "pipe", "-i", String(intervalMs)],
    separator: "\n",
    reader: macmonReader,
    ownGroup: true,
    ...(silenceMs !== undefined && { silenceMs }),
  });
}

const FIELDS = {
  ane: "ane_power",
  cpu: "cpu_power",
  gpu: "gpu_power",
  package: "all_power",
} as const;
/** A longer time between two readings was sleep: the reading does not cover it. */
const LONGEST_INTERVALS = 4;

/** Reads lines one after the other: the time a line covers comes from its timestamp, or from the clock. */
export function macmonReader(
  intervalMs: number,
  clock: () => number = () => performance.now(),
): (line: string, sink: PowerSink) => void {
  let lastMs: number | undefined;
  return (line, sink) => {
    const reading = parseLine(line);
    const stamp = typeof reading["timestamp"] === "string" ? Date.parse(reading["timestamp"]) : NaN;
    const nowMs = Number.isFinite(stamp) ? stamp : clock();
    const passedMs = lastMs === undefined ? intervalMs : nowMs - lastMs;
    lastMs = nowMs;
    const seconds =
      (passedMs > 0 && passedMs < LONGEST_INTERVALS * intervalMs + 1000 ? passedMs : intervalMs) /
      1000;
    const joules = (field: string): number => {
      const watts = reading[field];
      if (watts === undefined) throw new Error(`there is no ${field} in it`);
      return typeof watts === "number" ? watts * seconds : Number.NaN;
    };
    const [ane, cpu, gpu] = [joules(FIELDS.ane), joules(FIELDS.cpu), joules(FIELDS.gpu)];
    const all = reading[FIELDS.package] === undefined ? ane + cpu + gpu : joules(FIELDS.package);
    sink.take({ ane, cpu, gpu, package: all }, seconds);
  };
}

function parseLine(line: string): Readonly<Record<string, unknown>> {
  // JSON has no NaN; a printer that writes it all the same is understood.
  const value: unknown = JSON.parse(line.replaceAll(/:\s*-?(?:NaN|nan|Infinity|inf)\b/g, ":null"));
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Error("it is no object");
  return value as Readonly<Record<string, unknown>>;
}
