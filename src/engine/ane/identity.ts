import os from "node:os";
import type { Chip } from "../../chip/chip.ts";
import { findChip } from "../../chip/chips.ts";
import { messageOf } from "../../util/errors.ts";
import { cleanLine, runCommand } from "../../util/command.ts";
import { isDictionary, parsePropertyList } from "../../util/plist.ts";
import type { PropertyListValue } from "../../util/plist.ts";

/** A Neural Engine as the system's device registry tells of it. */
export interface NeuralEngineDevice {
  /** What the registry matched it by: "ane,t8020". */
  readonly name: string;
  /** "h16g". */
  readonly architecture: string | undefined;
  readonly cores: number | undefined;
  readonly version: string | undefined;
  readonly firmwareLoaded: boolean | undefined;
}

/** "unknown": the machine should have one, and the registry could not be asked. */
export type NeuralEngine =
  | { readonly state: "present"; readonly devices: readonly NeuralEngineDevice[] }
  | { readonly state: "absent" | "unknown"; readonly reason: string };

/** What machine this is, as far as it tells without administrator rights. */
export interface MachineIdentity {
  readonly platform: string;
  /** Of the processor: "arm64". */
  readonly architecture: string;
  /** "Apple M4 Max". */
  readonly processor: string;
  readonly cores: number;
  readonly memoryBytes: number;
  /** "Mac16,5". */
  readonly model: string | undefined;
  /** "macOS", "15.6", "24G84". */
  readonly system: {
    readonly name: string;
    readonly version: string | undefined;
    readonly build: string | undefined;
  };
  /** Nothing for processors that are not in the table. */
  readonly chip: Chip | undefined;
  readonly neuralEngine: NeuralEngine;
  /** What could not be read, as sentences. */
  readonly unread: readonly string[];
}

export interface IdentityOptions {
  /** Default: this process's. */
  readonly platform?: NodeJS.Platform;
  readonly architecture?: string;
  /** For each command. */
  readonly timeoutMs?: number;
}

/** sysctl's names, in the order they are asked. */
const NAMES = {
  processor: "machdep.cpu.brand_string",
  model: "hw.model",
  memory: "hw.memsize",
  cores: "hw.physicalcpu",
  version: "kern.osproductversion",
  build: "kern.osversion",
} as const;

/** Device registry class of the engine on every Apple Silicon generation (facts of public projects, M1 to M5). */
const DEVICE_CLASS = "H11ANEIn";
const MAXIMUM_DEVICES = 16;

/** Asks the system. Never throws and ends in bounded time: what cannot be read is listed in `unread`. */
export async function identifyMachine(options: IdentityOptions = {}): Promise<MachineIdentity> {
  const platform = options.platform ?? process.platform;
  const architecture = options.architecture ?? process.arch;
  if (platform !== "darwin") return otherMachine(platform, architecture);
  const timeout = options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs };
  const unread: string[] = [];
  const values = await systemValues(timeout, unread);
  const processor = values.get(NAMES.processor) ?? processorOfNode();
  let version = values.get(NAMES.version);
  let build = values.get(NAMES.build);
  if (version === undefined || build === undefined) {
    const printed = await runCommand("sw_vers", [], timeout);
    if (!printed.ok) unread.push(`macOS version: ${printed.reason}`);
    const rows = parseRows(printed.stdout);
    version ??= rows.get("ProductVersion");
    build ??= rows.get("BuildVersion");
  }
  return {
    platform,
    architecture,
    processor,
    cores: positive(values.get(NAMES.cores)) ?? os.cpus().length,
    memoryBytes: positive(values.get(NAMES.memory)) ?? os.totalmem(),
    model: values.get(NAMES.model),
    system: { name: "macOS", version, build },
    chip: chipOfProcessor(processor),
    neuralEngine: await neuralEngineOf(architecture, timeout, unread),
    unread,
  };
}

/** The processor's name alone, and its chip where the table has it. */
export async function identifyProcessor(
  options: IdentityOptions = {},
): Promise<{ readonly processor: string; readonly chip: Chip | undefined }> {
  const processor =
    (options.platform ?? process.platform) === "darwin"
      ? ((await systemValues(options, [])).get(NAMES.processor) ?? processorOfNode())
      : processorOfNode();
  return { processor, chip: chipOfProcessor(processor) };
}

/** The record of "Apple M4 Max"; of "Apple M2 (Virtual)" that of M2. */
export function chipOfProcessor(processor: string): Chip | undefined {
  return /^Apple M\d/.test(processor) ? findChip(processor.replace(/\s*\(.*$/, "")) : undefined;
}

/** `sysctl NAME ...` prints "name: value" lines, and names it does not know on stderr. */
async function systemValues(
  options: IdentityOptions,
  unread: string[],
): Promise<ReadonlyMap<string, string>> {
  const printed = await runCommand("sysctl", Object.values(NAMES), {
    ...(options.timeoutMs !== undefined && { timeoutMs: options.timeoutMs }),
  });
  const values = parseRows(printed.stdout);
  const missing = Object.values(NAMES).filter((name) => !values.has(name));
  if (missing.length > 0) {
    unread.push(`${missing.join(", ")}: ${printed.ok ? "sysctl does not tell" : printed.reason}`);
  }
  return values;
}

/** "name: value" lines, as sysctl and sw_vers print them. */
export function parseRows(text: string): ReadonlyMap<string, string> {
  const rows = new Map<string, string>();
  for (const line of text.slice(0, 1 << 16).split(/\r?\n/)) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue;
    const value = cleanLine(line.slice(colon + 1));
    if (value !== "") rows.set(line.slice(0, colon).trim(), value);
  }
  return rows;
}

async function neuralEngineOf(
  architecture: string,
  timeout: { readonly timeoutMs?: number },
  unread: string[],
): Promise<NeuralEngine> {
  if (architecture !== "arm64") {
    return {
      state: "absent",
      reason:
        "only Apple Silicon has a Neural Engine that programs can use, or Node runs under Rosetta",
    };
  }
  const operands = ["-a", "-r", "-c", DEVICE_CLASS, "-d", "1"];
  const printed = await runCommand("ioreg", operands, { ...timeout, maximumBytes: 8 << 20 });
  if (!printed.ok) {
    unread.push(`device registry: ${printed.reason}`);
    return { state: "unknown", reason: printed.reason };
  }
  // Nothing is printed where no device is of the class.
  if (printed.stdout.trim() === "")
    return { state: "absent", reason: `the device registry has no ${DEVICE_CLASS}` };
  try {
    return { state: "present", devices: parseDevices(printed.stdout) };
  } catch (error) {
    unread.push(`device registry: ${messageOf(error)}`);
    return { state: "unknown", reason: messageOf(error) };
  }
}

/** What `ioreg -a -r -c H11ANEIn -d 1` prints. Throws `PropertyListError` for anything else. */
export function parseDevices(text: string): readonly NeuralEngineDevice[] {
  const list = parsePropertyList(text);
  const entries = Array.isArray(list) ? (list as readonly PropertyListValue[]) : [list];
  return entries
    .slice(0, MAXIMUM_DEVICES)
    .filter(isDictionary)
    .map((entry) => {
      const properties = isDictionary(entry["DeviceProperties"]) ? entry["DeviceProperties"] : {};
      const major = numberOf(properties["ANEDevicePropertyANEVersion"]);
      const minor = numberOf(properties["ANEDevicePropertyANEMinorVersion"]);
      return {
        name:
          textOf(entry["IONameMatched"]) ?? textOf(entry["IORegistryEntryName"]) ?? DEVICE_CLASS,
        architecture: textOf(properties["ANEDevicePropertyTypeANEArchitectureTypeStr"]),
        cores: numberOf(properties["ANEDevicePropertyNumANECores"]),
        version: major === undefined ? undefined : [major, minor].filter(Number.isFinite).join("."),
        firmwareLoaded:
          typeof entry["FirmwareLoaded"] === "boolean" ? entry["FirmwareLoaded"] : undefined,
      };
    });
}

function otherMachine(platform: string, architecture: string): MachineIdentity {
  return {
    platform,
    architecture,
    processor: processorOfNode(),
    cores: os.cpus().length,
    memoryBytes: os.totalmem(),
    model: undefined,
    system: { name: os.type(), version: os.release(), build: undefined },
    chip: undefined,
    neuralEngine: {
      state: "absent",
      reason: `a Neural Engine is in Apple Silicon Macs only, this is ${platform} on ${architecture}`,
    },
    unread: [],
  };
}

function processorOfNode(): string {
  return cleanLine(os.cpus()[0]?.model ?? "") || "unknown processor";
}

function positive(text: string | undefined): number | undefined {
  const value = Number(text);
  return Number.isSafeInteger(value) && value > 0 ? value : undefined;
}

function textOf(value: PropertyListValue | undefined): string | undefined {
  if (typeof value !== "string") return undefined;
  return cleanLine(value) || undefined;
}

function numberOf(value: PropertyListValue | undefined): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}
