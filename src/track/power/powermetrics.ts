import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { commandEnvironment } from "../../util/command.ts";
import { isDictionary, parsePropertyList } from "../../util/plist.ts";
import { childSource } from "./child-source.ts";
import type { PowerSink, PowerSource } from "./meter.ts";

const OPERANDS = ["--samplers", "cpu_power,gpu_power,ane_power", "-f", "plist", "-i"];

/**
 * Apple's powermetrics: property lists separated by NUL, with `elapsed_ns` and, under `processor`, `ane_power`,
 * `cpu_power`, `gpu_power` and `combined_power` in mW, or older ones with `ane_energy` and so on in mJ alone. It
 * needs root: it is run as root or through a `sudo` that asks for no password.
 */
export function powermetricsSource(isRoot = process.getuid?.() === 0): PowerSource {
  const source = childSource({
    name: "powermetrics",
    command: (intervalMs) =>
      isRoot
        ? ["powermetrics", ...OPERANDS, String(intervalMs)]
        : ["sudo", "-n", "powermetrics", ...OPERANDS, String(intervalMs)],
    separator: "\0",
    reader: () => readPropertyList,
    // sudo remembers who may by the terminal, which a process group of its own would not have.
    ownGroup: isRoot,
  });
  return {
    name: source.name,
    open: (sink, intervalMs) => {
      // sudo would note a failure in the system's log.
      if (!isOnPath("powermetrics")) throw new Error("there is no powermetrics on this machine");
      return source.open(sink, intervalMs);
    },
  };
}

/** One sample. Throws for what is none. */
export function readPropertyList(text: string, sink: PowerSink): void {
  const sample = parsePropertyList(text);
  const processor = isDictionary(sample) ? sample["processor"] : undefined;
  const elapsed = isDictionary(sample) ? sample["elapsed_ns"] : undefined;
  if (!isDictionary(processor) || typeof elapsed !== "number")
    throw new Error("it has no processor and elapsed_ns");
  const seconds = elapsed * 1e-9;
  if (!(seconds > 0)) throw new Error(`elapsed_ns is ${elapsed}`);
  const joules = (power: string, energy: string): number => {
    const milliwatts = processor[power];
    if (typeof milliwatts === "number") return milliwatts * 1e-3 * seconds;
    const millijoules = processor[energy];
    if (typeof millijoules === "number") return millijoules * 1e-3;
    throw new Error(`there is no ${power} in it`);
  };
  const ane = joules("ane_power", "ane_energy");
  const cpu = joules("cpu_power", "cpu_energy");
  const gpu = joules("gpu_power", "gpu_energy");
  const combined = processor["combined_power"];
  const all = typeof combined === "number" ? combined * 1e-3 * seconds : ane + cpu + gpu;
  sink.take({ ane, cpu, gpu, package: all }, seconds);
}

function isOnPath(name: string): boolean {
  const folders = commandEnvironment()["PATH"]?.split(delimiter) ?? [];
  return folders.some((folder) => existsSync(join(folder, name)));
}
