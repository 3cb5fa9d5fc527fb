import { bindFunctions } from "../../ffi/foreign.ts";
import type { ForeignFunction, Pointer } from "../../ffi/foreign.ts";
import type { Rail } from "../../util/energy.ts";
import { messageOf } from "../../util/errors.ts";
import {
  CORE_FOUNDATION,
  FOUNDATION_FUNCTIONS,
  IOREPORT_FUNCTIONS,
  IOREPORT_LIBRARY,
  UTF8,
} from "./ioreport-functions.ts";
import type { PowerSink, PowerSource } from "./meter.ts";

/** A library in place of the system's, on any platform: the tests' double. */
const LIBRARY_VARIABLE = "ANECDOTE_IOREPORT_LIBRARY";

/** Joules of a unit label. */
const UNITS: Readonly<Record<string, number>> = { mJ: 1e-3, uJ: 1e-6, µJ: 1e-6, nJ: 1e-9 };
/** More channels than a Mac has in the group by far (136 on an M2). */
const MAXIMUM_CHANNELS = 10_000;
const NAME_BYTES = 256;

/** Energy counters of the kernel through libIOReport, without administrator rights. */
export function ioreportSource(library = process.env[LIBRARY_VARIABLE]): PowerSource {
  return {
    name: "ioreport",
    open: (sink, intervalMs) => {
      const named = library === undefined || library === "" ? undefined : library;
      if (named === undefined && process.platform !== "darwin")
        throw new Error("IOReport is a library of macOS");
      const counters = new EnergyCounters(named);
      const timer = setInterval(() => {
        try {
          counters.readInto(sink);
        } catch (error) {
          clearInterval(timer);
          sink.fail(messageOf(error));
        }
      }, intervalMs);
      timer.unref();
      return () => {
        clearInterval(timer);
        counters.close();
      };
    },
  };
}

/**
 * The rail a channel of the group "Energy Model" counts for, as macmon reads them: "CPU Energy" and on an Ultra
 * "DIE_0_CPU Energy"; "GPU Energy"; "ANE", "ANE0".
 */
export function railOfChannel(name: string): Exclude<Rail, "package"> | undefined {
  if (name.endsWith("CPU Energy")) return "cpu";
  if (name === "GPU Energy") return "gpu";
  return name.startsWith("ANE") ? "ane" : undefined;
}

type Object = Pointer<"CFType">;
type Name = keyof typeof IOREPORT_FUNCTIONS | keyof typeof FOUNDATION_FUNCTIONS;

/** One subscription and its last sample. Objects are released in the order they were made, each once. */
class EnergyCounters {
  readonly #functions: Readonly<Record<Name, ForeignFunction>>;
  readonly #owned: Object[] = [];
  readonly #text = Buffer.alloc(NAME_BYTES);
  readonly #channelsKey: Object;
  readonly #subscription: Object;
  readonly #channels: Object;
  #sample: Object | undefined;
  #sampledMs = 0;
  #isClosed = false;

  constructor(named: string | undefined) {
    this.#functions = {
      ...bindFunctions(named ?? IOREPORT_LIBRARY, prototypes(IOREPORT_FUNCTIONS)),
      ...bindFunctions(named ?? CORE_FOUNDATION, prototypes(FOUNDATION_FUNCTIONS)),
    };
    try {
      this.#channelsKey = this.#keep("CFStringCreateWithCString", null, "IOReportChannels", UTF8);
      const group = this.#keep("CFStringCreateWithCString", null, "Energy Model", UTF8);
      const found = this.#keep("IOReportCopyChannelsInGroup", group, null, 0, 0, 0);
      const wanted = this.#keep("CFDictionaryCreateMutableCopy", null, 0, found);
      const subscribed: [Object | null] = [null];
      this.#subscription = this.#keep(
        "IOReportCreateSubscription",
        null,
        wanted,
        subscribed,
        0,
        null,
      );
      this.#channels = subscribed[0] ?? wanted;
      this.#sample = this.#take();
      this.#sampledMs = performance.now();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** What was consumed since the last call. */
  readInto(sink: PowerSink): void {
    if (this.#isClosed || this.#sample === undefined) return;
    const later = this.#take();
    const nowMs = performance.now();
    const earlier = this.#sample;
    this.#sample = later;
    const seconds = (nowMs - this.#sampledMs) / 1000;
    this.#sampledMs = nowMs;
    let joules: ReadonlyMap<Rail, number>;
    try {
      const delta = this.#make("IOReportCreateSamplesDelta", earlier, later, null);
      try {
        joules = this.#joulesOf(delta);
      } finally {
        this.#call("CFRelease", delta);
      }
    } finally {
      this.#call("CFRelease", earlier);
    }
    const [ane, cpu, gpu] = [joules.get("ane"), joules.get("cpu"), joules.get("gpu")];
    if (ane === undefined) throw new Error("IOReport has no energy channel of the Neural Engine");
    sink.take(
      {
        ane,
        ...(cpu !== undefined && { cpu }),
        ...(gpu !== undefined && { gpu }),
        ...(cpu !== undefined && gpu !== undefined && { package: ane + cpu + gpu }),
      },
      seconds,
    );
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#sample !== undefined) this.#call("CFRelease", this.#sample);
    this.#sample = undefined;
    for (const object of this.#owned.splice(0).reverse()) this.#call("CFRelease", object);
  }

  #joulesOf(delta: Object): ReadonlyMap<Rail, number> {
    const channels = this.#call("CFDictionaryGetValue", delta, this.#channelsKey) as Object | null;
    if (channels === null) throw new Error("a sample of IOReport has no channels");
    const count = Number(this.#call("CFArrayGetCount", channels));
    if (!(count >= 0 && count <= MAXIMUM_CHANNELS))
      throw new Error(`a sample of IOReport has ${count} channels`);
    const joules = new Map<Rail, number>();
    for (let index = 0; index < count; index++) {
      const channel = this.#call("CFArrayGetValueAtIndex", channels, index);
      if (channel === null) continue;
      const name = this.#string(this.#call("IOReportChannelGetChannelName", channel));
      const rail = railOfChannel(name);
      if (rail === undefined) continue;
      const unit = this.#string(this.#call("IOReportChannelGetUnitLabel", channel)).trim();
      const scale = UNITS[unit];
      if (scale === undefined) throw new Error(`IOReport counts ${name} in "${unit}"`);
      const value = Number(this.#call("IOReportSimpleGetIntegerValue", channel, 0)) * scale;
      joules.set(rail, (joules.get(rail) ?? 0) + value);
    }
    return joules;
  }

  #string(text: unknown): string {
    if (text === null) return "";
    const fits = this.#call("CFStringGetCString", text, this.#text, NAME_BYTES, UTF8);
    if (fits !== true) return "";
    const end = this.#text.indexOf(0);
    return this.#text.toString("utf8", 0, end < 0 ? NAME_BYTES : end);
  }

  #take(): Object {
    return this.#make("IOReportCreateSamples", this.#subscription, this.#channels, null);
  }

  /** An object that is released with the others. */
  #keep(name: Name, ...operands: readonly unknown[]): Object {
    const object = this.#make(name, ...operands);
    this.#owned.push(object);
    return object;
  }

  #make(name: Name, ...operands: readonly unknown[]): Object {
    const object = this.#call(name, ...operands) as Object | null;
    if (object === null) throw new Error(`${name} gave nothing`);
    return object;
  }

  #call(name: Name, ...operands: readonly unknown[]): unknown {
    return this.#functions[name](...operands);
  }
}

function prototypes<Names extends string>(
  table: Readonly<Record<Names, { readonly c: string }>>,
): Readonly<Record<Names, string>> {
  return Object.fromEntries(
    Object.entries<{ readonly c: string }>(table).map(([name, { c }]) => [name, c]),
  ) as Record<Names, string>;
}
